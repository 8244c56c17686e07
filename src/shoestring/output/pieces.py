"""Pieces of an answer for programs that want text: what `Model.generate` yields. Tool calls stay text here."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.engine.request import FinishReason
from shoestring.engine.sampler import Sampled
from shoestring.output.events import Content, Thinking
from shoestring.output.form import Form
from shoestring.output.machine import OutputMachine


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


class Answer:
    """One answer's pieces as its tokens come. `machine` also is its guide."""

    def __init__(self, index: int, form: Form, inside_thinking: bool = False) -> None:
        self.index = index
        self.machine = OutputMachine(form, inside_thinking=inside_thinking)

    @property
    def finished(self) -> bool:
        return self.machine.finish_reason is not None

    def push(self, token: Sampled, reason: FinishReason | None) -> list[Piece]:
        """What a token adds: one piece, or two where thinking ends within it. The last has the token."""
        thinking = self.machine.thinking
        parts: list[tuple[str, bool]] = []
        for event in self.machine.push(token, reason):
            if isinstance(event, Thinking | Content):
                is_thinking = isinstance(event, Thinking)
                if parts and parts[-1][1] == is_thinking:
                    parts[-1] = (parts[-1][0] + event.text, is_thinking)
                else:
                    parts.append((event.text, is_thinking))
        *before, (text, kind) = parts or [("", thinking)]
        pieces = [Piece(self.index, text, kind, ()) for text, kind in before]
        return [*pieces, Piece(self.index, text, kind, (token,), self.machine.finish_reason)]
