"""Read the types in a tool's schema, and convert what a model wrote to JSON of those types.

Models write arguments in formats without types (Qwen's XML has only text) or with wrong types ("5" for 5). The schema
decides, and nothing is lost: text that cannot be parsed as the required type becomes a JSON string, so the program that
validates the arguments sees what the model wrote.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shoestring import bounded_json
from shoestring.errors import RequestError
from shoestring.output.schemas.keywords import tidied
from shoestring.printable import quoted

Kinds = frozenset[str]
TEXT: Kinds = frozenset(("string",))
_MOST_STEPS = 1000
_MOST_LITERAL = 100_000


@dataclass(frozen=True)
class Tool:
    """A function that the model may call; `parameters` is its JSON schema."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False

    @property
    def properties(self) -> Mapping[str, Any]:
        """The parameters' schemas by name."""
        properties = resolved(self.parameters).get("properties")
        return properties if isinstance(properties, Mapping) else {}

    def kinds(self, parameter: str) -> Kinds:
        """JSON types that a parameter may have ("integer" and "number" differ); empty: any type, or unknown."""
        return _kinds(self.properties.get(parameter), self.parameters, [0])


def read_tools(tools: Sequence[Mapping[str, Any]]) -> dict[str, Tool]:
    """Tools by name, from OpenAI's shape. Raises RequestError for a missing name or a schema that is not an object."""
    by_name: dict[str, Tool] = {}
    for number, entry in enumerate(tools):
        function = entry.get("function", entry) if isinstance(entry, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise RequestError(f"tools[{number}] has no function with a name")
        parameters = function.get("parameters")
        parameters = function.get("input_schema") if parameters is None else parameters
        if parameters not in (None, []) and not isinstance(parameters, Mapping):
            raise RequestError(f"tools[{number}] ({function['name']}): parameters is not a JSON schema: send an object")
        if function["name"] in by_name:
            raise RequestError(f"tools[{number}]: two tools are named {quoted(function['name'])}: rename one")
        try:
            parameters = tidied(parameters)
        except RecursionError:
            raise RequestError(f"tools[{number}] ({function['name']}): parameters nest too deep") from None
        by_name[function["name"]] = Tool(function["name"], parameters, function.get("strict") is True)
    return by_name


def _kinds(schema: Any, root: Mapping[str, Any], steps: list[int]) -> Kinds:
    """The JSON types that a schema allows; empty: any. steps: number of calls so far, for hostile schemas."""
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
    """Follow `$ref`s into the document `root` (default: the schema itself); a dangling reference gives {}."""
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


# ---- from model output to JSON text


def json_text(text: str) -> str:
    """Escape text for the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def json_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def from_text(text: str, kinds: Kinds) -> str:
    """JSON of a parameter written as bare text (Qwen's XML), where strings have no quotes.

    The text becomes a value if it parses as one of an allowed type, else a string. If strings are allowed too, only
    JSON counts as a value: `None` may be a word.
    """
    parsed = _value(text, python=bool(kinds) and "string" not in kinds)
    if parsed is not None and not isinstance(parsed[0], str):
        fitting = _fit(*parsed, kinds - TEXT)
        if fitting is not None:
            return fitting
    return json_string(text)


def from_literal(text: str, kinds: Kinds) -> str:
    """JSON of a value written as JSON or as a Python literal, with strings in quotes."""
    parsed = _value(text)
    if parsed is None:
        return json_string(text.strip())
    value, json_value = parsed
    if kinds and isinstance(value, str) and "string" not in kinds:
        return from_text(value, kinds)
    fitting = _fit(value, json_value, kinds)
    if fitting is not None:
        return fitting
    # A number where the schema wants a string keeps its digits.
    return json_string(text.strip()) if "string" in kinds and value is not None else json_value


def _fit(value: Any, json_value: str, kinds: Kinds) -> str | None:
    """`json_value` if its value has one of the types, or can be converted to one; else None."""
    kind = kind_of(value)
    if not kinds or kind in kinds or (kind == "integer" and "number" in kinds):
        return json_value
    if kind == "number" and "integer" in kinds and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return None


def _value(text: str, python: bool = True) -> tuple[Any, str] | None:
    """Parse JSON or, if `python`, a Python literal into (value, JSON text); None if it is neither."""
    text = text.strip()
    try:
        value = bounded_json.loads(text)
        # JSON stays unchanged, so no number loses a digit. Lone surrogates cannot be encoded as UTF-8.
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
#: strings, which are skipped, and the JSON words that Python spells differently
_WORDS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\b(?:true|false|null)\b", re.DOTALL)


def _word(match: re.Match[str]) -> str:
    return {"true": "True", "false": "False", "null": "None"}.get(match.group(), match.group())


def _whole(value: Any) -> Any:
    """Check that a value has only JSON types, and replace lone surrogates in its strings."""
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
