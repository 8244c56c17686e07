"""Render plans and comparisons as one HTML file: no scripts, no external resources, light and dark, fit for phones.

Every sentence links to the rows behind it, which are listed at the end with source, date and kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from html import escape

from shoestring.catalogue.age import outdated
from shoestring.planning.advice.details import asked, assumptions, details, footer
from shoestring.planning.advice.sentences import Sentence
from shoestring.planning.assess import Assessment
from shoestring.planning.compare import Comparison, Section
from shoestring.planning.plan import Plan, find_row
from shoestring.planning.report import charts
from shoestring.planning.report.cells import overview

#: How every report begins. `--html` replaces no other page.
BEGINNING = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="shoestring">'
STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--dim:#5a6474;--page:#fbfbf9;--card:#fff;--rule:#dfe3e8;--link:#1f5fbf;
--good:#1a7f4b;--bad:#b3342c}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#9aa5b5;--page:#14171d;--card:#1c2129;--rule:#333b47;
--link:#7db0ff;--good:#5ccf91;--bad:#ff8d85}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:62rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--rule);padding-bottom:.2rem}
p,li{margin:.3rem 0}.dim{color:var(--dim);font-size:.88rem}a{color:var(--link)}
.cards{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr))}
.card{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.8rem;min-width:0}
.card h3{margin:0 0 .4rem;font-size:1rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;min-width:30rem;font-size:.92rem;overflow-wrap:normal}
th,td{text-align:right;padding:.28rem .5rem;border-bottom:1px solid var(--rule);vertical-align:top}
th:first-child,td:first-child{text-align:left}
td:first-child{min-width:8rem}
td.note{color:var(--dim);font-size:.82rem;text-align:left}
pre{background:var(--page);border:1px solid var(--rule);border-radius:.4rem;padding:.6rem;white-space:pre-wrap}
sup a{text-decoration:none;margin-left:.15rem}
.holds{color:var(--good)}.differs{color:var(--bad)}
svg{display:block;width:100%;max-width:40rem;height:auto;overflow:visible}
svg .name{font-size:11px;fill:var(--ink)}svg .tick{font-size:10px;fill:var(--dim)}
svg .end{font-size:11px;fill:var(--dim);text-anchor:end}
svg .grid{stroke:var(--rule)}svg .limit{stroke:var(--bad);stroke-width:2}
svg .line{fill:none;stroke-width:2}
.entry{white-space:nowrap}.key{display:inline-block;width:.8em;height:.8em;border-radius:.15em;margin:0 .3em 0 .8em}
"""
#: colours of parts and of models, distinct in both modes
PART_COLOURS = ("#7c8aa5", "#4477aa", "#66ccee", "#228833", "#aa3377", "#dd7733", "#999933", "#bbbbbb", "#ccbb44",
                "#555555", "#ee6677", "#8c6bb1")  # fmt: skip
MODEL_COLOURS = ("#3b7dd8", "#e08a1e", "#2aa876", "#c2487f", "#8a63d2", "#8f8f3c")


def plan_html(p: Plan) -> str:
    """Render a plan as a page."""
    page = _Page(p)
    machine = "this machine" if p.machine.name.startswith("this machine") else p.machine.name
    body = [f"<h1>Which model to run on {escape(machine)}</h1>", page.question(), "<h2>Verdicts</h2>"]
    body += [f"<p>{page.sentence(v.line)}</p>" for v in p.verdicts]
    if len(p.verdicts) == 1:
        items = [f"<li>{' '.join(page.sentence(s) for s in r.sentences)}</li>" for r in p.verdicts[0].ranking]
        body.append(f"<ol>{''.join(items)}</ol>")
    body += ["<h2>Models</h2>", _overview(p)]
    body += _charts(p, p.assessments)
    body += ["<h2>How to start</h2>", '<div class="cards">', *(page.card(a) for a in p.assessments if a.runs), "</div>"]
    return page.html("Plan", body)


def comparison_html(c: Comparison) -> str:
    """Render a comparison as a page."""
    page = _Page(c.plan)
    left, right = c.left.candidate.name, c.right.candidate.name
    body = [f"<h1>{escape(left)} or {escape(right)}</h1>", page.question(), '<div class="cards">']
    for name, sentences in ((left, c.choose_left), (right, c.choose_right)):
        items = "".join(f"<li>{page.sentence(s)}</li>" for s in sentences)
        items = items or "<li>nothing here favours it</li>"
        body.append(f'<div class="card"><h3>Choose {escape(name)} if this matters most</h3><ul>{items}</ul></div>')
    body.append("</div>")
    if c.instead is not None:
        body.append(f"<p><strong>{page.sentence(c.instead.sentence)}</strong></p>")
    body += ["<h2>Score charts</h2>", charts.score_chart(c)]
    body += _charts(c.plan, (c.left, c.right))
    body += [page.section(section, left, right) for section in c.sections]
    if c.claims:
        body.append("<h2>The article’s claims, checked</h2>")
        for section in dict.fromkeys(k.claim.section for k in c.claims):
            items = "".join(
                f'<li class="{k.outcome.replace(" ", "-")}">{page.sentence(k.sentence)}</li>'
                for k in c.claims
                if k.claim.section == section
            )
            body.append(f"<h3>{escape(section)}</h3><ul>{items}</ul>")
    body += ["<h2>How to start</h2>", '<div class="cards">', page.card(c.left), page.card(c.right)]
    body += [page.card(c.instead.assessment)] if c.instead else []
    body.append("</div>")
    return page.html(f"{left} or {right}", body)


class _Page:
    """Numbers the cited rows in the order of their first use."""

    def __init__(self, p: Plan) -> None:
        self.plan = p
        self.numbers: dict[str, int] = {}

    def links(self, rows: Iterable[str]) -> str:
        links = []
        for id in dict.fromkeys(rows):
            if find_row(self.plan.catalogue, id) is None:
                continue
            number = self.numbers.setdefault(id, len(self.numbers) + 1)
            links.append(f'<sup><a href="#row-{escape(id, quote=True)}">{number}</a></sup>')
        return "".join(links)

    def sentence(self, s: Sentence) -> str:
        return escape(s.text) + self.links(s.rows)

    def question(self) -> str:
        return f'<p class="dim">{escape(self.plan.machine.name)}: {self.sentence(asked(self.plan))}</p>'

    def section(self, section: Section, left: str, right: str) -> str:
        lines = "".join(
            f"<tr><td>{escape(line.label)}{self.links(line.rows)}</td><td>{escape(line.left)}</td>"
            f"<td>{escape(line.right)}</td><td>{escape(line.gap)}</td>"
            f'<td class="note">{escape(line.note)}</td></tr>'
            for line in section.lines
        )
        head = f"<tr><th></th><th>{escape(left)}</th><th>{escape(right)}</th><th></th><th></th></tr>"
        return f'<h2>{escape(section.title)}</h2><div class="scroll"><table>{head}{lines}</table></div>'

    def card(self, a: Assessment) -> str:
        """Everything that is said about one model, and the command that starts it."""
        parts = [f'<div class="card"><h3>{escape(a.candidate.name)} in {escape(a.need.sizes.type)}</h3>']
        for number, sentence in enumerate(details(self.plan, a)):
            style = ' class="differs"' if number == 0 and a.problems else ""
            parts.append(f"<p{style}>{self.sentence(sentence)}</p>")
        if a.command.lines:
            parts.append(f"<pre>{escape(chr(10).join(a.command.lines))}</pre>")
        if a.speed.formula:
            parts.append(f'<p class="dim">{a.speed.label}: {escape("; ".join(a.speed.formula))}</p>')
        return "".join(parts) + "</div>"

    def html(self, title: str, body: Sequence[str]) -> str:
        colours = "".join(f".p{i}{{fill:{c};background:{c}}}" for i, c in enumerate(PART_COLOURS))
        colours += "".join(
            f"svg .m{i}{{fill:{c}}}svg .line.m{i}{{fill:none;stroke:{c}}}" for i, c in enumerate(MODEL_COLOURS)
        )
        return (
            f'{BEGINNING}<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(title)}</title><style>{STYLE}{colours}</style></head><body><main>\n"
            + "\n".join(body)
            + self._sources()
            + f'<p class="dim">{self.sentence(assumptions(self.plan))}</p>'
            + f'<p class="dim">Written by shoestring on {date.today()}. '
            + " ".join(self.sentence(s) for s in footer(self.plan))
            + "</p></main></body></html>\n"
        )

    def _sources(self) -> str:
        lines = []
        for id, number in self.numbers.items():
            row = find_row(self.plan.catalogue, id)
            assert row is not None
            source = self.plan.catalogue.sources[row.source]
            where = escape(source.title)
            if source.url.startswith("https://"):
                where = f'<a href="{escape(source.url, quote=True)}">{where}</a>'
            old = ", old" if outdated(row, self.plan.catalogue) else ""
            lines.append(
                f'<tr id="row-{escape(id, quote=True)}"><td>{number}</td><td class="note">{escape(id)}</td>'
                f'<td class="note">{where}</td><td class="note">{row.date}{old}</td>'
                f'<td class="note">{row.kind}</td></tr>'
            )
        return f'<h2>Rows and sources</h2><div class="scroll"><table>{"".join(lines)}</table></div>'


def _overview(p: Plan) -> str:
    columns = ("type", "needs", "placed in", "decode", "context", "users", "hosted $/M", "difficulty")
    head = "".join(f"<th>{column}</th>" for column in ("", *columns))
    lines = []
    for a in p.assessments:
        cells = overview(a)
        line = "".join(f"<td>{cell}</td>" for cell in (escape(a.candidate.name), *(cells[name] for name in columns)))
        lines.append(f"<tr>{line}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _charts(p: Plan, assessments: Sequence[Assessment]) -> list[str]:
    keys = "".join(
        f'<span class="entry"><span class="key {colour}"></span>{escape(name)}</span> '
        for name, colour in charts.legend(assessments[: charts.MOST_MODELS])
    )
    drawn = [
        ("Memory by part and place", charts.memory_chart(p, assessments), f'<p class="dim">{keys}</p>'),
        ("Speed against context", charts.speed_chart(p, assessments), ""),
        ("Cost against volume", charts.cost_chart(p, assessments), ""),
    ]
    return [f"<h2>{title}</h2>{svg}{note}" for title, svg, note in drawn if svg]
