"""Draw small charts as inline SVG: stacked bars, lines on logarithmic axes, paired bars. Colours are CSS classes.

Charts are 420 units wide, so that text stays readable on a phone; a page may stretch them.
"""

from __future__ import annotations

import math
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
class Series:
    label: str
    colour: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


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
    return _svg(parts, y + 8, title)


def lines(series: Sequence[Series], x_title: str, y_title: str, title: str) -> str:
    """Draw lines on two logarithmic axes, with a legend below. Skips points at or below 0."""
    points = [(x, y) for s in series for x, y in s.points if x > 0 and y > 0]
    if not points:
        return ""
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = min(y for _, y in points) / 1.2, max(y for _, y in points) * 1.2
    left, top, right, bottom = 52.0, 22.0, WIDTH - 10.0, 206.0

    def at_x(x: float) -> float:
        return left + (right - left) * _share(x, low_x, high_x)

    def at_y(y: float) -> float:
        return bottom - (bottom - top) * _share(y, low_y, high_y)

    parts = [f'<text x="{left:.0f}" y="12" class="tick">{escape(y_title)}</text>']
    for y in _ticks(low_y, high_y):
        parts.append(f'<line x1="{left}" y1="{at_y(y):.1f}" x2="{right}" y2="{at_y(y):.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 4}" y="{at_y(y) + 4:.1f}" class="tick" text-anchor="end">{_short(y)}</text>')
    for x in _ticks(low_x, high_x):
        parts.append(f'<line x1="{at_x(x):.1f}" y1="{top}" x2="{at_x(x):.1f}" y2="{bottom}" class="grid"/>')
        parts.append(
            f'<text x="{at_x(x):.1f}" y="{bottom + 14:.0f}" class="tick" text-anchor="middle">{_short(x)}</text>'
        )
    parts.append(f'<text x="{right}" y="{bottom + 30:.0f}" class="end">{escape(x_title)}</text>')
    y = bottom + 48
    for s in series:
        drawn = [(at_x(a), at_y(b)) for a, b in s.points if a > 0 and b > 0]
        if not drawn:
            continue
        path = " ".join(f"{'M' if i == 0 else 'L'}{a:.1f} {b:.1f}" for i, (a, b) in enumerate(drawn))
        dash = ' stroke-dasharray="5 4"' if s.dashed else ""
        parts.append(f'<path d="{path}" class="line {s.colour}"{dash}><title>{escape(s.label)}</title></path>')
        parts.append(
            f'<line x1="{LEFT}" y1="{y - 4:.0f}" x2="{LEFT + 22}" y2="{y - 4:.0f}" class="line {s.colour}"{dash}/>'
        )
        parts.append(f'<text x="{LEFT + 28}" y="{y:.0f}" class="name">{escape(s.label)}</text>')
        y += 18
    return _svg(parts, y, title)


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
    return _svg(parts, y, title)


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _share(value: float, low: float, high: float) -> float:
    """Position of a value between two others on a logarithmic scale, 0 to 1."""
    return 0.5 if high <= low else (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))


def _ticks(low: float, high: float) -> list[float]:
    """Axis ticks within a range: powers of ten, with 3, or 2 and 5, if there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [m * 10.0**e for e in range(first, last + 1) for m in steps if low <= m * 10.0**e <= high]
        if len(ticks) >= 3:
            break
    return ticks[:: max(1, len(ticks) // 7)]


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _short(value: float) -> str:
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"
