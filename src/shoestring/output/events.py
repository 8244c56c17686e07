"""What an answer consists of, piece by piece, the same for every API: thinking, content, tool calls.

The texts of one kind concatenate to the whole; a tool call's argument texts concatenate to one JSON object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: "stop": a stop token or stop string; "length": max_tokens; "context": the context is full; "tool_calls": the
#: answer ended with at least one complete call.
FinishReason = Literal["stop", "length", "context", "tool_calls"]


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
    """Call number `index` of the answer begins; its name is complete."""

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


@dataclass(frozen=True)
class TokenInfo:
    """A sampled token; `logprob` and `top` (id, log-probability), likeliest first, where logprobs were asked for."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
