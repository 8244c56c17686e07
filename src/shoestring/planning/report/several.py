"""Render several machines, or those that --find-hardware found, as one page: report/page.py with other chapters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.advice.details import footer
from shoestring.planning.advice.machines import (
    Pair,
    assumptions,
    choice,
    found_ending,
    found_sentences,
    hours,
    opening,
    pairs,
    question_sentence,
    reservations,
)
from shoestring.planning.assess import Question
from shoestring.planning.find import Found, Machine
from shoestring.planning.plan import Plan
from shoestring.planning.report import charts, tables
from shoestring.planning.report.html import chart_with_figures
from shoestring.planning.report.lines import Series
from shoestring.planning.report.machines import plan_command
from shoestring.planning.report.page import Page

#: names in a title, cards, and machines in a table of found ones: a page stays within eight sheets of paper
MOST_NAMES, MOST_CARDS, MOST_FOUND = 2, 10, 10


def machines_html(plans: Sequence[Plan], named: bool) -> str:
    """Render several machines as a page. named: with each model of the plans, else with the leading one of each."""
    page = Page(plans[0].catalogue, footer(plans[0]))
    shown = pairs(plans, named)
    title = f"Which machine for {_names([a.candidate.name for _, a in shown])}" if named else "Which machine to take"
    first = page.first_screen(
        title, page.sentence(question_sentence(plans)), page.paragraphs(choice(plans, named)),
        ("What stands against some of them", reservations(plans, named)), assumptions(plans),
    )  # fmt: skip
    chapters = [("Machines", page.table(tables.machines(plans, named)))]
    chapters += _figures(page, shown)
    chapters.append(("What an hour costs", f"<ul>{page.items(hours(plans))}</ul>"))
    started = [(p, a) for p, a in shown if a.runs][:MOST_CARDS]
    cards = "".join(page.card(p, a, f" on {p.machine.name}") for p, a in started)
    chapters.append(("How to start", f'<div class="cards">{cards}</div>'))
    return page.html(title, first, chapters)


def _figures(page: Page, shown: Sequence[Pair]) -> list[tuple[str, str]]:
    """Speed against context and cost against volume, a line for each machine."""
    running = [pair for pair in shown if pair[1].runs][: charts.MOST_MODELS]
    several = len({a.candidate.id for _, a in running}) > 1
    speeds: list[Series] = []
    for i, (p, a) in enumerate(running):
        name = f"{a.candidate.name} on {p.machine.name}" if several else p.machine.name
        found = charts.speeds(p, [a])
        speeds += [dataclasses.replace(s, label=f"{name}, {a.need.sizes.type}", colour=f"m{i}") for s in found]
    drawn_machines = list(dict.fromkeys(p.machine.name for p, _ in shown))[: charts.MOST_MODELS]
    costs = charts.machine_costs([(p, a) for p, a in shown if a.runs and p.machine.name in drawn_machines])
    drawn = [
        ("Speed against context", charts.speed_chart(speeds),
         tables.points("speed", "Speed against context", "tokens of context", speeds, 1, "")),
        ("Cost against volume", charts.cost_chart(costs),
         tables.points("cost", "Cost against volume", "tokens per month", costs, 2, "$")),
    ]  # fmt: skip
    return [(title, chart_with_figures(page, svg, table)) for title, svg, table in drawn if svg]


def found_html(found: Sequence[Found], question: Question, catalogue: Catalogue) -> str:
    """Render found machines as a page: for each model, the smallest and the cheapest, and those that come next."""
    page = Page(catalogue, found_ending(question)[1:])
    title = f"Which machine for {_names([one.candidate.name for one in found])}"
    advice = "".join(
        f"<h3>{escape(one.candidate.name)}</h3>{page.paragraphs(found_sentences(one))}" for one in found[:MOST_NAMES]
    )
    first = page.first_screen(title, page.sentence(opening(question)), advice, ("", ()), found_ending(question)[0])
    chapters = []
    if len(found) > MOST_NAMES:
        rest = "".join(
            f"<h3>{escape(one.candidate.name)}</h3>{page.paragraphs(found_sentences(one))}"
            for one in found[MOST_NAMES:]
        )
        chapters.append(("The other models", rest))
    for one in found:
        if not one.machines:
            continue
        model = one.candidate
        parts = []
        for which, machines in (("smallest", one.machines), ("cheapest", one.priced)):
            if machines:
                table = tables.found_machines(f"{model.id}-{which}", machines[:MOST_FOUND])
                parts.append(f"<h3>The {which}</h3>{page.table(table)}")
        lines = "\n".join(plan_command(model.id, m.hardware, question) for m in _best(one))
        chapters.append((model.name, f"{''.join(parts)}<h3>Next</h3><pre>{escape(lines)}</pre>"))
    return page.html(title, first, chapters)


def _best(one: Found) -> list[Machine]:
    """The smallest and the cheapest; one if they are the same."""
    both = [m for m in (one.smallest, one.cheapest) if m is not None]
    return [m for i, m in enumerate(both) if m not in both[:i]]


def _names(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return " and ".join(unique) if len(unique) <= MOST_NAMES else f"{len(unique)} models"
