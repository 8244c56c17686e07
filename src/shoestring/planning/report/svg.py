"""Draw small charts as inline SVG: stacked bars and paired bars. Colours are CSS classes.

Charts are 420 units wide, so that text stays readable on a phone; a page may stretch them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 420
LEFT = 8


@dataclass(frozen=True)
class Segment:
    label: str
    value: float
    #: CSS class of its colour
    colour: str


@dataclass(frozen=True)
class Bar:
    label: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Pair:
    """Two values of one benchmark, up to 100; None draws a dash."""

    label: str
    left: float | None
    right: float | None
    note: str = ""


def stacked_bars(bars: Sequence[Bar], title: str, limits: Sequence[tuple[float, str]]) -> str:
    """Draw horizontal bars in GB; `limits` are named vertical lines, e.g. the GPU's memory."""
    most = max([sum(s.value for s in bar.segments) for bar in bars] + [value for value, _ in limits] + [1e-9])
    scale = (WIDTH - 2 * LEFT) / most
    parts, y = [], 20.0
    for bar in bars:
        total = sum(s.value for s in bar.segments)
        parts.append(f'<text x="{LEFT}" y="{y:.0f}" class="name">{escape(bar.label)}</text>')
        parts.append(f'<text x="{WIDTH - LEFT}" y="{y:.0f}" class="end">{_number(total)} GB</text>')
        x = float(LEFT)
        for s in bar.segments:
            width = s.value * scale
            if width <= 0:
                continue
            tip = f"{s.label}: {_number(s.value)} GB"
            parts.append(f'<rect x="{x:.1f}" y="{y + 5:.0f}" width="{width:.1f}" height="16" class="{s.colour}">'
                         f"<title>{escape(tip)}</title></rect>")  # fmt: skip
            x += width
        for value, _ in limits:
            at = f"{LEFT + value * scale:.1f}"
            parts.append(f'<line x1="{at}" y1="{y + 3:.0f}" x2="{at}" y2="{y + 23:.0f}" class="limit"/>')
        y += 42
    for value, name in limits:
        x = LEFT + value * scale
        anchor = "end" if x > WIDTH / 2 else "start"
        parts.append(f'<text x="{x:.1f}" y="{y:.0f}" class="tick" text-anchor="{anchor}">{escape(name)}</text>')
    return figure(parts, y + 8, title)


def paired_bars(pairs: Sequence[Pair], names: tuple[str, str], title: str) -> str:
    """Draw two bars per line on a scale from 0 to 100."""
    parts, y = [], 14.0
    for name, colour in zip(names, ("m0", "m1"), strict=True):
        parts.append(f'<rect x="{LEFT}" y="{y - 9:.0f}" width="12" height="10" class="{colour}"/>')
        parts.append(f'<text x="{LEFT + 18}" y="{y:.0f}" class="name">{escape(name)}</text>')
        y += 17
    y += 6
    scale = (WIDTH - 2 * LEFT - 60) / 100
    for pair in pairs:
        parts.append(f'<text x="{LEFT}" y="{y:.0f}" class="name">{escape(pair.label)}</text>')
        parts.append(f'<text x="{WIDTH - LEFT}" y="{y:.0f}" class="tick" text-anchor="end">{escape(pair.note)}</text>')
        for value, colour, offset in ((pair.left, "m0", 5), (pair.right, "m1", 17)):
            if value is None:
                parts.append(f'<text x="{LEFT}" y="{y + offset + 9:.0f}" class="tick">no score published</text>')
                continue
            width = value * scale
            parts.append(f'<rect x="{LEFT}" y="{y + offset:.0f}" width="{width:.1f}" height="10" class="{colour}"/>')
            parts.append(f'<text x="{LEFT + width + 5:.1f}" y="{y + offset + 9:.0f}" class="tick">{value:g}</text>')
        y += 44
    return figure(parts, y, title)


def figure(parts: Sequence[str], height: float, title: str) -> str:
    """A drawing of WIDTH units with its title."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"
