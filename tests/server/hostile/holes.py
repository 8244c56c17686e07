"""Every place of a request body where a value may stand, from the body's JSON schema.

A hole is a body with the text HOLE in one place. What surrounds it is valid, so that the value in the hole reaches the
code behind the type checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hostile.endpoints import Endpoint, description, refused

HOLE = "@HOLE@"
_HOLE_TEXT = json.dumps(HOLE).encode()
#: A type inside itself (a list of results in a result) is entered once.
_DEEPEST = 9

Schema = Mapping[str, Any]


def holes(endpoint: Endpoint, valid: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """(place, body with HOLE), each place once. `valid`: a valid body, which the place's field replaces a part of."""
    found: dict[str, bytes] = {}
    unknown = [(f".{name}", {name: HOLE}) for name in ("unknown", "\x1b[31m", *refused())]
    for place, value in (*_inside(endpoint.schema, ()), *unknown):
        body = {**valid, **value} if isinstance(value, dict) else value
        found.setdefault(place, json.dumps(body).encode())
    return list(found.items())


def filled(body: bytes, text: bytes) -> bytes:
    """The body with JSON (or what should be JSON) in its hole."""
    return body.replace(_HOLE_TEXT, text, 1)


def _inside(schema: Schema, seen: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    yield "", HOLE
    reference = schema.get("$ref", "")
    if reference:
        if reference in seen or len(seen) > _DEEPEST:
            return
        schema, seen = _resolved(schema), (*seen, reference)
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _deeper("", _inside(branch, seen))
    required = {name: example(schema["properties"][name]) for name in schema.get("required", ())}
    for name, inner in schema.get("properties", {}).items():
        for place, value in _inside(inner, seen):
            yield f".{name}{place}", {**required, name: value}
    if "items" in schema:
        for place, value in _inside(schema["items"], seen):
            yield f"[]{place}", [value]
    more = schema.get("additionalProperties")
    if more not in (None, False):
        yield ".*", {**required, "key": HOLE}
        yield ".**", {**required, HOLE: {}}


def _deeper(prefix: str, found: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((prefix + place, value) for place, value in found if place)


def _resolved(schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Any = description()
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found  # type: ignore[no-any-return]


def example(schema: Schema) -> Any:
    """A small valid value."""
    schema = _resolved(schema)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if branch.get("type") != "null":
            return example(branch)
    match schema.get("type"):
        case "object":
            return {name: example(schema["properties"][name]) for name in schema.get("required", ())}
        case "array":
            return [example(schema["items"])] if "items" in schema else []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return "x"
