"""Charts of the report: memory by part and place, speed against context, cost against volume, scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shoestring.planning.advice.findings import dollars
from shoestring.planning.assess import Assessment, assess
from shoestring.planning.compare import MARK, Comparison
from shoestring.planning.cost import Offer
from shoestring.planning.memory import context_limit
from shoestring.planning.plan import Plan
from shoestring.planning.report.cells import PARTS, places
from shoestring.planning.report.lines import Dot, Series, lines
from shoestring.planning.report.svg import Bar, Pair, Segment, paired_bars, stacked_bars

#: part → CSS class
COLOURS = {part: f"p{i}" for i, part in enumerate(PARTS)}
#: maximum models in a chart
MOST_MODELS = 6
OWN = "own"


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


def speeds(p: Plan, assessments: Sequence[Assessment]) -> list[Series]:
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
            series.append(Series(f"{a.candidate.name} in {a.need.sizes.type}", f"m{i}", tuple(points)))
    return series


def speed_chart(series: Sequence[Series]) -> str:
    return lines(series, "tokens of context", "tokens/s, one user's share, estimated", "Speed against context")


def costs(assessments: Sequence[Assessment]) -> list[Series]:
    """Dollars against tokens per month: the cheapest provider of each model, and the machine up to its capacity.

    The machine costs the same for all models, so it is one line, with a dot where each model's capacity ends.
    """
    shown, series = assessments[:MOST_MODELS], []
    for i, a in enumerate(shown):
        offer = a.cost.cheapest
        if offer is not None:
            points = tuple((v, v / 1e6 * offer.usd_per_million) for v in _volumes())
            name = f"{a.candidate.name} at {offer.price.provider}, {dollars(offer.usd_per_million)} per million"
            series.append(Series(name, f"m{i}", points, dashed=True))
    able = [(i, a) for i, a in enumerate(shown) if a.cost.usd_per_month and a.cost.capacity_tokens]
    if able:
        month = able[0][1].cost.usd_per_month
        most = max(a.cost.capacity_tokens or 0.0 for _, a in able)
        reach = [v for v in _volumes() if v < most] + [most]
        dots = tuple(
            Dot(a.cost.capacity_tokens or 0.0, month, f"m{i}", f"{a.candidate.name}: at most {_volume(a)} a month here")
            for i, a in able
        )
        name = f"this machine, ${month:,.0f} a month"
        series.append(Series(name, OWN, tuple((v, month) for v in reach), dots=dots))
    return series


def machine_costs(found: Sequence[tuple[Plan, Assessment]]) -> list[Series]:
    """Dollars against tokens per month: each machine up to its capacity, and the cheapest provider of each model.

    A machine costs the same for all models, so it is one line, with a dot where the capacity for each model ends.
    """
    series: list[Series] = []
    hosted: dict[str, Offer] = {}
    machines: dict[str, list[Assessment]] = {}
    for p, a in found:
        if a.cost.usd_per_month and a.cost.capacity_tokens:
            machines.setdefault(p.machine.name, []).append(a)
        if a.cost.cheapest is not None:
            hosted.setdefault(a.candidate.name, a.cost.cheapest)
    for i, (machine, shown) in enumerate(machines.items()):
        month = shown[0].cost.usd_per_month
        ends = [(a, a.cost.capacity_tokens or 0.0) for a in shown]
        most = max(end for _, end in ends)
        dots = tuple(
            Dot(end, month, f"m{i}", f"{a.candidate.name} on {machine}: at most {_volume(a)} a month")
            for a, end in ends
        )
        reach = [v for v in _volumes() if v < most] + [most]
        points = tuple((v, month) for v in reach)
        series.append(Series(f"{machine}, ${month:,.0f} a month", f"m{i}", points, dots=dots))
    for name, offer in hosted.items():
        points = tuple((v, v / 1e6 * offer.usd_per_million) for v in _volumes())
        label = f"{name} at {offer.price.provider}, {dollars(offer.usd_per_million)} per million"
        series.append(Series(label, OWN, points, dashed=True))
    return series


def _volumes() -> list[float]:
    return [10.0 ** (e / 4) for e in range(24, 44)]


def _volume(a: Assessment) -> str:
    tokens = a.cost.capacity_tokens or 0.0
    return f"{tokens / 1e9:,.1f}B tokens" if tokens >= 1e9 else f"{tokens / 1e6:,.0f}M tokens"


def cost_chart(series: Sequence[Series]) -> str:
    return lines(series, "tokens per month", "dollars per month", "Cost against volume")


def score_chart(c: Comparison) -> str:
    """The scores of both models, with the kind of each figure."""
    section = next(s for s in c.sections if s.title == "Scores")
    pairs = [
        Pair(line.label, *line.values, f"{line.kind}{f' {MARK}' if line.reasons else ''}")
        for line in section.lines
        if line.values is not None
    ]
    return paired_bars(pairs, (c.left.candidate.name, c.right.candidate.name), "Scores")
