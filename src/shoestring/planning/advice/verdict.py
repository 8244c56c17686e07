"""Rank models for a use case, in an order that can be recomputed from the rows it cites.

Models that meet every requirement come first, then those that fit but miss a requirement, then those that need the
disk, then those that do not run or have no figure for this use.
Within each group the use's measure decides: pairwise wins over shared benchmarks (scores.py), the longest context, the
smallest size in one type, or the lowest price. For the last three, a model must not be behind the weaker flagship
compared on the general benchmarks that both have. Ties are ordered by size, then by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.catalogue.schema import Catalogue, Score, Use
from shoestring.planning.advice import findings
from shoestring.planning.advice.scores import Pairing, Place, comparable, pairing, places
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.assess import Assessment
from shoestring.planning.memory import context_limit, need

NOT_AT_ALL = 3
#: the type in which sizes are compared, whatever fits on this machine
SIZE_TYPE = "Q4_K_M"


@dataclass(frozen=True)
class Ranked:
    assessment: Assessment
    #: 0 suits, 1 fits but misses a requirement, 2 needs the disk, 3 does not run or has no figure
    group: int
    #: larger is better: tokens, -bytes or -dollars; None: decided by scores, or no figure for this use
    measure: float | None
    #: the rank by scores, for uses that scores decide; None: no order
    place: Place | None
    #: why it stands here, and whether it runs
    sentences: tuple[Sentence, Sentence]


@dataclass(frozen=True)
class Verdict:
    use: Use
    ranking: tuple[Ranked, ...]
    #: the verdict in one line
    line: Sentence

    @property
    def best(self) -> Ranked | None:
        """The first, unless it cannot be used at all."""
        first = self.ranking[0]
        return first if first.group < NOT_AT_ALL else None


@dataclass(frozen=True)
class _Rated:
    assessment: Assessment
    measure: float | None
    place: Place | None
    rows: tuple[str, ...]
    #: why there is no figure; "" if there is one
    problem: str

    @property
    def order(self) -> float:
        return float(self.place.rank) if self.place else -(self.measure or 0.0)


def rank(use: Use, assessments: Sequence[Assessment], catalogue: Catalogue) -> Verdict:
    """Rank all candidates for a use, best first."""
    rated = _by_scores(use, assessments, catalogue) if use.measure == "quality" else _measured(
        use, assessments, catalogue)  # fmt: skip

    def key(item: _Rated) -> tuple[int, float, int, str]:
        a = item.assessment
        # The smaller of two equals, by a size that does not depend on the machine.
        return _group(use, item), item.order, _common_size(a), a.candidate.id

    rated = sorted(rated, key=key)
    ranking = []
    for number, item in enumerate(rated):
        other = rated[0] if number else _second(rated)
        why = _why(use, item, other, catalogue)
        ranking.append(
            Ranked(item.assessment, _group(use, item), item.measure, item.place, (why, _how(use, item.assessment)))
        )
    return Verdict(use, tuple(ranking), _line(use, rated, catalogue))


def general_score(a: str, b: str, catalogue: Catalogue) -> Pairing | None:
    """Two models on the general benchmarks that both have."""
    return pairing(a, b, catalogue.uses["budget"].benchmarks, catalogue)


def _second(rated: Sequence[_Rated]) -> _Rated | None:
    """With whom the first is compared: the next with a figure, whether it runs or not; None if nobody else is there."""
    return next((r for r in rated[1:] if r.place is not None), rated[1] if len(rated) > 1 else None)


def _group(use: Use, item: _Rated) -> int:
    a = item.assessment
    if item.problem:
        return NOT_AT_ALL
    if use.measure == "price":  # hosted: this machine does not matter
        return 0 if a.terms is None or a.terms.usable else 1
    if not a.runs:
        return NOT_AT_ALL
    return 0 if a.suits else 2 if a.placement.fit == "disk" else 1


def _by_scores(use: Use, assessments: Sequence[Assessment], catalogue: Catalogue) -> list[_Rated]:
    known = [a.candidate.id for a in assessments if a.candidate.row is not None]
    if len(assessments) == 1 and known and comparable(known[0], use.benchmarks, catalogue):
        found = {known[0]: Place(1)}
    else:
        found = places(known, use.benchmarks, catalogue)
    rated = []
    for a in assessments:
        scores = comparable(a.candidate.id, use.benchmarks, catalogue) if a.candidate.row is not None else ()
        place = found.get(a.candidate.id)
        problem = ""
        if place is None and scores:
            problem = f"has no order: it shares no benchmark with {'all of the others' if found else 'another of them'}"
        elif place is None:
            problem = "has no score that could be compared"
        rated.append(_Rated(a, None, place, tuple(s.id for s in scores), problem))
    return rated


def _bar(assessments: Sequence[Assessment], catalogue: Catalogue) -> Assessment | None:
    """The weaker of the flagships compared, by the general benchmarks; None without a flagship."""
    flagships = [a for a in assessments if a.candidate.row is not None and a.candidate.row.flagship]
    if not flagships:
        return None
    order = places([a.candidate.id for a in flagships], catalogue.uses["budget"].benchmarks, catalogue)
    return max(flagships, key=lambda a: order[a.candidate.id].rank if a.candidate.id in order else 0)


def _measured(use: Use, assessments: Sequence[Assessment], catalogue: Catalogue) -> list[_Rated]:
    bar = _bar(assessments, catalogue)
    return [_one_measured(use, a, bar, catalogue) for a in assessments]


def _one_measured(use: Use, a: Assessment, bar: Assessment | None, catalogue: Catalogue) -> _Rated:
    row = a.candidate.row
    rows = (row.id,) if row is not None else ()
    if bar is not None and a is not bar:
        name = bar.candidate.name
        pair = general_score(a.candidate.id, bar.candidate.id, catalogue) if row is not None else None
        if pair is None:
            return _Rated(a, None, None, rows, f"shares no general benchmark with {name}, the weaker flagship")
        if pair.lead < 0:
            text = f"is {compared(a, bar, pair, catalogue)}, which is the weaker flagship"
            return _Rated(a, None, None, (*rows, *pair.rows), text)
        rows = (*rows, *pair.rows)
    if use.measure == "context":
        return _Rated(a, float(a.longest_context), None, rows, "")
    if use.measure == "size":
        return _Rated(a, -float(_common_size(a)), None, rows, "")
    offer = a.cost.cheapest
    if offer is None:
        return _Rated(a, None, None, rows, a.cost.no_offer)
    return _Rated(a, -offer.usd_per_million, None, (*rows, offer.price.id), "")


def _common_size(a: Assessment) -> int:
    """Bytes of the model's file in SIZE_TYPE."""
    return need(a.candidate, SIZE_TYPE, 1, 1).download


def _line(use: Use, rated: Sequence[_Rated], catalogue: Catalogue) -> Sentence:
    """The verdict in one line, with the findings of the model that it names."""
    best, title = rated[0], use.title
    if _group(use, best) == NOT_AT_ALL:
        lacking = {"quality": "share a benchmark of it", "price": "have a price to compare"}
        if len(rated) == 1:
            a = best.assessment
            why = best.problem + _marked(use, a, catalogue) if best.problem else "does not run here"
            text = f"{title}: {a.candidate.name} {why}"
        elif any(not r.problem for r in rated):
            text = f"{title}: none of them runs here"
        else:
            text = f"{title}: no order, because no two of them {lacking.get(use.measure, 'could be compared')}"
        return sentence(text, Finding("", f"first for {use.id}", "none"))
    a = best.assessment
    other = _second(rated)
    measure, found, rows = _figure(use, best, other, catalogue)
    reserved = "" if _group(use, best) == 0 else ", with a reservation"
    first = Finding(a.candidate.id, f"first for {use.id}", "first" + reserved)
    return sentence(f"{title}: {a.candidate.name}, {measure}{reserved}", first, *found, rows=(*best.rows, *rows))


def _figure(use: Use, item: _Rated, other: _Rated | None, catalogue: Catalogue) -> tuple[
    str, tuple[Finding, ...], tuple[str, ...]
]:  # fmt: skip
    """What decides for a model with a figure, in words, with its findings and rows."""
    a = item.assessment
    if use.measure != "quality":
        finding, text = _measure(use, a)
        return text, (finding,), ()
    if other is not None and other.place is not None:
        pair = pairing(a.candidate.id, other.assessment.candidate.id, use.benchmarks, catalogue)
        assert pair is not None
        return (
            f"{compared(a, other.assessment, pair, catalogue)}{_shared(item, catalogue)}",
            findings.against(f"scores for {use.id}", a, other.assessment, pair),
            pair.rows,
        )
    scores = comparable(a.candidate.id, use.benchmarks, catalogue)
    return (
        f"with {listed(scores, catalogue)}",
        (Finding(a.candidate.id, f"scores for {use.id}", "alone"),),
        tuple(s.id for s in scores),
    )


def compared(a: Assessment, b: Assessment, pair: Pairing, catalogue: Catalogue) -> str:
    """`a` against `b` in words: "ahead of B by 5.1 on average over the 2 benchmarks that both have (…)"."""
    each = ", ".join(
        f"{catalogue.benchmarks[x.benchmark].title} {x.value:g} to {y.value:g}" for x, y in pair.pairs
    )  # fmt: skip
    count = len(pair.pairs)
    shared = f"over the {count} benchmarks that both have" if count > 1 else "on the one benchmark that both have"
    if pair.lead == 0:
        return f"level with {b.candidate.name} {shared} ({each})"
    direction = "ahead of" if pair.lead > 0 else "behind"
    mean = " on average" if count > 1 else ""
    return f"{direction} {b.candidate.name} by {abs(pair.lead):.1f}{mean} {shared} ({each})"


def listed(scores: Sequence[Score], catalogue: Catalogue) -> str:
    return ", ".join(f"{catalogue.benchmarks[s.benchmark].title} {s.value:g}" for s in scores)


def _shared(item: _Rated, catalogue: Catalogue) -> str:
    """Words for a rank that several models share; "" for a rank of its own."""
    if item.place is None or not item.place.shared_with:
        return ""
    names = " and ".join(catalogue.models[id].name for id in item.place.shared_with)
    how = "each beats another in a cycle" if item.place.cycle else "they tie"
    return f", sharing rank {item.place.rank} with {names}, because {how}"


def _measure(use: Use, a: Assessment) -> tuple[Finding, str]:
    """A model's measure as a finding and in words."""
    if use.measure == "context":
        return findings.context(a), f"{a.longest_context:,} tokens of context here"
    if use.measure == "size":
        size = findings.gigabytes(_common_size(a))
        return Finding(a.candidate.id, f"size in {SIZE_TYPE}", "", size), f"{size} in {SIZE_TYPE}"
    offer = a.cost.cheapest
    assert offer is not None
    price = findings.dollars(offer.usd_per_million)
    return findings.hosted(a, offer), f"{price} per million tokens at {offer.price.provider}"


def _why(use: Use, item: _Rated, other: _Rated | None, catalogue: Catalogue) -> Sentence:
    """A sentence about a model's figure, compared with `other`."""
    a, name = item.assessment, item.assessment.candidate.name
    if item.problem:
        figure = Finding(a.candidate.id, f"figure for {use.id}", "none")
        return sentence(f"{name} {item.problem}{_marked(use, a, catalogue)}", figure, rows=item.rows)
    text, found, rows = _figure(use, item, other, catalogue)
    if use.measure == "quality":
        return sentence(f"{name} is {text}" if text[:4] != "with" else f"{name} comes {text}", *found,
                        rows=(*item.rows, *rows))  # fmt: skip
    if use.measure == "context":
        limit, per_token = context_limit(a.candidate), a.need.kv_bytes_per_token
        text = f"{text}, of its {limit:,}, at {per_token:,} bytes per token"
    if other is not None and not other.problem:
        finding, words = _measure(use, other.assessment)
        text += f", against {words} for {other.assessment.candidate.name}"
        found, rows = (*found, finding), (*rows, *other.rows)
    return sentence(f"{name}: {text}", *found, rows=(*item.rows, *rows))


def _marked(use: Use, a: Assessment, catalogue: Catalogue) -> str:
    """The scores of a model that do not compare, with the reason; "" if there are none."""
    if a.candidate.row is None or use.measure != "quality":
        return ""
    scores = (catalogue.score(a.candidate.id, benchmark) for benchmark in use.benchmarks)
    texts = [
        f"{catalogue.benchmarks[s.benchmark].title} {s.value:g} is {s.incomparable}"
        for s in scores
        if s is not None and s.incomparable
    ]
    return f" ({'; '.join(texts)})" if texts else ""


def _how(use: Use, a: Assessment) -> Sentence:
    """A sentence on whether and how a model runs here, or who hosts it."""
    if use.measure != "price":
        return standing(a)
    if a.terms is not None and not a.terms.usable:
        return sentence(a.terms.reason, *findings.licence(a), rows=a.terms.rows)
    offer = a.cost.cheapest
    if offer is None:
        return sentence("you can only host it yourself", Finding(a.candidate.id, "hosts", "none"))
    p = offer.price
    text = f"{p.provider} charges ${p.input_usd:g} in and ${p.output_usd:g} out"
    price = Finding(a.candidate.id, f"{p.provider}, in and out", "", f"${p.input_usd:g} in and ${p.output_usd:g} out")
    return sentence(text, price, rows=(p.id,))


def standing(a: Assessment) -> Sentence:
    """Whether and how a model runs on this machine."""
    rows = (a.candidate.row.id,) if a.candidate.row is not None else ()
    runs = findings.runs(a)
    if a.problems:
        refused = a.terms is not None and not a.terms.usable
        rows = (*rows, *(a.terms.rows if refused and a.terms is not None else ()))
        return sentence(f"it {runs.verdict}: {'; '.join(a.problems)}", runs, rows=rows)
    where = findings.PLACES[a.placement.fit]
    speed = "".join(f", {f.figure} ({f.verdict})" for f in findings.decode(a))
    text = (
        f"it suits this machine: {findings.memory(a).figure} in {a.need.sizes.type} {where}{findings.tightly(a)}{speed}"
    )
    return sentence(text, runs, findings.memory(a), *findings.decode(a), rows=(*rows, *a.cost.rows))
