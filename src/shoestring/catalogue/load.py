"""Read the data files into a Catalogue; errors name the file, line and field that do not fit the schema.

A user's folder of TOML files adds rows and replaces those with the same id.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from shoestring.catalogue import schema
from shoestring.catalogue.schema import KINDS, Catalogue
from shoestring.errors import RequestError
from shoestring.files import read_input_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

FOLDER = Path(__file__).parent
T = TypeVar("T")

#: table in a file → (field of Catalogue, class of its rows); a file may contain several tables
TABLES: dict[str, tuple[str, type]] = {
    get_args(hint)[1].__name__.casefold(): (name, get_args(hint)[1]) for name, hint in get_type_hints(Catalogue).items()
}
FILES = (
    "sources", "models", "uploads", "scores", "prices", "hosts", "rents", "devices", "cards", "unified", "processors",
    "machines", "readings", "collections", "engines", "licences", "uses", "claims", "tokens",
)  # fmt: skip

Tables = dict[str, dict[str, Any]]
"""Rows by field of Catalogue and id."""


class _Unfit(Exception):
    """A row does not fit the schema: (field, what is wrong with it)."""


@cache
def builtin_catalogue() -> Catalogue:
    """The catalogue of the package."""
    return _read({}, [FOLDER / f"{name}.toml" for name in FILES], str(FOLDER))


def load_catalogue(folder: Path | None = None, prices: Path | None = None) -> Catalogue:
    """The package's catalogue, with rows added or replaced by a user's folder and a price file.

    Raises RequestError for a file that is unreadable or does not fit the schema.
    """
    builtin = builtin_catalogue()
    extra = sorted(folder.glob("*.toml")) if folder else []
    if folder is not None and not extra:
        raise RequestError(f"{folder} has no .toml files")
    if prices is not None:
        extra.append(prices)
    if not extra:
        return builtin
    tables = {field.name: getattr(builtin, field.name) for field in dataclasses.fields(builtin)}
    return _read(tables, extra, ", ".join(map(str, extra)))


def _read(tables: Mapping[str, Mapping[str, Any]], files: Iterable[Path], where: str) -> Catalogue:
    """`tables` with the rows of the files. Raises RequestError if a row refers to one that does not exist."""
    merged: Tables = {name: dict(rows) for name, rows in tables.items()}
    for file in files:
        for name, rows in read_rows(file).items():
            merged.setdefault(name, {}).update(rows)
    for name, rows in merged.items():
        for row in rows.values():
            for field, table, id in _references(row):
                if id not in merged.get(TABLES[table][0], {}):
                    raise RequestError(f"{where}: {name} row {row.id!r}: {field} {id!r} has no [[{table}]] row")
    return Catalogue(**merged)


def _references(row: Any) -> Iterator[tuple[str, str, str]]:
    """(field, table, id): a field named after a table, in the singular or plural, contains ids of its rows."""
    for table, (plural, _) in TABLES.items():
        if hasattr(row, table) and (getattr(row, table) or table == "source"):
            yield table, table, getattr(row, table)
        for id in getattr(row, plural, ()):
            yield plural, table, id


#: Bytes of a TOML file
LARGEST_TOML = 4 << 20


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """The values and the text of a TOML file. Raises RequestError with the line of a syntax error."""
    text = read_input_text(path, LARGEST_TOML)
    try:
        return tomllib.loads(text), text
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RequestError(f"{path} is not valid TOML: {error}") from error


def read_rows(path: Path) -> Tables:
    """The rows of one file. Raises RequestError that names the line and field which do not fit the schema."""
    values, text = read_toml(path)
    tables: Tables = {}
    for table, rows in values.items():
        if table not in TABLES or not isinstance(rows, list):
            known = ", ".join(f"[[{name}]]" for name in TABLES)
            where = f"{path}: line {_line(text, table)}"
            raise RequestError(f"{where}: {table} is not a table of the catalogue: use {known}")
        name, row_class = TABLES[table]
        by_id = tables.setdefault(name, {})
        for number, values_of_row in enumerate(rows):
            try:
                row = _row(row_class, values_of_row)
                if row.id in by_id:
                    raise _Unfit("id", f"{row.id!r} appears twice")
            except _Unfit as error:
                field, problem = error.args
                where = f"{path}: line {_line(text, table, number, field)}"
                raise RequestError(f"{where}: {table}.{field} {problem}") from None
            by_id[row.id] = row
    return tables


def read_table(path: Path, name: str, row_class: type[T]) -> T:
    """The row of a file that has one table [name]; its numbers must be above 0.

    Raises RequestError that names the line and field which do not fit.
    """
    values, text = read_toml(path)
    if not isinstance(values.get(name), dict) or len(values) != 1:
        fields = ", ".join(field.name for field in dataclasses.fields(row_class))  # type: ignore[arg-type]
        raise RequestError(f"{path}: line 1: write one table [{name}] with {fields}")
    try:
        row: T = _row(row_class, values[name], positive=True)
    except _Unfit as error:
        field, problem = error.args
        raise RequestError(f"{path}: line {_line(text, name, 0, field)}: {name}.{field} {problem}") from None
    return row


def misfit(path: Path, table: str, field: str, problem: str) -> RequestError:
    """The error for a field of a file's table that its reader refuses."""
    _, text = read_toml(path)
    return RequestError(f"{path}: line {_line(text, table, 0, field)}: {table}.{field} {problem}")


_types = cache(get_type_hints)


def _row(row_class: type, values: Any, positive: bool = False) -> Any:
    """A row from its table in a file. Raises _Unfit."""
    if not isinstance(values, dict):
        raise _Unfit("", "is not a table")
    fields, types = {field.name: field for field in dataclasses.fields(row_class)}, _types(row_class)
    for name in values:
        if name not in fields:
            raise _Unfit(name, f"is unknown: the fields are {', '.join(fields)}")
    for name, field in fields.items():
        if name not in values and field.default is dataclasses.MISSING:
            raise _Unfit(name, "is missing")
    least = -1e30 if row_class is schema.Fact else 0.0
    return row_class(**{name: _value(name, value, types[name], least, positive) for name, value in values.items()})


def _value(name: str, value: Any, declared: Any, least: float, positive: bool) -> Any:
    """The value as the schema's type. Raises _Unfit for another type, or a number below `least` or not `positive`."""
    if isinstance(value, datetime.date):
        value = value.isoformat()
    shown = f"is {value!r}: write"
    if declared is float and type(value) is int:
        value = float(value)
    elif isinstance(value, list) and all(type(item) is str for item in value):
        value = tuple(value)
    if type(value) is not (get_origin(declared) or declared):
        raise _Unfit(name, f"{shown} a value of type {getattr(declared, '__name__', declared)}")
    if type(value) in (int, float) and not least <= value < 1e30:
        raise _Unfit(name, f"{shown} a number from {least:g} to 1e+30")
    if positive and type(value) in (int, float) and value == 0:
        raise _Unfit(name, f"is {value:g}: write a number above 0")
    if name == "kind" and value not in KINDS:
        raise _Unfit(name, f"{shown} one of {', '.join(KINDS)}")
    if name == "date" and not _is_date(value):
        raise _Unfit(name, f"{shown} a date as YYYY-MM-DD")
    if name == "released" and not _is_date(value) and not _is_date(f"{value}-01"):
        raise _Unfit(name, f"{shown} YYYY-MM-DD or YYYY-MM")
    return value


def _is_date(value: str) -> bool:
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        return False
    return len(value) == 10


def _line(text: str, table: str, number: int = 0, field: str = "") -> int:
    """The line of a row's field, or of the row if it has no such field; 1-based."""
    name = re.escape(table)
    heads = list(re.finditer(rf"^\s*\[\[?\s*{name}\s*\]", text, re.MULTILINE))
    heads = heads or list(re.finditer(rf"^\s*{name}\b", text, re.MULTILINE))
    start = heads[min(number, len(heads) - 1)].end() if heads else 0
    row = re.split(r"^\s*\[", text[start:], maxsplit=1, flags=re.MULTILINE)[0]
    place = re.search(rf"^\s*{re.escape(field)}\s*=", row, re.MULTILINE) if field else None
    return text.count("\n", 0, start + (place.end() if place else 0)) + 1
