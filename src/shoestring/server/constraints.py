"""Read constraints on an answer from OpenAI's and vLLM's fields, for chat and raw completions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from shoestring import bounded_json
from shoestring.bounded_json import BoundError
from shoestring.server.errors import bad_request
from shoestring.server.http.fields import Body, Loose, Many
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
    """vLLM's field, plus the grammars that it has no name for. Clients set one of them."""

    refused: ClassVar = {
        "structural_tag": "use tools or json",
        "whitespace_pattern": "whitespace follows the schema",
        "disable_any_whitespace": "whitespace follows the schema",
        "disable_fallback": "there is one backend",
        "disable_additional_properties": "write additionalProperties: false in the schema",
    }

    json_: dict[str, Any] | str | None = Field(None, alias="json")
    json_object: bool | None = None
    regex: str | None = None
    choice: Many[str] | None = None
    #: GBNF if it contains ::=, else Lark
    grammar: str | None = None
    lark: str | None = None
    gbnf: str | None = None


#: vLLM's fields that neither of OpenAI's two APIs supports here, for `refused`.
UNSUPPORTED = {
    "min_tokens": "use ignore_eos with max_tokens, or a grammar",
    "stop_token_ids": "use stop",
    "use_beam_search": "answers are sampled",
    **{f"guided_{form}": f"use structured_outputs: {{{form}}}" for form in ("json", "regex", "choice", "grammar")},
}


class ConstraintFields(Body):
    """Base of bodies whose `refused` includes UNSUPPORTED."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None


def constraint(body: ConstraintFields) -> Constraint | None:
    """The constraint of a request. Raises ApiError for an invalid one, or for two."""
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


def _structured_outputs(fields: StructuredOutputs | None) -> Constraint | None:
    """The constraint of vLLM's structured_outputs."""
    if fields is None:
        return None
    constraints: list[Constraint] = []
    if fields.json_ is not None:
        constraints.append(Constraint("json_schema", _schema(fields.json_)))
    if fields.json_object:
        constraints.append(Constraint("json_object"))
    if fields.choice is not None:
        constraints.append(Constraint("choice", tuple(fields.choice)))
    if fields.grammar is not None:
        constraints.append(Constraint("gbnf" if "::=" in fields.grammar else "lark", fields.grammar))
    for kind in ("regex", "lark", "gbnf"):
        if getattr(fields, kind) is not None:
            constraints.append(Constraint(kind, getattr(fields, kind)))
    if len(constraints) > 1:
        raise bad_request("structured_outputs has several constraints: send one", param="structured_outputs")
    return constraints[0] if constraints else None


def _schema(source: dict[str, Any] | str) -> dict[str, Any]:
    where = "structured_outputs.json"
    try:
        schema = bounded_json.loads(source) if isinstance(source, str) else source
    except BoundError as error:
        raise bad_request(f"{where} is too complex: {error}", param=where) from None
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise bad_request(f"{where} is not a JSON schema: send an object", param=where)
    return schema
