"""Body: the base of all request bodies.

Types are strict ("5" is not a number) and no field is ignored: a field that is neither supported nor known to be
harmless is refused by name. `refused` gives the reason, where there is more to say than "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


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


def text_or_list(value: Any) -> str:
    """A pydantic Discriminator for a string or a list, so that pydantic reports one error instead of two."""
    return "text" if isinstance(value, str) else "list"


def list_or_text(value: Any) -> str:
    """The same, for fields where an error about a string helps more."""
    return "list" if isinstance(value, list) else "text"


class Loose(BaseModel):
    """An object that accepts unknown fields without effect."""

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())
