"""Draw lines on two logarithmic axes as inline SVG, so that each is visible and labelled where it ends.

A line that others cover is wider than they are, and so remains visible on both sides of them. A letter at the end of
each line is its name in the legend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from shoestring.planning.report.svg import LEFT, WIDTH, figure

#: the plot, in units of the drawing; letters stand to the right of it
PLOT_LEFT, PLOT_TOP, PLOT_RIGHT, PLOT_BOTTOM = 52.0, 22.0, WIDTH - 30.0, 226.0
#: between the centres of two letters
LETTER_HEIGHT = 13.0

#: from a point of the data to one of the drawing
At = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Dot:
    """A point on a line with a name of its own in the legend."""

    x: float
    y: float
    colour: str
    label: str


@dataclass(frozen=True)
class Series:
    label: str
    #: CSS class
    colour: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False
    dots: tuple[Dot, ...] = ()


def lines(series: Sequence[Series], x_title: str, y_title: str, title: str) -> str:
    """Draw series, with a legend below. Skips points at or below 0; "" if nothing is left."""
    shown = [(s, [(x, y) for x, y in s.points if x > 0 and y > 0]) for s in series]
    shown = [(s, points) for s, points in shown if points]
    points = [point for _, each in shown for point in each]
    if not points:
        return ""
    x_range = (min(x for x, _ in points), max(x for x, _ in points))
    y_range = (min(y for _, y in points) / 1.2, max(y for _, y in points) * 1.2)

    def at(x: float, y: float) -> tuple[float, float]:
        across = PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * _share(x, *x_range)
        return across, PLOT_BOTTOM - (PLOT_BOTTOM - PLOT_TOP) * _share(y, *y_range)

    drawn = [[at(x, y) for x, y in each] for _, each in shown]
    parts = _grid(x_range, y_range, at, x_title, y_title)
    letters = _letters([path[-1] for path in drawn])
    height = PLOT_BOTTOM + 48
    for number, ((s, _), path) in enumerate(zip(shown, drawn, strict=True)):
        width = 2 + 3 * sum(_covers(later, path) for later in drawn[number + 1 :])
        dash = ' stroke-dasharray="5 4"' if s.dashed else ""
        style = f'class="line {s.colour}" style="stroke-width:{width}"{dash}'
        steps = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(path))
        if len(path) == 1:
            steps += f" L{path[0][0] + 4:.1f} {path[0][1]:.1f}"
        parts.append(f'<path d="{steps}" {style}><title>{escape(s.label)}</title></path>')
    parts += [_dot(*at(dot.x, dot.y), dot) for s, _ in shown for dot in s.dots]
    for number, ((s, _), path) in enumerate(zip(shown, drawn, strict=True)):  # over all lines
        dash = ' stroke-dasharray="5 4"' if s.dashed else ""
        letter, (x, y), (to_x, to_y) = chr(ord("A") + number), path[-1], letters[number]
        if math.dist((x, y), (to_x - 4, to_y)) > LETTER_HEIGHT:
            parts.append(f'<path d="M{x:.1f} {y:.1f} L{to_x - 2:.1f} {to_y:.1f}" class="lead"/>')
        parts.append(f'<text x="{to_x:.1f}" y="{to_y + 4:.1f}" class="letter {s.colour}">{letter}</text>')
        parts.append(f'<text x="{LEFT}" y="{height:.0f}" class="letter {s.colour}">{letter}</text>')
        across = f'x1="{LEFT + 14}" y1="{height - 4:.0f}" x2="{LEFT + 36}" y2="{height - 4:.0f}"'
        parts.append(f'<line {across} class="line {s.colour}"{dash}/>')
        parts.append(f'<text x="{LEFT + 42}" y="{height:.0f}" class="name">{escape(s.label)}</text>')
        height += 18
    for dot in (dot for s, _ in shown for dot in s.dots):
        parts.append(f'<circle cx="{LEFT + 25}" cy="{height - 4:.0f}" r="4.5" class="{dot.colour}"/>')
        parts.append(f'<text x="{LEFT + 42}" y="{height:.0f}" class="name">{escape(dot.label)}</text>')
        height += 18
    return figure(parts, height, title)


def _dot(x: float, y: float, dot: Dot) -> str:
    title = f"<title>{escape(dot.label)}</title>"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="{dot.colour}">{title}</circle>'


def _grid(x_range: tuple[float, float], y_range: tuple[float, float], at: At, x_title: str, y_title: str) -> list[str]:
    parts = [f'<text x="{PLOT_LEFT:.0f}" y="12" class="tick">{escape(y_title)}</text>']
    for y in _ticks(*y_range):
        _, across = at(x_range[0], y)
        parts.append(f'<line x1="{PLOT_LEFT}" y1="{across:.1f}" x2="{PLOT_RIGHT}" y2="{across:.1f}" class="grid"/>')
        label = f'<text x="{PLOT_LEFT - 4}" y="{across + 4:.1f}" class="tick" text-anchor="end">{_short(y)}</text>'
        parts.append(label)
    for x in _ticks(*x_range):
        down, _ = at(x, y_range[0])
        parts.append(f'<line x1="{down:.1f}" y1="{PLOT_TOP}" x2="{down:.1f}" y2="{PLOT_BOTTOM}" class="grid"/>')
        label = f'<text x="{down:.1f}" y="{PLOT_BOTTOM + 14}" class="tick" text-anchor="middle">{_short(x)}</text>'
        parts.append(label)
    parts.append(f'<text x="{PLOT_RIGHT}" y="{PLOT_BOTTOM + 30}" class="end">{escape(x_title)}</text>')
    return parts


def _letters(ends: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where to write a letter for each end of a line: beside it, and apart from the others, inside the plot."""
    order = sorted(range(len(ends)), key=lambda i: ends[i][1])
    places: dict[int, float] = {}
    lowest = PLOT_TOP
    for number, i in enumerate(order):
        most = PLOT_BOTTOM - LETTER_HEIGHT * (len(order) - 1 - number)
        places[i] = min(max(ends[i][1], lowest), most)
        lowest = places[i] + LETTER_HEIGHT
    return [(min(x + 10, WIDTH - 12), places[i]) for i, (x, _) in enumerate(ends)]


def _covers(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]]) -> bool:
    """Whether a line runs within 2 units of most of another, which is drawn before it."""
    near = sum(min(math.dist(point, other) for other in upper) < 2 for point in lower)
    return 2 * near > len(lower)


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


def _short(value: float) -> str:
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"
