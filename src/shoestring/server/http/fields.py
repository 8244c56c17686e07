"""Body: what the request bodies of every API have in common.

Types are strict ("5" is no number), and nothing is ignored: a field that is neither honoured nor known to be
harmless is refused by its name. `refused` gives the reason where there is more to say than that it is unknown.
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
    """For pydantic's Discriminator: the tag of a field that is a text or a list, so that one error is told, not two."""
    return "text" if isinstance(value, str) else "list"


def list_or_text(value: Any) -> str:
    """The same for a field where an error about a text is the likelier to help."""
    return "list" if isinstance(value, list) else "text"


class Loose(BaseModel):
    """An object of which only the named fields matter; further ones are accepted and have no effect."""

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())
