"""Body: the base of all request bodies.

Types are strict ("5" is not a number) and no field is ignored: a field that is neither supported nor known to be
harmless is refused by name. `refused` gives the reason, where there is more to say than "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from shoestring.server.limits import Limits

T = TypeVar("T")


class Body(BaseModel):
    """A request body, or an object inside one. `refused`: field → why not, and what to do instead."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    refused: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name in data:
            if name in cls.refused and data[name] is not None:
                raise PydanticCustomError(
                    "refused", "{what}", {"what": f"{name} is not supported: {cls.refused[name]}"}
                )
        return {name: value for name, value in data.items() if name not in cls.refused}


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


class Loose(BaseModel):
    """An object that accepts unknown fields without effect."""

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _let_others_run(cls, data: Any) -> Any:
        """Python code: pydantic's own keeps the interpreter lock over thousands of objects."""
        return data
