"""Errors of validation in the API's language: the path as the client wrote it, and what is expected there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shoestring.printable import shortened
from shoestring.server.errors import ApiError

#: Most characters of one part of a field's name.
_PART = 60

#: What a place expects, by pydantic's type of error.
_EXPECTED = {
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "bool_type": "true or false",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a number",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "less_than": "a number below {lt}",
    "too_short": "at least {min_length} items",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "literal_error": "{expected}",
    "union_tag_invalid": "an object whose {discriminator} is one of {expected_tags}",
    "union_tag_not_found": "an object with {discriminator}",
}

#: What a field with several types expects, by the tag of the type that was tried (see the Discriminators).
_EITHER = {
    "list": "a string or a list",
    "text": "a string or a list",
    "schema": '"json" or a JSON schema',
    "json": '"json" or a JSON schema',
    "object": "a string or an object",
    "switch": "true, false or an effort",
    "effort": "true, false or an effort",
    "prompt": "a text, a list of texts, token ids or a list of lists of them",
    "texts": "a list of texts",
    "lists": "a list of lists of token ids",
}


def validation_error(error: ValidationError, value: Any) -> ApiError:
    """The first error that pydantic reports about a value: where and what."""
    first = error.errors(include_url=False, include_input=False)[0]
    kind, place = first["type"], first["loc"]
    path, tag = _written(place, value, missing=kind == "missing")
    where = ".".join(shortened(str(part), _PART) for part in path)
    name = f"{where}: " if where else ""
    match kind:
        case "extra_forbidden":
            message = f"{where} is not supported"
        case "refused":
            where = ".".join(filter(None, (where, first["ctx"]["name"])))
            message = f"{where} is not supported: {first['ctx']['why']}"
        case "missing":
            message = f"{where} is required"
        case _:
            message = f"{name}{_expected(kind, tag, first)}"
    code = "unsupported_field" if kind in ("extra_forbidden", "refused") else "invalid_request"
    return ApiError(400, message, code, where or None)


def _written(place: tuple[int | str, ...], value: Any, missing: bool) -> tuple[list[int | str], str]:
    """The parts of pydantic's place that the client wrote, and the last other one: the tag of a type."""
    path: list[int | str] = []
    tag = ""
    for number, part in enumerate(place):
        last = number == len(place) - 1
        if isinstance(value, Mapping) and (part in value or (missing and last)):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            tag = str(part)
            continue
        path.append(part)
        tag = ""
    return path, tag


def _expected(kind: str, tag: str, error: Any) -> str:
    words = (
        _EITHER.get(tag) if kind in ("string_type", "list_type", "dict_type", "bool_type", "literal_error") else None
    )
    if words is None and kind in _EXPECTED:
        context = {name: _plain(part) for name, part in (error.get("ctx") or {}).items()}
        words = _EXPECTED[kind].format_map(context)
        if kind == "literal_error" and " or " in words:
            words = f"one of {words.replace(' or ', ', ')}"
    return f"expected {words}" if words is not None else str(error["msg"])


def _plain(part: Any) -> str:
    return str(part).replace("'", '"')
