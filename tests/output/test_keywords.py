"""Keywords of JSON schemas: those that restrict nothing go, the others stay or are named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.output.schemas.keywords import not_enforced, tidied

STRING = {"type": "string"}

NOTHING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "string", "format": "uuid4"}, STRING),
    ({"type": "array", "uniqueItems": False}, {"type": "array"}),
    ({"type": "object", "properties": []}, {"type": "object", "properties": {}}),
    ({"type": "object", "required": None, "properties": None}, {"type": "object"}),
    ({"type": "object", "propertyNames": {"type": "string", "title": "x"}}, {"type": "object"}),
    ({"type": "object", "propertyNames": True}, {"type": "object"}),
    ({"type": "any"}, {}),
    ({"unevaluatedProperties": True}, {}),
    ({"unevaluatedProperties": False}, {"additionalProperties": False}),
    ({"then": STRING}, {}),
    ({"dependentRequired": {}}, {}),
    ({"items": None}, {}),
    ({"items": []}, {"items": {}}),
]
KEPT: list[dict[str, Any]] = [
    {"type": "string", "format": "date"},
    {"type": "array", "uniqueItems": True},
    {"type": "object", "propertyNames": {"pattern": "^a"}},
    {"type": "object", "propertyNames": {"type": "integer"}},
    {"properties": {"format": {"type": "string"}, "uniqueItems": {}, "not": {}}},
    {"const": None, "default": None, "enum": [None, []]},
    {"unevaluatedProperties": False, "anyOf": [STRING]},
    {"minItems": 2, "additionalProperties": False, "type": ["string", "null"]},
    {"not": {}},
]


@pytest.mark.parametrize(("schema", "rest"), NOTHING, ids=str)
def test_what_restricts_nothing_goes_wherever_it_stands(schema: dict[str, Any], rest: dict[str, Any]) -> None:
    assert tidied(schema) == rest
    for outer in (
        lambda inner: {"properties": {"a": inner}},
        lambda inner: {"anyOf": [inner, STRING]},
        lambda inner: {"items": inner},
        lambda inner: {"$defs": {"a": inner}, "$ref": "#/$defs/a"},
        lambda inner: {"prefixItems": [inner]},
        lambda inner: {"additionalProperties": inner},
    ):
        assert tidied(outer(schema)) == outer(rest)
        assert not_enforced(tidied(outer(schema))) is None


@pytest.mark.parametrize("schema", KEPT, ids=str)
def test_everything_else_stays(schema: dict[str, Any]) -> None:
    assert tidied(schema) == schema


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"properties": {"a": {"uniqueItems": True}}}, "a: the keyword uniqueItems"),
        ({"properties": {"a": {"items": {"not": STRING}}}}, "a.items: the keyword not"),
        ({"anyOf": [STRING, {"contains": STRING}]}, "anyOf.1: the keyword contains"),
        ({"$defs": {"b": {"type": "file"}}}, "$defs.b: the type 'file'"),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, "the keyword oneOf"),
        ({"items": {"$ref": "http://example.org"}}, "items: the keyword $ref"),
        ({"properties": {"a": 5}}, "a: a schema must be"),
    ],
)
def test_what_cannot_be_enforced_is_named_with_its_place(schema: dict[str, Any], says: str) -> None:
    problem = not_enforced(tidied(schema))
    assert problem is not None
    assert problem.startswith(says)
    assert "\n" not in problem


KEYS = st.sampled_from(
    (
        *("type", "format", "properties", "items", "anyOf", "oneOf", "required", "enum", "uniqueItems", "not", "if"),
        *("propertyNames", "$ref", "minItems", "contains", "additionalProperties", "$defs", "dependentRequired"),
        *("unevaluatedProperties", "x"),
    )
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["string", "any", "date", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_json_is_tidied_or_named(schema: dict[str, Any]) -> None:
    rest = tidied(schema)
    assert tidied(rest) == rest
    problem = not_enforced(rest)
    assert problem is None or len(problem) < 500
