"""When to choose one of two models: the uses it wins, what only it can do here, what only its licence allows."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.planning.advice import findings
from shoestring.planning.advice.scores import comparable, pairing
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.advice.verdict import Ranked, Verdict, compared, listed
from shoestring.planning.assess import Assessment
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.plan import Plan, leading, make_plan


@dataclass(frozen=True)
class Instead:
    """A third model, if neither of the two suits the machine."""

    assessment: Assessment
    sentence: Sentence


def choose(planned: Plan, one: Assessment, other: Assessment) -> tuple[Sentence, ...]:
    """Reasons to choose `one` rather than `other`; if its licence does not cover the user, that alone."""
    if one.terms is not None and not one.terms.usable:
        text = f"nothing, for you: {brief_licence(one)}"
        return (sentence(text, *findings.licence(one), rows=one.terms.rows),)
    uses = (_use(planned, verdict, one, other) for verdict in planned.verdicts)
    return (*(s for s in uses if s is not None), *beyond_uses(one, other))


def beyond_uses(one: Assessment, other: Assessment, quote: bool = True) -> tuple[Sentence, ...]:
    """Reasons to choose `one` for any use. quote: with the clause of a licence that does not cover the user."""
    found = (_machine(one, other), _speed(one, other), _price(one, other), _licence(one, other, quote),
             _reads(one, other))  # fmt: skip
    return tuple(s for s in found if s is not None)


def instead_of(planned: Plan, left: Assessment, right: Assessment) -> Instead | None:
    """If neither of the two suits the machine, the catalogue's model that does; else None."""
    if left.suits or right.suits:
        return None
    catalogue = planned.catalogue
    everyone = [from_row(row, catalogue) for row in catalogue.models.values()]
    best = leading(make_plan(everyone, planned.machine, planned.question, catalogue))
    if best is None or not best.suits or best.candidate.row is None:
        return None
    speed = "".join(f", {f.figure} ({f.verdict})" for f in findings.decode(best))
    memory = findings.memory(best)
    rates = [(a, f) for a in (left, right) if a.placement.streamed is not None for f in findings.decode(a)]
    from_disk = ", ".join(f"{a.candidate.name} runs from disk at {f.figure}" for a, f in rates)
    text = (
        f"neither {left.candidate.name} nor {right.candidate.name} suits this machine"
        f"{f' ({from_disk})' if rates else ''}. {best.candidate.name} does: {memory.figure} in {memory.verdict}{speed}"
    )
    found = (
        *(findings.runs(a) for a in (left, right, best)), memory, *findings.decode(best), *(f for _, f in rates),
    )  # fmt: skip
    return Instead(best, sentence(text, *found, rows=(best.candidate.row.id,)))


def _rows(*assessments: Assessment) -> tuple[str, ...]:
    return tuple(a.candidate.row.id for a in assessments if a.candidate.row is not None)


def _use(planned: Plan, verdict: Verdict, one: Assessment, other: Assessment) -> Sentence | None:
    """A use that `one` wins, or for which only it has scores."""
    best = verdict.best
    if best is None:
        return alone(planned, verdict, one, other)
    if best.assessment is not one:
        return None
    loser = next(r for r in verdict.ranking if r.assessment is other)
    line, use = verdict.line, verdict.use
    if loser.group <= best.group or not _leads(loser, best):
        return Sentence(line.text, line.findings, (verdict.use.id, *line.rows))
    rows = (use.id, *line.rows, *loser.sentences[1].rows)
    if use.measure == "price":
        text = f"{line.text.removesuffix('.')}, because {brief_licence(other)}"
        return sentence(text, *line.findings, *findings.licence(other), rows=rows)
    if use.measure != "quality":
        text = f"{line.text.removesuffix('.')}, because {out_of_play(other)}"
        return sentence(text, *line.findings, findings.runs(other), rows=rows)
    pair = pairing(other.candidate.id, one.candidate.id, use.benchmarks, planned.catalogue)
    assert pair is not None
    found = (line.findings[0], *findings.against(f"scores for {use.id}", other, one, pair), findings.runs(other))
    reserved = "" if best.group == 0 else ", with a reservation"
    ahead = compared(other, one, pair, planned.catalogue)
    text = f"{use.title}: {one.candidate.name}{reserved}; {other.candidate.name} is {ahead}, but {_out(other)}"
    return sentence(text, *found, rows=rows)


def out_of_play(a: Assessment) -> str:
    """Why a model comes behind one with weaker figures, as a clause."""
    return f"{a.candidate.name} {_out(a)}"


def _out(a: Assessment) -> str:
    runs = findings.runs(a).verdict
    refused = a.terms is not None and not a.terms.usable
    out = "is held back" if refused else "has a reservation"
    out = f"{runs} here" if runs in ("does not run", "needs the disk") else out
    return f"{out} ({brief(a)})"


def brief_licence(a: Assessment) -> str:
    assert a.terms is not None
    return f"the {a.terms.licence.name} does not cover you"


def brief(a: Assessment) -> str:
    """What stands against a model, in a few words: a licence's clause is not quoted."""
    if a.terms is None or a.terms.usable:
        return "; ".join(a.problems)
    return "; ".join(brief_licence(a) if problem == a.terms.reason else problem for problem in a.problems)


def _leads(loser: Ranked, best: Ranked) -> bool:
    """Whether the figures of the model with a problem are the better ones."""
    if loser.place is not None and best.place is not None:
        return loser.place.rank < best.place.rank
    return loser.measure is not None and best.measure is not None and loser.measure > best.measure


def alone_findings(verdict: Verdict, one: Assessment, other: Assessment) -> tuple[Finding, Finding]:
    return (
        Finding(one.candidate.id, f"scores for {verdict.use.id}", "alone"),
        Finding(other.candidate.id, f"figure for {verdict.use.id}", "none"),
    )


def alone(planned: Plan, verdict: Verdict, one: Assessment, other: Assessment) -> Sentence | None:
    """A use without an order, in which `one` has scores and `other` has none."""
    use, catalogue = verdict.use, planned.catalogue
    if verdict.best is not None or use.measure != "quality" or one.candidate.row is None or not one.runs:
        return None
    scores = comparable(one.candidate.id, use.benchmarks, catalogue)
    if not scores or (other.candidate.row and comparable(other.candidate.id, use.benchmarks, catalogue)):
        return None
    text = (
        f"{use.title}: only {one.candidate.name} has scores that could be compared ({listed(scores, catalogue)}); "
        f"there is no order, because {other.candidate.name} has none"
    )
    return sentence(text, *alone_findings(verdict, one, other), rows=(use.id, *(s.id for s in scores)))


def _machine(one: Assessment, other: Assessment) -> Sentence | None:
    if not one.runs or other.runs:
        return None
    missing = findings.missing(other)
    here, there = findings.runs(one), findings.runs(other)
    works = "suits it" if one.suits else here.verdict
    text = (
        f"this machine: {one.candidate.name} {works}, {other.candidate.name} does not run ({missing.figure} of memory "
        f"too little in {missing.verdict})"
    )
    return sentence(text, here, there, missing, rows=_rows(one, other))


def _speed(one: Assessment, other: Assessment) -> Sentence | None:
    """The faster writer, or for agents the faster step, of which reading is a part."""
    if one.step is not None and other.step is not None:
        return _steps(one, other)
    if not one.speed.decode or not other.speed.decode or one.speed.decode <= 1.1 * other.speed.decode:
        return None
    (first,), (second,) = findings.decode(one), findings.decode(other)
    text = (
        f"speed here: {first.figure} ({first.verdict}) in {one.need.sizes.type}, against {second.figure} "
        f"({second.verdict}) in {other.need.sizes.type}"
    )
    return sentence(text, first, second, rows=_rows(one, other))


def _steps(one: Assessment, other: Assessment) -> Sentence | None:
    assert one.step is not None
    assert other.step is not None
    if one.step.rate <= 1.1 * other.step.rate:
        return None
    (first,), (second,) = findings.step(one), findings.step(other)
    text = (
        f"a step here, {one.step.prompt:,} new tokens read and {one.step.answer:,} written: {first.figure} "
        f"({first.verdict}), against {second.figure} ({second.verdict})"
    )
    return sentence(text, first, second, rows=_rows(one, other))


def _price(one: Assessment, other: Assessment) -> Sentence | None:
    """The cheaper output, at the cheapest provider of each."""
    cheap, dear = one.cost.cheapest, other.cost.cheapest
    if cheap is None or dear is None or cheap.price.output_usd >= dear.price.output_usd:
        return None
    found = [
        Finding(a.candidate.id, f"output at {o.price.provider}", "", findings.dollars(o.price.output_usd))
        for a, o in ((one, cheap), (other, dear))
    ]
    times = dear.price.output_usd / cheap.price.output_usd if cheap.price.output_usd else 0.0
    factor = f", {times:.1f} times as much" if times else ""
    text = (
        f"{one.candidate.name} costs less on output: {found[0].figure} per million tokens at {cheap.price.provider} "
        f"against {found[1].figure} at {dear.price.provider}{factor}"
    )
    return sentence(text, *found, rows=(cheap.price.id, dear.price.id))


def _licence(one: Assessment, other: Assessment, quote: bool) -> Sentence | None:
    if one.terms is None or other.terms is None or not one.terms.usable or other.terms.usable:
        return None
    why = other.terms.reason if quote else brief_licence(other)
    text = f"licence: you may use {one.candidate.name}; for {other.candidate.name}, {why}"
    return sentence(text, *findings.licence(one), *findings.licence(other), rows=other.terms.rows)


def _reads(one: Assessment, other: Assessment) -> Sentence | None:
    if one.candidate.row is None or other.candidate.row is None:
        return None
    more = [m for m in one.candidate.row.modalities if m not in other.candidate.row.modalities]
    if not more:
        return None
    what = " and ".join(more)
    first = Finding(one.candidate.id, f"reads {what}", "yes")
    second = Finding(other.candidate.id, f"reads {what}", "no")
    text, found = f"{one.candidate.name} reads {what}, {other.candidate.name} does not", [first, second]
    if not one.runs:
        runs = findings.runs(one)
        text, found = f"{text}; but it {runs.verdict} here", [*found, runs]
    return sentence(text, *found, rows=_rows(one, other))
