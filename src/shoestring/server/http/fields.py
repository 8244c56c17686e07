"""Body: the base of all request bodies.

Types are strict ("5" is not a number), null is the same as a missing field, and no field is dropped silently:
server/field_rules.py says which ones are accepted without effect and which are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from shoestring.server.field_rules import Rules, is_empty, note_ignored
from shoestring.server.limits import Limits

T = TypeVar("T")

#: The context of a validation that ignores unknown fields: of a server with --lenient.
LENIENT: Mapping[str, bool] = {"lenient": True}


class Body(BaseModel):
    """A request body, or an object inside one. `rules`: the fields that it does not declare."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    rules: ClassVar[Rules] = Rules()

    @model_validator(mode="before")
    @classmethod
    def _follow_rules(cls, data: Any, info: ValidationInfo) -> Any:
        if data == []:
            data = {}  # as PHP writes an empty object
        if not isinstance(data, dict):
            return data
        rules, known = cls.rules, _declared(cls)
        followed = {}
        for name, value in data.items():
            if value is None:
                continue
            refused = rules.refused.get(name)
            if name in known:
                followed[name] = value
            elif refused is not None:
                if not refused.accepts(value):
                    raise PydanticCustomError(
                        "refused", "{name} is not supported: {why}", {"name": name, "why": refused.why}
                    )
            elif name in rules.no_effect or is_empty(value):
                continue
            elif rules.ignores or info.context is LENIENT:
                note_ignored(name)
            else:
                followed[name] = value  # pydantic refuses or ignores it
        return followed

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """List the fields of the rules, too."""
        described = handler.resolve_ref_schema(handler(schema))
        known = described.setdefault("properties", {})
        for name in sorted(cls.rules.no_effect - known.keys()):
            known[name] = {"description": "accepted without effect"}
        for name, refused in cls.rules.refused.items():
            known.setdefault(name, {"description": f"refused unless it is off: {refused.why}"})
        return described


def _declared(kind: type[BaseModel]) -> frozenset[str]:
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = frozenset(field.alias or name for name, field in kind.model_fields.items())
    return names


_names: dict[type[BaseModel], frozenset[str]] = {}


def at_most(limit: int) -> BeforeValidator:
    """Refuse a list or an object of more items, before any of them is validated."""

    def check(value: Any) -> Any:
        if isinstance(value, list | dict) and len(value) > limit:
            what = {"number": len(value), "limit": limit}
            raise PydanticCustomError("too_many", "{number} are too many: the limit is {limit}", what)
        return value

    return BeforeValidator(check)


#: A list with at most one error.
Each = Annotated[list[T], Field(fail_fast=True)]
#: The same, of as many items as a conversation has messages.
Many = Annotated[list[T], Field(fail_fast=True), at_most(Limits.messages)]


def text_or_list(value: Any) -> str:
    """A pydantic Discriminator for a string or a list, so that pydantic reports one error instead of two."""
    return "text" if isinstance(value, str) else "list"


def list_or_text(value: Any) -> str:
    """The same, for fields where an error about a string helps more."""
    return "list" if isinstance(value, list) else "text"


def _object(value: Any) -> Any:
    return {} if value == [] else value


#: A JSON schema or another object. PHP writes an empty object as [].
Object = Annotated[dict[str, Any], BeforeValidator(_object)]


class Loose(BaseModel):
    """An object that accepts unknown fields without effect."""

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())


class LooseBody(Loose):
    """The same in a request, where null is the same as a missing field."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """In Python: pydantic's own code keeps the interpreter lock over thousands of objects."""
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data
