"""The frame of a page, with numbered references to the rows behind its sentences and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from html import escape

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.advice.details import details
from shoestring.planning.advice.sentences import Sentence
from shoestring.planning.assess import Assessment
from shoestring.planning.plan import Plan, find_row
from shoestring.planning.report import tables
from shoestring.planning.report.style import style
from shoestring.planning.report.table import Table, csv_link, table_html

#: How every report begins. `--html` replaces no other page.
BEGINNING = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="shoestring">'
#: chapters that fit into half of a page's width
HALF = ("Speed against context", "Cost against volume", "Memory by place", "Licence", "Engines")


class Page:
    """Numbers the cited rows in the order of their first use."""

    def __init__(self, catalogue: Catalogue, ending: Sequence[Sentence]) -> None:
        """ending: what holds for the whole page, said at its end."""
        self.catalogue = catalogue
        self.ending = tuple(ending)
        self.numbers: dict[str, int] = {}

    def links(self, rows: Iterable[str]) -> str:
        """References to rows; a run of three or more is one reference to its first."""
        known = [id for id in dict.fromkeys(rows) if find_row(self.catalogue, id) is not None]
        numbered = sorted((self.numbers.setdefault(id, len(self.numbers) + 1), id) for id in known)
        links, at = [], 0
        while at < len(numbered):
            end = at
            while end + 1 < len(numbered) and numbered[end + 1][0] == numbered[end][0] + 1:
                end += 1
            end = end if end - at > 1 else at
            shown = f"{numbered[at][0]}–{numbered[end][0]}" if end > at else f"{numbered[at][0]}"
            links.append(f'<sup><a href="#row-{escape(numbered[at][1], quote=True)}">{shown}</a></sup>')
            at = end + 1
        return "".join(links)

    def sentence(self, s: Sentence) -> str:
        return escape(s.text) + self.links(s.rows)

    def items(self, sentences: Iterable[Sentence]) -> str:
        return "".join(f"<li>{self.sentence(s)}</li>" for s in sentences)

    def table(self, table: Table) -> str:
        return table_html(table, self.links)

    def paragraphs(self, sentences: Iterable[Sentence]) -> str:
        return "".join(f"<p>{self.sentence(s)}</p>" for s in sentences)

    def first_screen(
        self, title: str, about: str, advice: str, more: tuple[str, Sequence[Sentence]], assumed: Sentence
    ) -> str:
        """The recommendation, what else counts, and what it assumes.

        about: what it is for, as HTML. advice: as HTML. more: a heading and its sentences, the heading left out if
        there are none.
        """
        heading, rest = more
        listed = f"<h2>{escape(heading)}</h2><ul>{self.items(rest)}</ul>" if rest else ""
        return (
            f'<div class="first"><h1>{escape(title)}</h1><p class="dim">{about}</p>'
            f'<div class="advice">{advice}</div>{listed}'
            f'<h2>Assumptions</h2><p class="dim">{self.sentence(assumed)}</p></div>'
        )

    def card(self, p: Plan, a: Assessment, where: str = "") -> str:
        """Everything that is said about one model of a plan, and the command that starts it."""
        name = f"{a.candidate.name} in {a.need.sizes.type}{where}"
        parts = [f'<div class="card"><h3>{escape(name)}</h3>']
        for number, sentence in enumerate(details(p, a)):
            style = ' class="differs"' if number == 0 and a.problems else ""
            parts.append(f"<p{style}>{self.sentence(sentence)}</p>")
        if a.command.lines:
            parts.append(f"<pre>{escape(chr(10).join(a.command.lines))}</pre>")
        if a.speed.formula:
            parts.append(f'<p class="dim">{a.speed.label}: {escape("; ".join(a.speed.formula))}</p>')
        return "".join(parts) + "</div>"

    def html(self, title: str, first: str, chapters: Sequence[tuple[str, str]]) -> str:
        """The whole page. chapters: titles and contents."""
        sources = ("Rows and sources", self._sources())
        named = [(f"part-{i}", *chapter) for i, chapter in enumerate((*chapters, sources), 1)]
        contents = "".join(f'<a href="#{id}">{escape(title)}</a>' for id, title, _ in named)
        body = "".join(
            f'<section id="{id}"{self._width(title)}><h2>{escape(title)}</h2>{text}</section>\n'
            for id, title, text in named
        )
        return (
            f'{BEGINNING}<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(title)}</title><style>{style()}</style></head><body><main>\n"
            f"{first}<nav>{contents}</nav>\n{body}"
            f'<p class="dim">Written by shoestring on {date.today()}. '
            + " ".join(self.sentence(s) for s in self.ending)
            + "</p></main></body></html>\n"
        )

    def _width(self, title: str) -> str:
        """On paper, charts stand side by side."""
        return ' class="half"' if title in HALF else ""

    def _sources(self) -> str:
        """The cited rows by source: a line for rows of one source, date and kind."""
        table = tables.sources(self.catalogue, self.numbers.items())
        groups: dict[tuple[str, ...], list[str]] = {}
        for (id, number), cells in zip(self.numbers.items(), table.rows, strict=True):
            title, url, dated, kind = (escape(cell.text, quote=True) for cell in cells[2:])
            where = f'<a href="{url}">{title}</a>' if url.startswith("https://") else title
            entry = f'<span id="row-{escape(id, quote=True)}"><b>{number}</b> {escape(id)}</span>'
            groups.setdefault((where, dated, kind), []).append(entry)
        lines = (f"<li>{', '.join(group)}: {', '.join(entries)}</li>" for group, entries in groups.items())
        return f'<ul class="sources">{"".join(lines)}</ul>{csv_link(table)}'
