"""What a tool's schema says of its arguments, and how what a model wrote becomes a JSON value of that kind.

Models write arguments in forms that lose types (Qwen's XML has text only) or that they get wrong ("5" for 5). The
schema decides, and nothing is lost: what cannot be read as the kind that is asked for is passed on as a JSON string,
so that whoever checks the arguments sees what was written.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shoestring.errors import RequestError

Kinds = frozenset[str]
TEXT: Kinds = frozenset(("string",))
_MOST_STEPS = 1000
_MOST_LITERAL = 100_000


@dataclass(frozen=True)
class Tool:
    """A function that may be called; `parameters` is its JSON schema."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False

    def kinds(self, parameter: str) -> Kinds:
        """JSON types that a parameter may have ("integer" apart from "number"); empty: any, or it is unknown."""
        properties = resolved(self.parameters).get("properties")
        schema = properties.get(parameter) if isinstance(properties, Mapping) else None
        return kinds_of(schema, self.parameters)


def read_tools(tools: Sequence[Mapping[str, Any]]) -> dict[str, Tool]:
    """By name, from OpenAI's shape. Raises RequestError for one without a name, or a schema that is no object."""
    found: dict[str, Tool] = {}
    for number, entry in enumerate(tools):
        function = entry.get("function", entry) if isinstance(entry, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise RequestError(f"tools[{number}] has no function with a name")
        parameters = function.get("parameters")
        parameters = function.get("input_schema") if parameters is None else parameters
        if parameters is not None and not isinstance(parameters, Mapping):
            raise RequestError(f"tools[{number}] ({function['name']}): parameters is not a JSON schema: send an object")
        if function["name"] in found:
            raise RequestError(f"tools[{number}]: two tools are named {function['name']!r}: rename one")
        found[function["name"]] = Tool(function["name"], parameters or {}, function.get("strict") is True)
    return found


def kinds_of(schema: Any, root: Mapping[str, Any]) -> Kinds:
    """The JSON types that a schema allows; empty for any."""
    return _kinds(schema, root, [0])


def _kinds(schema: Any, root: Mapping[str, Any], steps: list[int]) -> Kinds:
    steps[0] += 1
    if not isinstance(schema, Mapping) or steps[0] > _MOST_STEPS:
        return frozenset()
    schema = resolved(schema, root)
    types = schema.get("type")
    if isinstance(types, str):
        return frozenset((types, *(("null",) if schema.get("nullable") is True else ())))
    if isinstance(types, Sequence):
        return frozenset(t for t in types if isinstance(t, str))
    if isinstance(schema.get("enum"), Sequence) and not isinstance(schema["enum"], str):
        return frozenset(kind_of(value) for value in schema["enum"])
    if "const" in schema:
        return frozenset((kind_of(schema["const"]),))
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), Sequence):
            each = [_kinds(one, root, steps) for one in schema[key]]
            return frozenset().union(*each) if all(each) else frozenset()
    if isinstance(schema.get("allOf"), Sequence):
        known = [kinds for one in schema["allOf"] if (kinds := _kinds(one, root, steps))]
        return frozenset.intersection(*known) if known else frozenset()
    if "properties" in schema:
        return frozenset(("object",))
    if "items" in schema:
        return frozenset(("array",))
    return TEXT if "pattern" in schema or "maxLength" in schema or "minLength" in schema else frozenset()


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The schema behind `$ref`s into the same document `root`, itself by default; one that leads nowhere is empty."""
    root = schema if root is None else root
    for _ in range(20):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        target: Any = root
        for part in reference.removeprefix("#").strip("/").split("/") if reference.startswith("#") else ("?",):
            part = part.replace("~1", "/").replace("~0", "~")
            if part:
                target = target.get(part) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            return {}
        schema = target
    return {}


def kind_of(value: Any) -> str:
    """The JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
    return "array"


# ---- from what a model wrote to JSON text


def json_text(text: str) -> str:
    """A text as the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def json_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def from_text(text: str, kinds: Kinds) -> str:
    """JSON of a parameter that was written as bare text (Qwen's XML), where strings have no quotes.

    It is read as a value if it is one, of a kind that is allowed; else it is a string. Where a string is allowed
    too, only JSON counts as a value: `None` may be a word.
    """
    found = _value(text, python=bool(kinds) and "string" not in kinds)
    if found is not None and not isinstance(found[0], str):
        fitting = _fit(*found, kinds - TEXT)
        if fitting is not None:
            return fitting
    return json_string(text)


def from_literal(text: str, kinds: Kinds) -> str:
    """JSON of a value that was written as JSON or as a Python literal, strings in quotes."""
    found = _value(text)
    if found is None:
        return json_string(text.strip())
    value, written = found
    if kinds and isinstance(value, str) and "string" not in kinds:
        return from_text(value, kinds)
    fitting = _fit(value, written, kinds)
    if fitting is not None:
        return fitting
    # A number where a text is wanted keeps the digits it was written with.
    return json_string(text.strip()) if "string" in kinds and value is not None else written


def _fit(value: Any, written: str, kinds: Kinds) -> str | None:
    """`written` if its value is of one of the kinds, or can be said as one; None: it cannot."""
    kind = kind_of(value)
    if not kinds or kind in kinds or (kind == "integer" and "number" in kinds):
        return written
    if kind == "number" and "integer" in kinds and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return None


def _value(text: str, python: bool = True) -> tuple[Any, str] | None:
    """A value and its JSON text, from JSON or, if `python`, a Python literal; None for neither."""
    text = text.strip()
    try:
        value = json.loads(text, parse_constant=_refuse)
        # What is JSON stays as it is written: no number loses a digit. Lone surrogates have no UTF-8.
        return value, text if not _HALF.search(text) else json.dumps(_whole(value), ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    if not python or len(text) > _MOST_LITERAL:
        return None
    try:
        value = ast.literal_eval(_WORDS.sub(_word, text))
        return value, json.dumps(_whole(value), ensure_ascii=False, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
#: strings, which are passed over, and JSON's words for Python's
_WORDS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\b(?:true|false|null)\b", re.DOTALL)


def _word(match: re.Match[str]) -> str:
    return {"true": "True", "false": "False", "null": "None"}.get(match.group(), match.group())


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _whole(value: Any) -> Any:
    """A value of JSON's types only, its texts without lone surrogates."""
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise ValueError("a key is not a string")
            return {_whole(key): _whole(item) for key, item in value.items()}
        case list() | tuple():
            return [_whole(item) for item in value]
        case None | bool() | int() | float():
            return value
    raise ValueError(f"{type(value).__name__} is not a JSON type")
