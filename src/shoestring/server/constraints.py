"""The form that an answer must have, in the fields of OpenAI and of vLLM, for chat and raw completions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from shoestring.server.errors import ApiError, bad_request
from shoestring.server.http.fields import Body, Loose
from shoestring.server.request import Constraint


class JsonSchema(Loose):
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(Body):
    """vLLM's field, and the grammars that it has no name for. One of them is given."""

    refused: ClassVar[Mapping[str, str]] = {
        "structural_tag": "use tools or json",
        "whitespace_pattern": "whitespace follows the schema",
        "disable_any_whitespace": "whitespace follows the schema",
        "disable_fallback": "there is one backend",
        "disable_additional_properties": "write additionalProperties: false in the schema",
    }

    json_: dict[str, Any] | str | None = Field(None, alias="json")
    json_object: bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    #: Lark, or GBNF where it is written with ::=
    grammar: str | None = None
    lark: str | None = None
    gbnf: str | None = None


#: vLLM's older fields, for `refused`.
GUIDED = {f"guided_{form}": f"use structured_outputs: {{{form}}}" for form in ("json", "regex", "choice", "grammar")}


class ConstraintFields(Body):
    """Inherited by bodies, whose `refused` includes GUIDED."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None


def constraint(body: ConstraintFields) -> Constraint | None:
    """Raises ApiError for a form without a meaning, or two forms."""
    structured = _structured_outputs(body.structured_outputs)
    format = body.response_format
    if format is None or format.type == "text":
        return structured
    if structured is not None:
        raise bad_request(
            "response_format and structured_outputs cannot be combined: send one", param="response_format"
        )
    if format.type == "json_object":
        return Constraint("json_object")
    if format.json_schema is None:
        raise bad_request("response_format of type json_schema needs json_schema", param="response_format.json_schema")
    if format.json_schema.schema_ is None:
        return Constraint("json_object")
    return Constraint("json_schema", format.json_schema.schema_)


def _structured_outputs(given: StructuredOutputs | None) -> Constraint | None:
    """vLLM's structured_outputs."""
    if given is None:
        return None
    wanted: list[Constraint] = []
    if given.json_ is not None:
        wanted.append(Constraint("json_schema", _schema(given.json_)))
    if given.json_object:
        wanted.append(Constraint("json_object"))
    if given.choice is not None:
        wanted.append(Constraint("choice", tuple(given.choice)))
    if given.grammar is not None:
        wanted.append(Constraint("gbnf" if "::=" in given.grammar else "lark", given.grammar))
    for kind in ("regex", "lark", "gbnf"):
        text = getattr(given, kind)
        if text is not None:
            wanted.append(Constraint(kind, text))
    if len(wanted) > 1:
        raise bad_request("structured_outputs has several constraints: send one", param="structured_outputs")
    return wanted[0] if wanted else None


def _schema(given: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    error: ApiError = bad_request(
        "structured_outputs.json is not a JSON schema: send an object", param="structured_outputs.json"
    )
    try:
        schema = json.loads(given)
    except (ValueError, RecursionError):
        raise error from None
    if not isinstance(schema, dict):
        raise error
    return schema
