"""Sentences on several machines: which to take, what an hour of each costs, and those that --find-hardware found."""

from __future__ import annotations

from collections.abc import Sequence

from shoestring.planning.advice.choose import brief
from shoestring.planning.advice.details import ESTIMATED, assumed, footer, wanted
from shoestring.planning.advice.findings import PLACES, dollars, gigabytes
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.assess import Assessment, Question
from shoestring.planning.cost import hourly
from shoestring.planning.find import Found, Machine
from shoestring.planning.plan import Plan, leading
from shoestring.planning.streamed.speed import tokens_per_second

#: a model on a machine
Pair = tuple[Plan, Assessment]


def pairs(plans: Sequence[Plan], named: bool) -> list[Pair]:
    """Each machine with each named model, else with its leading model if one runs."""
    if named:
        return [(p, a) for p in plans for a in p.assessments]
    return [(p, best) for p in plans if (best := leading(p)) is not None and best.runs]


def question_sentence(plans: Sequence[Plan]) -> Sentence:
    """What was asked of every machine."""
    return sentence(wanted(plans[0].question, plans[0].catalogue), Finding("", "question", "as asked"))


def table_sentences(plans: Sequence[Plan], named: bool) -> tuple[Sentence, ...]:
    """The question, which machine to take, what stands against some, an hour of each, and what holds for all."""
    return (
        question_sentence(plans), *choice(plans, named), *reservations(plans, named), *hours(plans),
        assumptions(plans), *footer(plans[0]),
    )  # fmt: skip


def assumptions(plans: Sequence[Plan]) -> Sentence:
    return assumed(plans[0].question, "an hour of each machine: as stated for it")


def choice(plans: Sequence[Plan], named: bool) -> tuple[Sentence, ...]:
    """For each named model, the fastest machine and the cheapest; else what leads on each, and the cheapest hour."""
    found = pairs(plans, named)
    if named:
        ids = dict.fromkeys(a.candidate.id for _, a in found)
        return tuple(_for_model([pair for pair in found if pair[1].candidate.id == id]) for id in ids)
    return (_leaders(plans, found), _cheapest_hour(plans))


def _for_model(found: Sequence[Pair]) -> Sentence:
    """The fastest and the cheapest machine for a model: of those that suit it, else of those where it runs."""
    candidate = found[0][1].candidate
    suits = [pair for pair in found if pair[1].suits]
    able = suits or [pair for pair in found if pair[1].runs]
    if not able:
        p, nearest = min(found, key=lambda pair: pair[1].placement.missing)
        return sentence(
            f"{candidate.name} runs on none of them; {p.machine.name} comes nearest: {brief(nearest)}",
            Finding(candidate.id, "machines", "none is enough"), _stands(p, nearest),
        )  # fmt: skip
    p, fastest = max(able, key=lambda pair: pair[1].speed.decode or 0.0)
    findings = [Finding(candidate.id, "fastest machine", p.machine.name)]
    text = f"{candidate.name} is fastest on {p.machine.name}"
    if fastest.speed.decode:
        figure = tokens_per_second(fastest.speed.decode)
        text += f": {figure} in {fastest.need.sizes.type} ({fastest.speed.label})"
        findings.append(Finding(candidate.id, f"decode speed on {p.machine.name}", fastest.speed.label, figure))
    rows: tuple[str, ...] = ()
    priced = [pair for pair in able if pair[1].cost.usd_per_million is not None]
    if priced:
        q, cheapest = min(priced, key=lambda pair: pair[1].cost.usd_per_million or 0.0)
        figure, rows = dollars(cheapest.cost.usd_per_million or 0.0), cheapest.cost.rows
        where = "there too" if q is p else f"on {q.machine.name}"
        text += f"; a million tokens cost least {where}, {figure}"
        findings.append(Finding(candidate.id, "cheapest machine per token", q.machine.name, figure))
    return sentence(text if suits else f"with reservations, {text}", *findings, rows=rows)


def _leaders(plans: Sequence[Plan], found: Sequence[Pair]) -> Sentence:
    """Which model leads on which machine."""
    if not found:
        return sentence("no model runs on any of them", Finding("", "machines", "none is enough"))
    by_model: dict[str, list[str]] = {}
    for p, a in found:
        by_model.setdefault(a.candidate.name, []).append(p.machine.name)
    text = "; ".join(f"{name} leads on {' and '.join(machines)}" for name, machines in by_model.items())
    findings = [Finding(a.candidate.id, f"on {p.machine.name}", "leads") for p, a in found]
    idle = [p.machine.name for p in plans if all(p is not q for q, _ in found)]
    if idle:
        text += f"; nothing runs on {' and '.join(idle)}"
        findings += [Finding("", f"models on {name}", "none runs") for name in idle]
    return sentence(text, *findings)


def _cheapest_hour(plans: Sequence[Plan]) -> Sentence:
    def of(p: Plan) -> float:
        return hourly(p.machine, p.question.money, p.catalogue)[0]

    p = min(plans, key=of)
    usd, _, rows = hourly(p.machine, p.question.money, p.catalogue)
    found = Finding("", "cheapest hour", p.machine.name, dollars(usd))
    return sentence(f"an hour costs least on {p.machine.name}, {dollars(usd)}", found, rows=rows)


def reservations(plans: Sequence[Plan], named: bool) -> tuple[Sentence, ...]:
    """What stands against a model on a machine."""
    return tuple(
        sentence(f"{a.candidate.name} on {p.machine.name}: {brief(a)}", _stands(p, a))
        for p, a in pairs(plans, named)
        if not a.suits
    )


def _stands(p: Plan, a: Assessment) -> Finding:
    return Finding(a.candidate.id, f"on {p.machine.name}", "fits, with a reservation" if a.runs else "does not run")


def hours(plans: Sequence[Plan]) -> tuple[Sentence, ...]:
    """What an hour of each machine costs, and the notes about it."""
    return tuple(_hour(p) for p in plans)


def _hour(p: Plan) -> Sentence:
    name = p.machine.name
    usd, basis, rows = hourly(p.machine, p.question.money, p.catalogue)
    text = f"{name}: an hour costs {dollars(usd)} ({basis})"
    return Sentence("; ".join((text, *p.machine.notes)) + ".", (_price(name, usd, basis),), rows)


def _price(hardware: str, usd: float, basis: str) -> Finding:
    return Finding("", f"an hour of {hardware}", basis, dollars(usd))


# --- found machines ---------------------------------------------------------------------------------------------------


def opening(question: Question) -> Sentence:
    """What a machine must do to be found."""
    users = f"{question.users} user{'s' if question.users > 1 else ''}"
    text = (
        f"for {question.context:,} tokens of context, {users}, at least {question.min_speed:g} tokens/s each, in "
        f"memory and in {question.type or 'three bits or more'}"
    )
    return sentence(text, Finding("", "question", "as asked"))


def found_ending(question: Question) -> tuple[Sentence, ...]:
    """What the search assumed, and what holds for all of it."""
    return (assumed(question, "an hour of a machine: the cheapest known price of it"), ESTIMATED)


def found_sentences(one: Found) -> tuple[Sentence, ...]:
    """The smallest and the cheapest machine for a model, and how many were tried."""
    model = one.candidate.id
    if one.smallest is None:
        return (sentence(f"none of {one.tried:,} machines is enough", Finding(model, "machines", "none is enough")),)
    found = [_machine(model, "smallest", one.smallest)]
    if one.cheapest is not None:
        found.append(_machine(model, "cheapest", one.cheapest))
    text = f"{one.enough:,} of {one.tried:,} machines are enough; prices are known for {len(one.priced):,}"
    return (*found, sentence(text, Finding(model, "machines", "enough", f"{one.enough:,}")))


def _machine(model: str, which: str, m: Machine) -> Sentence:
    memory = gigabytes(m.memory_bytes)
    findings = [Finding(model, f"{which} machine", m.hardware, memory)]
    text = f"{which}: {m.hardware}, {memory} of memory: {m.need.sizes.type} {PLACES[m.placement.fit]}"
    if m.speed.decode:
        speed = tokens_per_second(m.speed.decode)
        text += f", {speed} ({m.speed.label})"
        findings.append(Finding(model, f"decode speed on {m.hardware}", m.speed.label, speed))
    if m.usd_per_hour is None:
        text += ", no known price"
    else:
        text += f", {dollars(m.usd_per_hour)} an hour ({m.basis})"
        findings.append(_price(m.hardware, m.usd_per_hour, m.basis))
    return sentence(text, *findings, rows=m.rows)
