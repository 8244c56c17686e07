"""Several machines in one table, and the machines that --find-hardware found; as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shoestring.planning.advice.details import footer
from shoestring.planning.advice.machines import (
    assumptions,
    choice,
    found_ending,
    found_sentences,
    hours,
    opening,
    question_sentence,
    reservations,
    table_sentences,
)
from shoestring.planning.assess import Question
from shoestring.planning.find import Found, Machine
from shoestring.planning.plan import Plan, leading
from shoestring.planning.report.cells import overview
from shoestring.planning.report.json import claims_json, plan_json

COLUMNS = ("type", "needs", "placed in", "decode", "prefill", "context", "own $/M")


def render_machines(plans: Sequence[Plan], named: bool, console: Console) -> None:
    """One line a machine with each model that was named, else with its leading model; and which machine to take."""
    table = Table(box=None, pad_edge=False)
    for name in ("hardware", "model", *COLUMNS):
        table.add_column(name, justify="left" if name in ("hardware", "model", "type", "placed in") else "right")
    for p in plans:
        best = leading(p)
        shown = p.assessments if named else (best,) if best is not None else ()
        if not shown:
            table.add_row(escape(p.machine.name), "none runs")
        for a in shown:
            cells = overview(a)
            table.add_row(escape(p.machine.name), escape(a.candidate.name), *(cells[name] for name in COLUMNS))
    console.print(table)
    console.print()
    console.print(Text(question_sentence(plans).text, style="dim"))
    render_choice(plans, named, console)
    rest = (*reservations(plans, named), *hours(plans), assumptions(plans))
    for text in (*(s.text for s in rest), " ".join(s.text for s in footer(plans[0]))):
        console.print(Text(text, style="dim"))


def render_choice(plans: Sequence[Plan], named: bool, console: Console) -> None:
    """Which machine to take."""
    for s in choice(plans, named):
        console.print(Text(s.text))


def machines_json(plans: Sequence[Plan], named: bool) -> dict[str, Any]:
    return {
        "schema": "shoestring.machines",
        "version": 1,
        "machines": [plan_json(p) for p in plans],
        "claims": claims_json(table_sentences(plans, named)),
    }


def render_found(found: Sequence[Found], question: Question, console: Console) -> None:
    """The smallest and the cheapest machine of each model, and the command that plans for it."""
    console.print(Text(opening(question).text))
    for one in found:
        console.print(Text(f"\n{one.candidate.name}", style="bold"))
        for sentence in found_sentences(one):
            console.print(Padding(Text(sentence.text), (0, 0, 0, 2)))
        if one.smallest is not None:
            line = plan_command(one.candidate.id, one.smallest.hardware, question)
            console.print(Text("  " + line, style="bold cyan"), soft_wrap=True)
    console.print(Text("\n" + " ".join(s.text for s in found_ending(question)), style="dim"))


def plan_command(model: str, hardware: str, question: Question) -> str:
    """The command that plans for a found machine, with the same question."""
    return f"shoestring plan {model} --hardware {hardware}{_options(question)}"


def _options(question: Question) -> str:
    """What the question says beyond the defaults, as options of plan."""
    said = [("--for", question.use, None), ("--context", question.context, Question.context),
            ("--users", question.users, Question.users), ("--quant", question.type, None),
            ("--kv-type", question.kv_type, Question.kv_type),
            ("--min-speed", f"{question.min_speed:g}", "3")]  # fmt: skip
    return "".join(f" {name} {value}" for name, value, usual in said if value != usual)


def found_json(found: Sequence[Found], question: Question) -> dict[str, Any]:
    sentences = [opening(question), *(s for one in found for s in found_sentences(one)), *found_ending(question)]
    return {
        "schema": "shoestring.found",
        "version": 1,
        "models": [
            {
                "id": one.candidate.id,
                "tried": one.tried,
                "enough": one.enough,
                "smallest": _machine_json(one.smallest),
                "cheapest": _machine_json(one.cheapest),
            }
            for one in found
        ],
        "claims": claims_json(sentences),
    }


def _machine_json(m: Machine | None) -> dict[str, Any] | None:
    if m is None:
        return None
    return {
        "hardware": m.hardware,
        "memory_bytes": m.memory_bytes,
        "type": m.need.sizes.type,
        "fit": m.placement.fit,
        "decode_tokens_per_second": m.speed.decode,
        "prefill_tokens_per_second": m.speed.prefill,
        "usd_per_hour": m.usd_per_hour,
        "basis": m.basis,
        "rows": list(m.rows),
    }
