"""What a client may ask of an answer's form: whether to call tools, and which shape the content must have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class ToolChoice:
    """Whether the model may, must not or must call a tool; `name`: this one."""

    mode: Literal["auto", "none", "required"] = "auto"
    name: str | None = None


Kind = Literal["json_schema", "json_object", "regex", "lark", "gbnf", "choice"]


@dataclass(frozen=True)
class Constraint:
    """The form that the answer's content must have. `value`: a JSON schema, a pattern, a grammar, the choices.

    where: the field that asks for it, for errors.
    """

    kind: Kind
    value: Any = None
    where: str = field(default="", compare=False)
