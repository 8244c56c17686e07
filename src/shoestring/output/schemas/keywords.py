"""The keywords of JSON schemas: drop those that restrict nothing, and name the first one that cannot be enforced.

llguidance enforces most keywords, refuses some, and ignores unknown ones. Programs write keywords that restrict nothing
(`uniqueItems: false`, an unknown `format`), and null or PHP's [] for an empty object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shoestring.printable import shortened

#: The formats that llguidance enforces. JSON Schema says of others: they are annotations.
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "unknown")
)
#: Keywords whose values are schemas, lists of schemas, or schemas by name.
_ONE = frozenset(
    (
        *("additionalProperties", "additionalItems", "items", "contains", "not", "if", "then", "else", "propertyNames"),
        *("unevaluatedProperties", "unevaluatedItems"),
    )
)
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
#: Keywords whose value counts something.
_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
#: Keywords whose null is a value.
_VALUES = frozenset(("const", "default", "example", "examples", "enum"))
#: What cannot be enforced, where it restricts anything.
_NOT_ENFORCED = frozenset(
    (
        *("uniqueItems", "contains", "minContains", "maxContains", "propertyNames", "not", "if", "dependentRequired"),
        *(
            "dependentSchemas",
            "dependencies",
            "unevaluatedProperties",
            "unevaluatedItems",
            "$dynamicRef",
            "$recursiveRef",
        ),
    )
)
#: Most characters of a place in an error.
_MOST_PLACE = 120
_TYPES = frozenset(("string", "number", "integer", "boolean", "object", "array", "null"))


def tidied(schema: Any) -> Any:
    """The schema without keywords that restrict nothing, with {} for null and [] where a schema stands."""
    if isinstance(schema, bool):
        return schema
    if schema is None or schema == []:
        return {}
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if value is None and key not in _VALUES:
            continue
        if key in _NAMED:
            value = {} if value == [] else value
            if isinstance(value, Mapping):
                value = {name: tidied(one) for name, one in value.items()}
        elif key in _LISTS or (key == "items" and isinstance(value, list) and value):
            value = [tidied(one) for one in value] if isinstance(value, list) else value
        elif key in _ONE:
            value = tidied(value)
        elif key in _COUNTS and isinstance(value, float) and value.is_integer():
            value = int(value)
        if not _restricts_nothing(key, value, schema):
            kept[key] = value
    if kept.get("unevaluatedProperties") is False and not kept.keys() & {"$ref", "allOf", "anyOf", "oneOf"}:
        # Without other schemas to evaluate, these are the additional ones.
        kept.setdefault("additionalProperties", kept.pop("unevaluatedProperties"))
    return kept


def _restricts_nothing(key: str, value: Any, schema: Mapping[str, Any]) -> bool:
    match key:
        case "format":
            return not (isinstance(value, str) and value in _FORMATS)
        case "uniqueItems":
            most = schema.get("maxItems")
            return value is False or (isinstance(most, int) and most <= 1)
        case "propertyNames":
            return _any_name(value)
        case "unevaluatedProperties" | "unevaluatedItems":
            return value is True or (isinstance(value, Mapping) and not value)
        case "then" | "else":
            return "if" not in schema
        case "if":
            return "then" not in schema and "else" not in schema
        case "minContains" | "maxContains":
            return "contains" not in schema
        case "contains":
            return bool(schema.get("minContains") == 0 and "maxContains" not in schema)
        case "not":
            return value is False
        case "required":
            return value is False or (isinstance(value, Mapping) and not value)
        case "enum":
            return value is None
        case "type":
            return value == "any" or (isinstance(value, list) and not value)
        case "dependentRequired" | "dependentSchemas" | "dependencies" | "anyOf" | "oneOf" | "allOf":
            return isinstance(value, list | Mapping) and not value
    return False


def _any_name(schema: Any) -> bool:
    """Whether every name, which is a string, fits a schema."""
    if schema is True:
        return True
    if not isinstance(schema, Mapping):
        return False
    types = schema.get("type", "string")
    fits = types == "string" or (isinstance(types, list) and "string" in types)
    harmless = {"type", "title", "description", "$comment", "$id", "$schema", "default", "examples", "deprecated"}
    others = {key: value for key, value in schema.items() if key not in harmless and value is not None}
    if others.get("minLength") == 0:
        del others["minLength"]
    if others.get("pattern") in ("", ".*", "^.*$", "^.*", ".*$"):
        del others["pattern"]
    return fits and not others


def not_enforced(schema: Any) -> str | None:
    """What of a tidied schema cannot be enforced, as a sentence that names keyword and place; None: nothing."""
    for place, one in _schemas(schema, ""):
        where = f"{shortened(place, _MOST_PLACE)}: " if place else ""
        if not isinstance(one, Mapping):
            if not isinstance(one, bool):
                return f"{where}a schema must be an object, true or false"
            continue
        keyword = next((key for key in one if key in _NOT_ENFORCED), None)
        if keyword is not None:
            return f"{where}the keyword {keyword} cannot be enforced: remove it, or describe it to the model"
        types = one.get("type", [])
        for name in [types] if isinstance(types, str) else types if isinstance(types, list) else [types]:
            if not isinstance(name, str) or name not in _TYPES:
                return (
                    f"{where}the type {shortened(repr(name), 60)} is unknown: choose one of {', '.join(sorted(_TYPES))}"
                )
        for name in sorted(_LISTS & one.keys()):
            if not isinstance(one[name], list):
                return f"{where}the keyword {name} must be a list of schemas"
        if "oneOf" in one and all(isinstance(part, Mapping) and part.keys() == {"required"} for part in one["oneOf"]):
            return f"{where}the keyword oneOf cannot be enforced on required alone: write anyOf, or describe it"
        reference = one.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            return f"{where}the keyword $ref must name a part of the same schema, like #/$defs/NAME"
    return None


def _schemas(schema: Any, place: str) -> Iterator[tuple[str, Any]]:
    """All schemas inside a schema, with their places; the schema itself first."""
    yield place, schema
    if not isinstance(schema, Mapping):
        return
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, Mapping):
            for name, one in value.items():
                yield from _schemas(one, _join(place, name if key == "properties" else f"{key}.{name}"))
        elif isinstance(value, list) and (key in _LISTS or key == "items"):
            for number, one in enumerate(value):
                yield from _schemas(one, _join(place, f"{key}.{number}"))
        elif key in _ONE and not isinstance(value, list):
            yield from _schemas(value, _join(place, key))


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else str(name)
