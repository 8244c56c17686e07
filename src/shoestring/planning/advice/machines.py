"""Sentences on several machines: what an hour of each costs, and the ones that --find-hardware found."""

from __future__ import annotations

from collections.abc import Sequence

from shoestring.planning.advice.details import footer, wanted
from shoestring.planning.advice.findings import PLACES, dollars, gigabytes
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.assess import Question
from shoestring.planning.cost import hourly
from shoestring.planning.find import Found, Machine
from shoestring.planning.plan import Plan


def table_sentences(plans: Sequence[Plan]) -> tuple[Sentence, ...]:
    """The question, the cost of an hour and the notes of each machine, and what holds for all."""
    first = plans[0]
    question = sentence(wanted(first.question, first.catalogue), Finding("", "question", "as asked"))
    return (question, *(_hour(p) for p in plans), *footer(first))


def _hour(p: Plan) -> Sentence:
    name = p.machine.name
    usd, basis, rows = hourly(p.machine, p.question.money, p.catalogue)
    text = f"{name}: an hour costs {dollars(usd)} ({basis})"
    return Sentence("; ".join((text, *p.machine.notes)) + ".", (_price(name, usd, basis),), rows)


def _price(hardware: str, usd: float, basis: str) -> Finding:
    return Finding("", f"an hour of {hardware}", basis, dollars(usd))


def opening(question: Question) -> Sentence:
    """What a machine must do to be found."""
    users = f"{question.users} user{'s' if question.users > 1 else ''}"
    text = (
        f"for {question.context:,} tokens of context, {users}, at least {question.min_speed:g} tokens/s each, in "
        f"memory and in {question.type or 'three bits or more'}"
    )
    return sentence(text, Finding("", "question", "as asked"))


def found_sentences(one: Found) -> tuple[Sentence, ...]:
    """The smallest and the cheapest machine for a model, and how many were tried."""
    model = one.candidate.id
    if one.smallest is None:
        return (sentence(f"none of {one.tried:,} machines is enough", Finding(model, "machines", "none is enough")),)
    found = [_machine(model, "smallest", one.smallest)]
    if one.cheapest is not None:
        found.append(_machine(model, "cheapest", one.cheapest))
    text = f"{one.enough:,} of {one.tried:,} machines are enough; prices are known for some"
    return (*found, sentence(text, Finding(model, "machines", "enough", f"{one.enough:,}")))


def _machine(model: str, which: str, m: Machine) -> Sentence:
    memory = gigabytes(m.memory_bytes)
    findings = [Finding(model, f"{which} machine", m.hardware, memory)]
    text = f"{which}: {m.hardware}, {memory} of memory: {m.need.sizes.type} {PLACES[m.placement.fit]}"
    if m.speed.decode:
        speed = f"{m.speed.decode:,.1f} tokens/s"
        text += f", {speed} ({m.speed.label})"
        findings.append(Finding(model, f"decode speed on {m.hardware}", m.speed.label, speed))
    if m.usd_per_hour is None:
        text += ", no known price"
    else:
        text += f", {dollars(m.usd_per_hour)} an hour ({m.basis})"
        findings.append(_price(m.hardware, m.usd_per_hour, m.basis))
    return sentence(text, *findings, rows=m.rows)
