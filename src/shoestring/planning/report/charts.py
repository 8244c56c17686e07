"""Charts of the report: memory by part and place, speed against context, cost against volume, scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shoestring.planning.assess import Assessment, assess
from shoestring.planning.compare import Comparison
from shoestring.planning.memory import context_limit
from shoestring.planning.plan import Plan
from shoestring.planning.report.cells import PARTS, places
from shoestring.planning.report.svg import Bar, Pair, Segment, Series, lines, paired_bars, stacked_bars

#: part → CSS class
COLOURS = {part: f"p{i}" for i, part in enumerate(PARTS)}
#: maximum models in a chart
MOST_MODELS = 6


def memory_chart(p: Plan, assessments: Sequence[Assessment]) -> str:
    """Bytes by part, with a bar per model and place; lines mark the machine's memory."""
    bars = []
    for a in assessments[:MOST_MODELS]:
        for place, sizes in places(a).items():
            segments = tuple(Segment(PARTS[part], sizes[part] / 1e9, COLOURS[part]) for part in PARTS if part in sizes)
            if segments:
                bars.append(Bar(f"{a.candidate.name} {a.need.sizes.type}, {place or 'needed, does not fit'}", segments))
    largest = max((sum(s.value for s in bar.segments) for bar in bars), default=0.0)
    usable = {"GPU": p.machine.gpu_usable / 1e9, "RAM": p.machine.ram_usable / 1e9}
    limits = [(value, f"{place} {value:,.0f} GB") for place, value in usable.items() if 0 < value < 3 * largest]
    return stacked_bars(bars, "Memory by part and place", limits)


def legend(assessments: Sequence[Assessment]) -> list[tuple[str, str]]:
    """Name and CSS class of every part in a memory chart."""
    shown = {part for a in assessments for part, _ in a.need.sizes.by_part} | {"sequences", "workspace"}
    return [(PARTS[part], COLOURS[part]) for part in PARTS if part in shown and part != "mtp"]


def speed_chart(p: Plan, assessments: Sequence[Assessment]) -> str:
    """Estimated decode speed against context, for each model in its chosen type."""
    series = []
    for i, a in enumerate(assessments[:MOST_MODELS]):
        points = []
        for context in (2**e for e in range(10, 25)):
            if context > context_limit(a.candidate) or not a.runs:
                break
            fixed_type = None if a.need.sizes.type == "as stored" else a.need.sizes.type
            question = dataclasses.replace(p.question, context=context, type=fixed_type, measured=())
            longer = assess(a.candidate, p.machine, question, p.catalogue)
            if longer.placement.fit == "no" or longer.speed.decode is None:
                break
            points.append((float(context), longer.speed.decode))
        if points:
            series.append(Series(a.candidate.name, f"m{i}", tuple(points)))
    return lines(series, "tokens of context", "tokens/s, one user's share, estimated", "Speed against context")


def cost_chart(p: Plan, assessments: Sequence[Assessment]) -> str:
    """Dollars against tokens per month: the own machine (constant up to its capacity) and the cheapest provider."""
    series = []
    for i, a in enumerate(assessments[:MOST_MODELS]):
        offer = a.cost.cheapest
        volumes = [10.0 ** (e / 4) for e in range(24, 44)]
        if offer is not None:
            points = tuple((v, v / 1e6 * offer.usd_per_million) for v in volumes)
            series.append(Series(f"{a.candidate.name}, {offer.price.provider}", f"m{i}", points, dashed=True))
        if a.cost.usd_per_month and a.cost.capacity_tokens:
            reach = [v for v in volumes if v < a.cost.capacity_tokens] + [a.cost.capacity_tokens]
            own = tuple((v, a.cost.usd_per_month) for v in reach)
            series.append(Series(f"{a.candidate.name}, own machine to its capacity", f"m{i}", own))
    return lines(series, "tokens per month", "dollars per month", "Cost against volume")


def score_chart(c: Comparison) -> str:
    """The scores of both models, with the kind of each figure."""
    section = next(s for s in c.sections if s.title == "Scores")
    pairs = [Pair(line.label, *line.values, line.note) for line in section.lines if line.values is not None]
    return paired_bars(pairs, (c.left.candidate.name, c.right.candidate.name), "Scores")
