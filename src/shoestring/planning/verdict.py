"""Rank models for a use case, in an order that can be recomputed from the rows it cites.

Models that meet every requirement come first, then those that fit but miss a requirement, then those that need the
disk, then those that do not run.
Within each group the use's measure decides: the mean of its benchmarks (a missing score counts as 0), the longest
context, the smallest size, or the lowest price. For the last three, a model must reach the general score of the weaker
flagship compared. Ties are ordered by size, then by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.catalogue.schema import Catalogue, Score, Use
from shoestring.planning.assess import Assessment
from shoestring.planning.memory import context_limit

NOT_AT_ALL = 3
#: why a use has no winner, if the machine is not the reason
NO_FIGURE = {
    "quality": "has a published score", "context": "reaches the required general score",
    "size": "reaches the required general score", "price": "has a listed price",
}  # fmt: skip


@dataclass(frozen=True)
class Sentence:
    """A sentence, and the ids of the rows behind it."""

    text: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Ranked:
    assessment: Assessment
    #: 0 suits, 1 fits but misses a requirement, 2 needs the disk, 3 does not run or has no figure
    group: int
    #: larger is better; None: no figure for this use
    measure: float | None
    sentences: tuple[Sentence, Sentence]


@dataclass(frozen=True)
class Verdict:
    use: Use
    ranking: tuple[Ranked, ...]

    @property
    def best(self) -> Ranked | None:
        """The first, unless it cannot be used at all."""
        first = self.ranking[0]
        return first if first.group < NOT_AT_ALL else None

    @property
    def line(self) -> str:
        """The verdict in one line."""
        best = self.best
        if best is None:
            known = any(r.measure is not None for r in self.ranking)
            return f"{self.use.title}: none of them {'runs here' if known else NO_FIGURE[self.use.measure]}."
        text = f"{self.use.title}: {best.assessment.candidate.name}"
        return f"{text}, {_measure_text(best, self.use)}{'' if best.group == 0 else ', with a reservation'}."


def general_score(model: str, catalogue: Catalogue) -> float:
    """Mean of the budget use's benchmarks; a missing score counts as 0."""
    return quality(model, catalogue.uses["budget"], catalogue)[0]


def quality(model: str, use: Use, catalogue: Catalogue) -> tuple[float, tuple[Score, ...]]:
    """Mean over the use's benchmarks (a missing score counts as 0), and the published scores."""
    scores = [catalogue.score(model, benchmark) for benchmark in use.benchmarks]
    published = tuple(s for s in scores if s is not None)
    return sum(s.value for s in published) / max(1, len(use.benchmarks)), published


def rank(use: Use, assessments: Sequence[Assessment], catalogue: Catalogue) -> Verdict:
    """Rank all candidates for a use, best first."""
    floor = _floor(assessments, catalogue)
    rated = [(a, *_measure(use, a, catalogue, floor)) for a in assessments]

    def key(item: tuple[Assessment, float | None, tuple[str, ...]]) -> tuple[int, float, int, str]:
        a, measure, _ = item
        return _group(use, a, measure), -(measure or 0.0), a.need.total_bytes, a.candidate.id

    rated.sort(key=key)
    ranking = []
    for place, (a, measure, rows) in enumerate(rated):
        other = rated[1 if place == 0 else 0] if len(rated) > 1 else None
        why = _why(use, a, measure, rows, other, catalogue, floor)
        ranking.append(Ranked(a, _group(use, a, measure), measure, (why, _how(use, a))))
    return Verdict(use, tuple(ranking))


def _group(use: Use, a: Assessment, measure: float | None) -> int:
    if use.measure == "price":  # hosted: this machine does not matter
        usable = a.terms is None or a.terms.usable
        return NOT_AT_ALL if measure is None else 0 if usable else 1
    if not a.runs or measure is None:
        return NOT_AT_ALL
    return 2 if a.placement.fit == "disk" else 0 if a.suits else 1


def _floor(assessments: Sequence[Assessment], catalogue: Catalogue) -> float:
    """The general score of the weaker flagship compared; of the weakest model if there is no flagship."""
    rows = [a.candidate.row for a in assessments if a.candidate.row is not None]
    flagships = [row for row in rows if row.flagship] or rows
    return min((general_score(row.id, catalogue) for row in flagships), default=0.0)


def _measure(use: Use, a: Assessment, catalogue: Catalogue, floor: float) -> tuple[float | None, tuple[str, ...]]:
    """The use's measure of a model (larger is better), and the rows behind it."""
    row = a.candidate.row
    if row is None:
        return (float(a.longest_context), ()) if use.measure == "context" else (None, ())
    value, published = quality(row.id, use, catalogue)
    if use.measure == "quality":
        return (value, tuple(s.id for s in published)) if published else (None, ())
    if general_score(row.id, catalogue) < floor:
        return None, (row.id,)
    match use.measure:
        case "context":
            return float(a.longest_context), (row.id,)
        case "size":
            return -float(a.need.total_bytes), (row.id, *(s.id for s in published))
        case "price":
            offer = a.cost.cheapest
            return (-offer.usd_per_million, (offer.price.id,)) if offer else (None, ())
    raise AssertionError(use.measure)


def _measure_text(r: Ranked, use: Use) -> str:
    a = r.assessment
    if use.measure == "quality":
        plural = "s" if len(use.benchmarks) > 1 else ""
        return f"{r.measure or 0:.1f} on average over {len(use.benchmarks)} benchmark{plural}"
    offer = a.cost.cheapest
    if use.measure == "price" and offer is not None:
        return f"${offer.usd_per_million:.3f} per million tokens at {offer.price.provider}"
    return figure(use, a, r.measure or 0)


def _why(
    use: Use,
    a: Assessment,
    measure: float | None,
    rows: tuple[str, ...],
    other: tuple[Assessment, float | None, tuple[str, ...]] | None,
    catalogue: Catalogue,
    floor: float,
) -> Sentence:
    """A sentence about a model's measure, compared with `other`."""
    name = a.candidate.name
    if measure is None:
        row = a.candidate.row
        if use.measure == "quality":
            text = f"{name} has no published scores for these benchmarks"
        elif row is not None and general_score(row.id, catalogue) < floor:
            text = f"{name} has a general score below {floor:.1f}, that of the weaker flagship"
        else:
            text = f"The catalogue has no provider's price for {name}"
        return Sentence(f"{text}.", rows)
    against = ""
    if other is not None:
        b, other_measure, other_rows = other
        if other_measure is None:
            missing = {"quality": "has no published scores", "price": "has no listed price or score"}.get(
                use.measure, "is below the required general score"
            )
            against = f", {b.candidate.name} {missing}"
        else:
            against = f", against {figure(use, b, other_measure)} for {b.candidate.name}{covered(use, b, catalogue)}"
        rows = (*rows, *other_rows)
    if use.measure == "quality" and a.candidate.row is not None:
        _, published = quality(a.candidate.row.id, use, catalogue)
        listed = ", ".join(f"{catalogue.benchmarks[s.benchmark].title} {s.value:g}" for s in published)
        part = covered(use, a, catalogue)
        return Sentence(f"{name} has {measure:.1f} on average{part} ({listed}){against}.", rows)
    if use.measure == "context":
        limit = context_limit(a.candidate)
        return Sentence(
            f"{name} fits {a.longest_context:,} of its {limit:,} tokens of context here, at "
            f"{a.need.kv_bytes_per_token:,} bytes per token{against}.",
            rows,
        )
    return Sentence(f"{name}: {figure(use, a, measure)}{against}.", rows)


def covered(use: Use, a: Assessment, catalogue: Catalogue) -> str:
    """How many of the use's benchmarks have a score; "" if all have."""
    if use.measure != "quality" or a.candidate.row is None:
        return ""
    count = len(quality(a.candidate.row.id, use, catalogue)[1])
    return f" with {count} of {len(use.benchmarks)} scores published" if count < len(use.benchmarks) else ""


def figure(use: Use, a: Assessment, measure: float) -> str:
    """A measure with its unit."""
    match use.measure:
        case "quality":
            return f"{measure:.1f}"
        case "context":
            return f"{a.longest_context:,} tokens"
        case "size":
            return f"{a.need.total_bytes / 1e9:,.1f} GB in {a.need.sizes.type}"
        case _:
            offer = a.cost.cheapest
            where = f" ({offer.price.provider})" if offer else ""
            return f"${-measure:.3f} per million tokens{where}"


def _how(use: Use, a: Assessment) -> Sentence:
    """A sentence on whether and how a model runs here, or who hosts it."""
    rows = tuple(r for r in (a.candidate.row.id if a.candidate.row else "", *a.cost.rows) if r)
    if use.measure == "price":
        offer = a.cost.cheapest
        if a.terms is not None and not a.terms.usable:
            return Sentence(_sentence(a.terms.findings[0]), (a.terms.licence.id,))
        if offer is None:
            return Sentence("You can only host it yourself.", ())
        p = offer.price
        return Sentence(f"{p.provider} charges ${p.input_usd:g} in and ${p.output_usd:g} out.", (p.id,))
    if a.problems:
        rows = (*rows, a.terms.licence.id) if a.terms and not (a.terms.usable and a.terms.multimodal) else rows
        return Sentence(_sentence("; ".join(a.problems)), rows)
    speed = f", {a.speed.decode:,.1f} tokens/s ({a.speed.label})" if a.speed.decode else ""
    place = {"gpu": "on the GPU", "ram": "in RAM", "gpu+ram": "on GPU and RAM", "disk": "with the disk"}
    where = place.get(a.placement.fit, "")
    return Sentence(f"It takes {a.need.total_bytes / 1e9:,.1f} GB in {a.need.sizes.type} {where}{speed}.", rows)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
