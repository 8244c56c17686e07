"""Read constraints on an answer from OpenAI's and vLLM's fields, for chat and raw completions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from shoestring import bounded_json
from shoestring.bounded_json import BoundError
from shoestring.output.request import Kind
from shoestring.server import field_rules
from shoestring.server.errors import bad_request
from shoestring.server.http.fields import Body, LooseBody, Many, Object
from shoestring.server.request import Constraint


class JsonSchema(LooseBody):
    name: str | None = None
    description: str | None = None
    schema_: Object | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    rules: ClassVar = field_rules.OPENAI_RESPONSE_FORMAT

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None
    #: llama.cpp's place for the schema, with either type
    schema_: Object | None = Field(None, alias="schema")


class StructuredOutputs(Body):
    """vLLM's field, plus the grammars that it has no name for. Clients set one of them."""

    rules: ClassVar = field_rules.STRUCTURED_OUTPUTS

    json_: dict[str, Any] | str | None = Field(None, alias="json")
    json_object: bool | None = None
    regex: str | None = None
    choice: Many[str] | None = None
    #: GBNF if it contains ::=, else Lark
    grammar: str | None = None
    lark: str | None = None
    gbnf: str | None = None


class ConstraintFields(Body):
    """What an answer must look like."""

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
    nested = None if format.json_schema is None else format.json_schema.schema_
    if nested is not None:
        return Constraint("json_schema", nested, "response_format.json_schema.schema")
    if format.schema_ is not None:
        return Constraint("json_schema", format.schema_, "response_format.schema")
    if format.type == "json_schema" and format.json_schema is None:
        raise bad_request("response_format of type json_schema needs json_schema", param="response_format.json_schema")
    return Constraint("json_object", where="response_format")


def _structured_outputs(fields: StructuredOutputs | None) -> Constraint | None:
    """The constraint of vLLM's structured_outputs."""
    if fields is None:
        return None
    constraints: list[Constraint] = []

    def add(kind: Kind, value: Any, name: str) -> None:
        constraints.append(Constraint(kind, value, f"structured_outputs.{name}"))

    if fields.json_ is not None and fields.json_ != "":
        add("json_schema", _schema(fields.json_), "json")
    if fields.json_object:
        add("json_object", None, "json_object")
    if fields.choice:
        add("choice", tuple(fields.choice), "choice")
    if fields.grammar:
        add("gbnf" if "::=" in fields.grammar else "lark", fields.grammar, "grammar")
    if fields.regex:
        add("regex", fields.regex, "regex")
    if fields.lark:
        add("lark", fields.lark, "lark")
    if fields.gbnf:
        add("gbnf", fields.gbnf, "gbnf")
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
