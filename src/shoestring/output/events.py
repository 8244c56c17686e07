"""Events of an answer, the same for every API: thinking, content, tool calls.

Texts of one kind concatenate to the whole; the argument texts of a tool call concatenate to one JSON object.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thinking:
    """A piece of the model's thinking."""

    text: str


@dataclass(frozen=True)
class Content:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """Call number `index` of the answer starts; its name is complete."""

    index: int
    id: str
    name: str


@dataclass(frozen=True)
class ToolCallArguments:
    """A piece of the arguments of call `index`, JSON text."""

    index: int
    text: str


@dataclass(frozen=True)
class ToolCallEnd:
    """The arguments of call `index` are complete."""

    index: int


Event = Thinking | Content | ToolCall | ToolCallArguments | ToolCallEnd
