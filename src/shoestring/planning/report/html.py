"""Render plans and comparisons as one HTML file, without scripts or external resources.

The first screen recommends, says what would change it, and what it assumes. Every sentence links to the rows behind it,
which are listed at the end with source, date and kind. Every table can be downloaded as CSV.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from shoestring.planning.advice.details import asked, assumptions, footer
from shoestring.planning.advice.recommend import Recommendation, recommend
from shoestring.planning.advice.summary import top
from shoestring.planning.advice.tokens import tokens_sentence
from shoestring.planning.assess import Assessment
from shoestring.planning.compare import Comparison
from shoestring.planning.plan import Plan
from shoestring.planning.report import charts, tables
from shoestring.planning.report.page import Page
from shoestring.planning.report.table import Table


def plan_html(p: Plan) -> str:
    """Render a plan as a page."""
    page = Page(p.catalogue, footer(p))
    machine = "this machine" if p.machine.name.startswith("this machine") else p.machine.name
    first = _first(page, p, f"Which model to run on {machine}", recommend(p))
    ranked = [a for a, _ in top(p)]
    charted = [*ranked, *(a for a in p.assessments if a.runs and a not in ranked)][: charts.MOST_MODELS]
    charted = charted or list(p.assessments[: charts.MOST_MODELS])
    lines = "".join(f"<p>{page.sentence(v.line)}</p>" for v in p.verdicts)
    if len(p.verdicts) == 1:
        items = "".join(f"<li>{' '.join(page.sentence(s) for s in r.sentences)}</li>" for r in p.verdicts[0].ranking)
        lines = f"<p>{page.sentence(p.verdicts[0].line)}</p><ol>{items}</ol>"
    chapters = [("Verdicts", lines + page.table(tables.verdicts(p))), ("Models", page.table(tables.models(p)))]
    chapters += _figures(page, p, charted)
    chapters.append(("How to start", _cards(page, p, [a for a in p.assessments if a.runs])))
    return page.html(f"Which model to run on {machine}", first, chapters)


def comparison_html(c: Comparison) -> str:
    """Render a comparison as a page."""
    page = Page(c.plan.catalogue, footer(c.plan))
    left, right = c.left.candidate.name, c.right.candidate.name
    first = _first(page, c.plan, f"{left} or {right}", recommend(c.plan, c.instead))
    cards = []
    for name, sentences in ((left, c.choose_left), (right, c.choose_right)):
        items = page.items(sentences) or "<li>nothing here favours it</li>"
        cards.append(f'<div class="card"><h3>Choose {escape(name)} if this matters most</h3><ul>{items}</ul></div>')
    if c.instead is not None:
        cards.append(f"<p><strong>{page.sentence(c.instead.sentence)}</strong></p>")
    chapters = [("When to choose which", f'<div class="cards">{"".join(cards)}</div>')]
    for section in c.sections:
        said = tokens_sentence(c.left, c.right, c.plan.catalogue) if section.title == "Tokens per language" else None
        table = tables.languages(c) if said is not None else tables.section(section, left, right)
        text = page.table(table)
        if said is not None:
            text = f"<p>{page.sentence(said)}</p>{text}"
        if section.title == "Scores":
            text = f'<div class="beside"><figure>{charts.score_chart(c)}</figure><div>{text}</div></div>'
        chapters.append((section.title, text))
        if section.title == "On this machine":
            chapters += _figures(page, c.plan, (c.left, c.right))
    if c.claims:
        chapters.append(("The article’s claims, checked", _claims(page, c)))
    started = [c.left, c.right, *([c.instead.assessment] if c.instead else [])]
    chapters.append(("How to start", _cards(page, c.plan, started)))
    return page.html(f"{left} or {right}", first, chapters)


def _claims(page: Page, c: Comparison) -> str:
    parts = []
    for section in dict.fromkeys(k.claim.section for k in c.claims):
        items = "".join(
            f'<li class="{k.outcome.replace(" ", "-")}">{page.sentence(k.sentence)}</li>'
            for k in c.claims
            if k.claim.section == section
        )
        parts.append(f"<h3>{escape(section)}</h3><ul>{items}</ul>")
    return f'<div class="long">{"".join(parts)}</div>'


def _first(page: Page, p: Plan, title: str, advice: Recommendation) -> str:
    """The first screen: the recommendation, and what would change it."""
    about = f"{escape(p.machine.name)}: {page.sentence(asked(p))}"
    changes = ("What would change it", advice.changes)
    return page.first_screen(title, about, page.paragraphs(advice.sentences), changes, assumptions(p))


def _cards(page: Page, p: Plan, assessments: Sequence[Assessment]) -> str:
    return f'<div class="cards">{"".join(page.card(p, a) for a in assessments)}</div>'


def _figures(page: Page, p: Plan, assessments: Sequence[Assessment]) -> list[tuple[str, str]]:
    """Speed against context, cost against volume, and memory by place: each as a chart and a table."""
    speeds, costs = charts.speeds(p, assessments), charts.costs(assessments)
    keys = "".join(
        f'<span class="entry"><span class="key {colour}"></span>{escape(name)}</span> '
        for name, colour in charts.legend(assessments)
    )
    drawn = [
        ("Speed against context", charts.speed_chart(speeds),
         tables.points("speed", "Speed against context", "tokens of context", speeds, 1, "")),
        ("Cost against volume", charts.cost_chart(costs),
         tables.points("cost", "Cost against volume", "tokens per month", costs, 2, "$")),
        ("Memory by place", f'{charts.memory_chart(p, assessments)}<p class="dim">{keys}</p>',
         tables.memory(assessments)),
    ]  # fmt: skip
    return [(title, chart_with_figures(page, svg, table)) for title, svg, table in drawn if svg]


def chart_with_figures(page: Page, svg: str, table: Table) -> str:
    """A chart, and its figures: closed until somebody opens them, and absent on paper."""
    return f"<figure>{svg}</figure><details><summary>figures</summary>{page.table(table)}</details>"
