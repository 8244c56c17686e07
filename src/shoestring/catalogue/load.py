"""Read the data files into a Catalogue; errors name the file, line and field that do not fit the schema.

A user's folder of TOML files adds rows and replaces those with the same id.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from shoestring.catalogue import schema
from shoestring.catalogue.schema import KINDS, Catalogue
from shoestring.errors import RequestError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

FOLDER = Path(__file__).parent

#: table in a file → (field of Catalogue, class); a file may contain several tables
TABLES: dict[str, tuple[str, type[Any]]] = {
    "source": ("sources", schema.Source),
    "model": ("models", schema.Model),
    "benchmark": ("benchmarks", schema.Benchmark),
    "score": ("scores", schema.Score),
    "price": ("prices", schema.Price),
    "device": ("devices", schema.Device),
    "disk": ("disks", schema.Disk),
    "rental": ("rentals", schema.Rental),
    "purchase": ("purchases", schema.Purchase),
    "engine": ("engines", schema.Engine),
    "licence": ("licences", schema.Licence),
    "use": ("uses", schema.Use),
    "claim": ("claims", schema.Claim),
    "speed": ("speeds", schema.Speed),
    "fact": ("facts", schema.Fact),
}
FILES = (
    "sources", "models", "scores", "prices", "devices", "engines", "licences", "uses", "claims", "speeds",
)  # fmt: skip

#: (table, field) → the table of Catalogue whose rows the field refers to
REFERENCES = {
    ("scores", "model"): "models",
    ("scores", "benchmark"): "benchmarks",
    ("prices", "model"): "models",
    ("rentals", "device"): "devices",
    ("purchases", "device"): "devices",
    ("models", "licence"): "licences",
    ("uses", "benchmarks"): "benchmarks",
    ("speeds", "model"): "models",
    ("facts", "model"): "models",
}
Tables = dict[str, dict[str, Any]]
T = TypeVar("T")


@cache
def builtin_catalogue() -> Catalogue:
    """The catalogue of the package."""
    tables: Tables = {}
    for name in FILES:
        _merge(tables, read_rows(FOLDER / f"{name}.toml"))
    return _checked(tables, str(FOLDER))


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
    tables: Tables = {f.name: dict(getattr(builtin, f.name)) for f in dataclasses.fields(Catalogue)}
    for path in extra:
        _merge(tables, read_rows(path))
    return _checked(tables, ", ".join(str(p) for p in extra))


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """The values and the text of a TOML file. Raises RequestError with the line of a syntax error."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RequestError(f"cannot read {path}: {reason}") from error
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{path} is not valid TOML: {error}") from error


def read_rows(path: Path) -> Tables:
    """The rows of one file, by table and id."""
    values, text = read_toml(path)
    tables: Tables = {}
    for table, rows in values.items():
        if table not in TABLES or not isinstance(rows, list):
            known = ", ".join(f"[[{name}]]" for name in TABLES)
            raise RequestError(
                f"{path}: line {_line(text, table, 0, '')}: {table} is not a table of the catalogue: use {known}"
            )
        name, row_class = TABLES[table]
        hints = get_type_hints(row_class)
        into = tables.setdefault(name, {})
        for number, values_of_row in enumerate(rows):
            row = _row(path, text, table, number, values_of_row, row_class, hints)
            if row.id in into:
                raise _error(path, text, table, number, "id", f"{row.id!r} appears twice")
            into[row.id] = row
    return tables


def _row(path: Path, text: str, table: str, number: int, values: Any, row_class: type[T], hints: dict[str, Any]) -> T:
    if not isinstance(values, dict):
        raise _error(path, text, table, number, "", "is not a table")
    fields = {f.name: f for f in dataclasses.fields(row_class)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise _error(path, text, table, number, key, f"is unknown: the fields are {', '.join(fields)}")
    fields_of_row = {}
    for key, f in fields.items():
        if key not in values:
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
                raise _error(path, text, table, number, key, "is missing")
            continue
        fields_of_row[key] = _value(path, text, table, number, key, values[key], hints[key])
    return row_class(**fields_of_row)


def _value(path: Path, text: str, table: str, number: int, key: str, value: Any, hint: Any) -> Any:
    """Check a value's type and range against the schema."""
    if hint is float and type(value) in (int, float):
        value = float(value)
        least = -1e30 if table == "fact" else 0.0
        if not least <= value < 1e30:
            raise _error(path, text, table, number, key, f"is {value}: write a number of at least 0")
        return value
    if hint is int and type(value) is int:
        if value < 0:
            raise _error(path, text, table, number, key, f"is {value}: write a number of at least 0")
        return value
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, datetime.date):
        value = value.isoformat()
    if hint is str and isinstance(value, str):
        if key == "kind" and value not in KINDS:
            raise _error(path, text, table, number, key, f"is {value!r}: write one of {', '.join(KINDS)}")
        if key == "date" and not _is_date(value):
            raise _error(path, text, table, number, key, f"is {value!r}: write a date as YYYY-MM-DD")
        if key == "released" and not _is_date(value if len(value) != 7 else f"{value}-01"):
            raise _error(path, text, table, number, key, f"is {value!r}: write YYYY-MM-DD or YYYY-MM")
        return value
    if isinstance(value, list) and getattr(hint, "__origin__", None) is tuple:
        element_type = hint.__args__[0]
        if all(type(v) is element_type for v in value):
            return tuple(value)
    name = getattr(hint, "__name__", str(hint))
    raise _error(path, text, table, number, key, f"is {value!r}: write a value of type {name}")


def _is_date(value: str) -> bool:
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        return False
    return len(value) == 10


def _line(text: str, table: str, number: int, key: str) -> int:
    """The line of a row's key, or of the row if the key is missing; 1-based."""
    lines = text.splitlines()
    heads = [i for i, line in enumerate(lines) if re.match(rf"\s*\[\[?\s*{re.escape(table)}\s*\]", line)]
    if not heads:
        return next((i + 1 for i, line in enumerate(lines) if line.lstrip().startswith(table)), 1)
    start = heads[min(number, len(heads) - 1)]
    for i in range(start + 1, len(lines)):
        if lines[i].lstrip().startswith("["):
            break
        if key and re.match(rf"\s*{re.escape(key)}\s*=", lines[i]):
            return i + 1
    return start + 1


def _error(path: Path, text: str, table: str, number: int, key: str, what: str) -> RequestError:
    return RequestError(f"{path}: line {_line(text, table, number, key)}: {table}.{key} {what}")


def _merge(tables: Tables, more: Tables) -> None:
    for name, rows in more.items():
        tables.setdefault(name, {}).update(rows)


def _checked(tables: Tables, where: str) -> Catalogue:
    """Check that every row's source and references exist."""
    for name, rows in tables.items():
        for row in rows.values():
            if name != "sources" and row.source not in tables["sources"]:
                raise RequestError(f"{where}: {name} row {row.id!r}: source {row.source!r} has no [[source]] row")
            for (table, key), target in REFERENCES.items():
                if table != name:
                    continue
                named = getattr(row, key)
                for one in named if isinstance(named, tuple) else (named,):
                    if one and one not in tables.get(target, {}):
                        raise RequestError(f"{where}: {name} row {row.id!r}: {key} {one!r} has no row in {target}")
    return Catalogue(**tables)


def age_days(date: str, today: datetime.date | None = None) -> int:
    """Days since a row's date."""
    return ((today or datetime.date.today()) - datetime.date.fromisoformat(date)).days


def is_stale(date: str, today: datetime.date | None = None) -> bool:
    """Whether a row's date is older than STALE_DAYS."""
    return age_days(date, today) > schema.STALE_DAYS
