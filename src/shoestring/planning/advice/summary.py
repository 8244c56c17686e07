"""The short form of a report: the top three in one sentence each, what is left out, what speaks for each of two."""

from __future__ import annotations

from collections.abc import Sequence

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.advice import findings
from shoestring.planning.advice.choose import (
    alone,
    alone_findings,
    beyond_uses,
    brief,
    brief_licence,
    choose,
    out_of_play,
)
from shoestring.planning.advice.scores import pairing
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.advice.verdict import Ranked, Verdict
from shoestring.planning.assess import Assessment
from shoestring.planning.plan import Plan, leading

MOST = 3


def top(planned: Plan) -> tuple[tuple[Assessment, Sentence], ...]:
    """Up to three models that run here, the leading one first, with one sentence each; () if none runs."""
    if len(planned.verdicts) == 1:
        verdict = planned.verdicts[0]
        ranked = [r for r in verdict.ranking if r.group < 3][:MOST]
        return tuple((r.assessment, _for_use(verdict, r, ranked, planned.catalogue)) for r in ranked)
    best = leading(planned)
    if best is None:
        return ()
    order = sorted(
        (a for a in planned.assessments if a.runs),
        key=lambda a: (a is not best, not a.suits, -len(firsts_here(planned, a)), _position(planned, a)),
    )
    return tuple((a, _for_all(planned, a)) for a in order[:MOST])


def firsts(planned: Plan, a: Assessment) -> list[Verdict]:
    """The verdicts that a model wins."""
    return [v for v in planned.verdicts if v.best is not None and v.best.assessment is a]


def firsts_here(planned: Plan, a: Assessment) -> list[Verdict]:
    """The verdicts that a model wins on this machine: the price of a host does not count, unless it was asked for."""
    return [v for v in firsts(planned, a) if v.use.measure != "price" or len(planned.verdicts) == 1]


def _position(planned: Plan, a: Assessment) -> int:
    """The sum of a model's positions over all uses."""
    return sum(next(i for i, r in enumerate(v.ranking) if r.assessment is a) for v in planned.verdicts)


def titles(verdicts: Sequence[Verdict]) -> str:
    """The uses in a row: "agents and tools, code"."""
    return ", ".join(v.use.title[:1].lower() + v.use.title[1:] for v in verdicts)


def here(a: Assessment) -> tuple[str, tuple[Finding, ...]]:
    """Where a model runs and how fast, or what stands against it, in words with findings."""
    memory, speed = findings.memory(a), findings.decode(a)
    text = f"{memory.figure} in {memory.verdict} {findings.PLACES[a.placement.fit]}".rstrip()
    text += findings.tightly(a) + "".join(f", {f.figure} ({f.verdict})" for f in speed)
    for f in findings.step(a):
        text, speed = f"{text}, {f.figure} a step", (*speed, f)
    reserved = "" if a.suits else f"; but {brief(a)}"
    return text + reserved, (memory, *speed, findings.runs(a))


def _for_all(planned: Plan, a: Assessment) -> Sentence:
    won = firsts(planned, a)
    text, found = here(a)
    firsts_found = tuple(v.line.findings[0] for v in won)
    first = f"; first for {titles(won)}" if won else ""
    return sentence(f"{a.candidate.name}: {text}{first}", *found, *firsts_found)


def _for_use(verdict: Verdict, ranked: Ranked, shown: Sequence[Ranked], catalogue: Catalogue) -> Sentence:
    a, use = ranked.assessment, verdict.use
    text, found = here(a)
    figure: tuple[Finding, ...] = ()
    if use.measure == "quality":
        other = next((r.assessment for r in shown if r.assessment is not a and r.place is not None), None)
        pair = pairing(a.candidate.id, other.candidate.id, use.benchmarks, catalogue) if other is not None else None
        if other is None or pair is None:
            return Sentence(*_joined(ranked.sentences))
        figure = findings.against(f"scores for {use.id}", a, other, pair)
        count = f"{len(pair.pairs)} shared benchmark{'s' if len(pair.pairs) > 1 else ''}"
        lead = figure[0]
        words = {"ahead": "ahead of", "behind": "behind", "level": "level with"}[lead.verdict]
        by = f" by {lead.figure}" if pair.lead else ""
        text = f"{words} {other.candidate.name}{by} on {count}; {text}"
    elif use.measure == "price":
        return _for_price(a)
    else:
        finding = findings.context(a) if use.measure == "context" else ranked.sentences[0].findings[0]
        unit = "tokens of context here" if use.measure == "context" else f"in {finding.subject.rpartition(' ')[2]}"
        figure = (finding,)
        text = f"{finding.figure} {unit}; {text}"
    return sentence(f"{a.candidate.name}: {text}", *figure, *found)


def _for_price(a: Assessment) -> Sentence:
    offer = a.cost.cheapest
    assert offer is not None
    p, hosted = offer.price, findings.hosted(a, offer)
    refused = a.terms is not None and not a.terms.usable
    text = (
        f"{a.candidate.name}: {hosted.figure} per million tokens at {p.provider} (${p.input_usd:g} in, "
        f"${p.output_usd:g} out){f'; but {brief_licence(a)}' if refused else ''}"
    )
    return sentence(text, hosted, *findings.licence(a), rows=(p.id,))


def _joined(sentences: Sequence[Sentence]) -> tuple[str, tuple[Finding, ...], tuple[str, ...]]:
    return (
        " ".join(s.text for s in sentences),
        tuple(f for s in sentences for f in s.findings),
        tuple(r for s in sentences for r in s.rows),
    )


def left_out(planned: Plan) -> Sentence | None:
    """The models that do not run here, the nearest first, in one sentence; None if all run."""
    out = sorted((a for a in planned.assessments if not a.runs), key=lambda a: a.placement.missing)
    if not out:
        return None
    named, more = out[:MOST], len(out) - MOST
    each = ", ".join(f"{a.candidate.name} ({_short_of(a)})" for a in named)
    found = [f for a in named for f in (findings.runs(a), *(findings.fewer_users(a) or (findings.missing(a),)))]
    return sentence(f"these do not run here: {each}{f' and {more} more' if more > 0 else ''}", *found)


def _short_of(a: Assessment) -> str:
    for f in findings.fewer_users(a):
        return f"{f.figure} at once would fit, in {f.verdict}"
    missing = findings.missing(a)
    return f"{missing.figure} too much in {missing.verdict}"


def won(planned: Plan, one: Assessment, other: Assessment) -> Sentence | None:
    """The uses in which `one` is ahead of `other`, those for want of the other apart; None if there are none."""
    clear: list[Verdict] = []
    only: list[Verdict] = []
    for verdict in firsts(planned, one):
        loser = next(r for r in verdict.ranking if r.assessment is other)
        (only if loser.group > verdict.ranking[0].group else clear).append(verdict)
    found = [findings.runs(one), *(v.line.findings[0] for v in (*clear, *only))]
    parts = [titles(clear)] if clear else []
    if only:
        parts.append(f"{titles(only)}, because {out_of_play(other)}")
        found.append(findings.runs(other))
    reserved = "" if one.suits else f"; here it {findings.runs(one).verdict}"
    return sentence(f"{one.candidate.name} is first for {'; for '.join(parts)}{reserved}", *found) if parts else None


def only_known(planned: Plan, one: Assessment, other: Assessment) -> Sentence | None:
    """The uses for which only `one` has scores that could be compared; None if there are none."""
    uses = [v for v in planned.verdicts if alone(planned, v, one, other) is not None]
    if not uses:
        return None
    found = [f for v in uses for f in alone_findings(v, one, other)]
    name = one.candidate.name
    return sentence(f"for {titles(uses)}, only {name} has scores that could be compared, so there is no order", *found)


def short_choice(planned: Plan, one: Assessment, other: Assessment) -> tuple[Sentence, ...]:
    """Up to three reasons to choose `one` rather than `other`, its uses in one sentence."""
    if one.terms is not None and not one.terms.usable:
        return choose(planned, one, other)
    uses = (won(planned, one, other), only_known(planned, one, other))
    said = tuple(s for s in uses if s is not None)
    known = any(findings.runs(other) in s.findings for s in said)
    beyond = [s for s in beyond_uses(one, other, quote=False) if not (known and findings.runs(other) in s.findings)]
    return (*said, *beyond)[:MOST]
