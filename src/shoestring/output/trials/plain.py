"""Which forms are known to compile fast, so that most requests need no child process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shoestring.output.request import Constraint

#: Objects of all schemas of a form together, and fields of one.
_MOST_NODES, _MOST_FIELDS = 1000, 200
_MOST_REFERENCES = 50
#: Lengths, numbers of items, bounds of numbers.
_MOST_NUMBER = 1000
_MOST_ENUMERATED = 1000
#: Keywords without influence on the grammar, or whose values are schemas, lists of schemas, or names of schemas.
_ANNOTATIONS = frozenset(("title", "description", "default", "examples", "$schema", "$id", "nullable", "deprecated"))
_SCHEMAS = frozenset(("items", "additionalProperties"))
_LISTS = frozenset(("anyOf",))
_NAMED = frozenset(("properties", "$defs", "definitions"))
_NUMBERS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum"))


def plain(constraint: Constraint | None, schemas: Iterable[Any]) -> bool:
    """Whether the grammar of a constraint and of tools with these parameters compiles fast.

    True for schemas of a moderate size out of simple keywords. Patterns, grammars, multiples and intersections are not
    plain: their cost cannot be told from their size.
    """
    schemas = list(schemas)
    match constraint:
        case None | Constraint(kind="json_object" | "choice"):
            pass
        case Constraint(kind="json_schema", value=value):
            schemas.append(value)
        case _:
            return False
    return _simple(schemas)


def _simple(schemas: list[Any]) -> bool:
    nodes = references = 0
    while schemas:
        schema = schemas.pop()
        nodes += 1
        if nodes > _MOST_NODES:
            return False
        if isinstance(schema, bool):
            continue
        if not isinstance(schema, Mapping):
            return False
        for key, value in schema.items():
            if key == "$ref":
                references += 1
                if references > _MOST_REFERENCES:
                    return False
            elif key in _SCHEMAS:
                schemas.append(value)
            elif key in _LISTS and isinstance(value, list) and len(value) <= _MOST_FIELDS:
                schemas += value
            elif key in _NAMED and isinstance(value, Mapping) and len(value) <= _MOST_FIELDS:
                schemas += value.values()
            elif not (key in _ANNOTATIONS or _small(key, value)):
                return False
    return True


def _small(key: str, value: Any) -> bool:
    if key in _NUMBERS:
        return isinstance(value, int) and abs(value) <= _MOST_NUMBER
    if key in ("enum", "required"):
        return isinstance(value, list) and len(value) <= _MOST_ENUMERATED
    return key in ("type", "const")
