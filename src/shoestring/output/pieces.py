"""Pieces of an answer, with text and complete tool calls: what `Model.generate` yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shoestring.engine.request import FinishReason
from shoestring.ops.sampling import Sampled
from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments, ToolCallEnd


@dataclass(frozen=True)
class Call:
    """A complete tool call. arguments: a JSON object as text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Piece:
    """What one token adds to an answer. `text` may be empty while a character or stop string is incomplete."""

    #: index of the prompt or conversation in the batch
    index: int
    text: str
    #: whether the text belongs to the model's thinking
    thinking: bool
    tokens: tuple[Sampled, ...]
    finish_reason: FinishReason | None = None
    #: index of the answer among the prompt's `n`
    choice: int = 0
    #: tool calls that this token completes
    calls: tuple[Call, ...] = ()
    #: with a finish_reason: the answer ended before its thinking did, so it has no content
    ended_inside_thinking: bool = False


class Pieces:
    """Converts the events of one answer to pieces. thinking: the answer starts inside its thinking."""

    def __init__(self, index: int, choice: int = 0, *, thinking: bool = False) -> None:
        self._index, self._choice = index, choice
        self._thinking = thinking
        self._calls: dict[int, tuple[ToolCall, list[str]]] = {}

    def take(self, events: Sequence[Event], tokens: tuple[Sampled, ...]) -> list[Piece]:
        """The pieces of a token: one, or two if thinking ends within it. The last one has the token."""
        parts: list[tuple[str, bool]] = []
        calls: list[Call] = []
        for event in events:
            match event:
                case Thinking(text) | Content(text):
                    self._thinking = isinstance(event, Thinking)
                    if parts and parts[-1][1] == self._thinking:
                        parts[-1] = (parts[-1][0] + text, self._thinking)
                    else:
                        parts.append((text, self._thinking))
                case ToolCall(index):
                    self._calls[index] = (event, [])
                case ToolCallArguments(index, text):
                    self._calls[index][1].append(text)
                case ToolCallEnd(index):
                    call, texts = self._calls.pop(index)
                    calls.append(Call(call.id, call.name, "".join(texts)))
        *before, (text, kind) = parts or [("", self._thinking)]
        pieces = [Piece(self._index, text, kind, (), choice=self._choice) for text, kind in before]
        return [*pieces, Piece(self._index, text, kind, tokens, choice=self._choice, calls=tuple(calls))]


def as_last(piece: Piece, reason: FinishReason, *, inside_thinking: bool) -> Piece:
    """The piece as the last one of its answer."""
    return replace(piece, finish_reason=reason, ended_inside_thinking=inside_thinking)
