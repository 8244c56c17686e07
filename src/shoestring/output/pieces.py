"""Pieces of an answer for programs that want text and whole tool calls: what `Model.generate` yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.engine.request import FinishReason
from shoestring.engine.sampler import Sampled
from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments, ToolCallEnd


@dataclass(frozen=True)
class Call:
    """A complete tool call. arguments: a JSON object as text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Piece:
    """What one token adds to one answer. `text` may be empty: a character or stop string is not complete yet."""

    #: which prompt or conversation of the batch
    index: int
    text: str
    #: the text belongs to the model's thinking
    thinking: bool
    tokens: tuple[Sampled, ...]
    finish_reason: FinishReason | None = None
    #: which of the `n` answers to the prompt
    choice: int = 0
    #: tool calls that are complete now
    calls: tuple[Call, ...] = ()


class Pieces:
    """From the events of one answer to its pieces. thinking: it begins inside its thinking."""

    def __init__(self, index: int, choice: int = 0, *, thinking: bool = False) -> None:
        self._index, self._choice = index, choice
        self._thinking = thinking
        self._calls: dict[int, tuple[ToolCall, list[str]]] = {}

    def take(
        self, events: Sequence[Event], tokens: tuple[Sampled, ...], reason: FinishReason | None = None
    ) -> list[Piece]:
        """What a token adds: one piece, or two where thinking ends within it. The last has the token."""
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
        return [*pieces, Piece(self._index, text, kind, tokens, reason, self._choice, tuple(calls))]
