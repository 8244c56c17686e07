"""The recommendation of a report in two sentences, and what would change it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.advice import findings
from shoestring.planning.advice.break_even import break_even
from shoestring.planning.advice.choose import Instead, brief, out_of_play
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.advice.summary import firsts, firsts_here, here, titles
from shoestring.planning.advice.verdict import general_score
from shoestring.planning.assess import Assessment
from shoestring.planning.licence import User, judge
from shoestring.planning.plan import Plan, leading


@dataclass(frozen=True)
class Recommendation:
    #: what to run, and what it costs or what else to consider
    sentences: tuple[Sentence, ...]
    #: what would change it, the most likely first
    changes: tuple[Sentence, ...]
    #: the model to start; None if none runs
    model: Assessment | None


def recommend(planned: Plan, instead: Instead | None = None) -> Recommendation:
    """Recommend one of the models of a plan, or the one that suits the machine instead of two that are compared."""
    pair = planned.assessments if len(planned.assessments) == 2 else None
    best = instead.assessment if instead is not None else leading(planned)
    if best is None or not best.runs:
        return Recommendation(_none(planned), _changes(planned, None), None)
    other = next((a for a in pair or () if a is not best), None)
    first = instead.sentence if instead is not None else _run(planned, best, other)
    return Recommendation((first, *_second(planned, best)), _changes(planned, best), best)


def _none(planned: Plan) -> tuple[Sentence, ...]:
    """Nothing runs: what is nearest, and who hosts it."""
    nearest = min(planned.assessments, key=lambda a: (a.placement.missing, a.candidate.id))
    found = [findings.runs(nearest), *findings.fewer_users(nearest)]
    text = f"{'none of them runs' if len(planned.assessments) > 1 else 'it does not run'} on this machine"
    text += f"; {nearest.candidate.name} comes nearest: {brief(nearest)}"
    said = [sentence(text, *found)]
    offers = [(offer, a) for a in planned.assessments if (offer := a.cost.cheapest) is not None and _usable(a)]
    if offers:
        offer, a = min(offers, key=lambda pair: pair[0].usd_per_million)
        price = findings.hosted(a, offer)
        provider = offer.price.provider
        said.append(sentence(f"hosted, {a.candidate.name} costs {price.figure} per million tokens at {provider}", price,
                             rows=(offer.price.id,)))  # fmt: skip
    return tuple(said)


def _usable(a: Assessment) -> bool:
    return a.terms is None or a.terms.usable


def _run(planned: Plan, best: Assessment, other: Assessment | None) -> Sentence:
    """The model to run, with its uses, and why not the other one of two."""
    text, found = here(best)
    won = firsts_here(planned, best) if len(planned.assessments) > 1 else []
    if other is not None and planned.question.use is None and best.suits and other.suits:
        pair = general_score(best.candidate.id, other.candidate.id, planned.catalogue)
        if pair is not None and pair.lead > 0:
            figures = findings.against("general benchmarks", best, other, pair)
            by = f"{figures[0].figure} on {len(pair.pairs)} general benchmarks"
            text += f"; it is ahead of {other.candidate.name} by {by}"
            found = (*found, *figures)
    added = [v.line.findings[0] for v in won]
    text += f"; {'' if 'it is' in text else 'it is '}first for {titles(won)}" if won else ""
    if other is not None and not other.suits:
        text += f"; {out_of_play(other)}"
        added.append(findings.runs(other))
    return sentence(f"run {best.candidate.name}, {text}", *found, *added)


def _second(planned: Plan, best: Assessment) -> tuple[Sentence, ...]:
    """What a million tokens cost on this machine and hosted; () if neither is known."""
    own, offer = findings.own_cost(best), best.cost.cheapest
    name = best.candidate.name
    hosted = findings.hosted(best, offer) if offer is not None else None
    if own and offer is not None and hosted is not None:
        cheaper = (best.cost.usd_per_million or 0.0) <= offer.usd_per_million
        advice = "so the machine is the cheaper way" if cheaper else "so hosting is the cheaper way at this use"
        busy = f"{planned.question.money.utilisation:.0%} of the time"
        text = (
            f"a million tokens of {name} cost {own[0].figure} on this machine, busy {busy}, and {hosted.figure} at "
            f"{offer.price.provider}, {advice}"
        )
        return (sentence(text, *own, hosted, rows=(*best.cost.rows, offer.price.id)),)
    if own:
        text = f"a million tokens of {name} cost {own[0].figure} on this machine; it {best.cost.no_offer}"
        return (sentence(text, *own, Finding(best.candidate.id, "hosts", "none"), rows=best.cost.rows),)
    return ()


def _changes(planned: Plan, best: Assessment | None) -> tuple[Sentence, ...]:
    found = [_other_uses(planned, best), _memory(planned, best), _limits(best), _volume(planned, best),
             *_licence(planned)]  # fmt: skip
    return tuple(s for s in found if s is not None)


def _other_uses(planned: Plan, best: Assessment | None) -> Sentence | None:
    """Who is first for the uses that the recommended model does not win."""
    parts, found = [], []
    for a in planned.assessments:
        won = firsts(planned, a)
        if a is not best and won:
            parts.append(f"{a.candidate.name} for {titles(won)}")
            found += [v.line.findings[0] for v in won]
    return sentence(f"another use: take {', '.join(parts)}", *found) if parts else None


def _memory(planned: Plan, best: Assessment | None) -> Sentence | None:
    """The nearest model that does not run."""
    out = [a for a in planned.assessments if not a.runs and a is not best]
    if not out or best is None:
        return None
    nearest = min(out, key=lambda a: (a.placement.missing, a.candidate.id))
    name, missing = nearest.candidate.name, findings.missing(nearest)
    for f in findings.fewer_users(nearest):
        return sentence(f"fewer users: {name} runs in {f.verdict} with {f.figure} at once", findings.runs(nearest), f)
    text = f"more memory: with {missing.figure} more, {name} would run in {missing.verdict}"
    return sentence(text, findings.runs(nearest), missing)


def _limits(best: Assessment | None) -> Sentence | None:
    """How many users and how much context fit; None with the disk, where nothing bounds them."""
    if best is None or best.placement.fit == "disk":
        return None
    users, context = findings.users(best), findings.context(best)
    text = (
        f"more users or longer texts: {best.candidate.name} in {best.need.sizes.type} leaves memory for {users.figure} "
        f"at once with {best.need.context:,} tokens each, or for {context.figure} tokens each with {best.need.users:,}"
    )
    return sentence(text, users, context)


def _volume(planned: Plan, best: Assessment | None) -> Sentence | None:
    if best is None or best.cost.cheapest is None:
        return None
    turn = break_even(planned, best, best.cost.cheapest)
    return sentence(f"volume: {turn.text[:1].lower()}{turn.text[1:]}", *turn.findings, rows=turn.rows) if turn else None


def _licence(planned: Plan) -> list[Sentence]:
    """Answers about the user that would take or give a licence."""
    user, said = planned.question.user, []
    bound = [a for a in planned.assessments if a.terms is not None and a.terms.licence.limit_mau]
    lost = [a for a in bound if _usable(a) and not _usable_for(a, replace(user, eu=True), planned.catalogue)]
    won = [a for a in bound if not _usable(a) and _usable_for(a, replace(user, end_user=True), planned.catalogue)]
    for changed, text in (
        (lost, "licence: in the European Union (--eu), the {} does not grant you {}"),
        (won, "licence: the {} would not stop you as an end user of another's product (--end-user) of {}"),
    ):
        if changed:
            names = " and ".join(a.candidate.name for a in changed)
            found = [f for a in changed for f in findings.licence(a)]
            said.append(sentence(text.format(_licence_name(changed[0]), names), *found))
    return said


def _licence_name(a: Assessment) -> str:
    return a.terms.licence.name if a.terms is not None else ""


def _usable_for(a: Assessment, user: User, catalogue: Catalogue) -> bool:
    """Whether the licence of a model of the catalogue grants its rights to a user."""
    if a.terms is None or a.candidate.row is None:
        return True
    return judge(a.terms.licence, a.candidate.row.modalities, user, catalogue).usable
