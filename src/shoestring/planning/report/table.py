"""Tables of a report: shown in a page, and downloaded from it as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote


@dataclass(frozen=True)
class Cell:
    """text: as shown. value: for CSV, in base units (bytes, tokens/s, dollars); None: the text."""

    text: str
    value: float | int | None = None
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """name: of the CSV file. Columns of `notes` are dim and aligned to the left."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[int, ...] = ()
    #: numbers of the lines that are dim
    dim: tuple[int, ...] = ()


def csv_text(table: Table) -> str:
    """The table in CSV (RFC 4180); cells that a spreadsheet would compute are quoted as text."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(table.head)
    for row in table.rows:
        writer.writerow([_plain(cell) for cell in row])
    return out.getvalue()


def _plain(cell: Cell) -> str | float | int:
    if cell.value is not None:
        return cell.value
    text = "" if cell.text == "–" else cell.text
    return f"'{text}" if text.startswith(("=", "@", "\t")) else text


def csv_link(table: Table) -> str:
    """A link in the page that contains the whole file."""
    data = quote(csv_text(table), safe="")
    name = escape(table.name, quote=True)
    return f'<p class="csv"><a download="{name}.csv" href="data:text/csv;charset=utf-8,{data}">CSV: {name}</a></p>'


def table_html(table: Table, links: Callable[[Iterable[str]], str]) -> str:
    """The table with its CSV link. links: the references to rows, as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    body = "".join(_line(table, number, row, links) for number, row in enumerate(table.rows))
    shown = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return shown + csv_link(table)


def _line(table: Table, number: int, row: Sequence[Cell], links: Callable[[Iterable[str]], str]) -> str:
    note, numeric, dim = ' class="note"', ' class="num"', ' class="dim"'
    cells = "".join(
        f"<td{note if i in table.notes else numeric if cell.value is not None else ''}>"
        f"{escape(cell.text)}{links(cell.rows)}</td>"
        for i, cell in enumerate(row)
    )
    return f"<tr{dim if number in table.dim else ''}>{cells}</tr>"
