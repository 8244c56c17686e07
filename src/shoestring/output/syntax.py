"""Syntax: the marks between thinking, content and calls in one vocabulary.

If the vocabulary has a token for a mark, only that token is the mark: it becomes one character that no text can contain
(a lone surrogate, which UTF-8 does not decode to), and text that only looks like it stays text. Otherwise the mark is
its text. Either way a mark is a string, and parsers do not see the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from shoestring.checkpoint.text.tokenizer import THINKING_TEXTS

_FIRST = 0xD800


class StreamDecoder(Protocol):
    @property
    def waits(self) -> bool: ...
    def push(self, *ids: int) -> str: ...
    def finish(self) -> str: ...


class Vocabulary(Protocol):
    """What output/ needs from a tokenizer (checkpoint/text/tokenizer.py)."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def eos_ids(self) -> frozenset[int]: ...
    @property
    def thinking(self) -> tuple[int, int] | None: ...
    @property
    def added_ids(self) -> frozenset[int]: ...
    def token_bytes(self, id: int) -> bytes: ...
    def encode(self, text: str, allow_special: bool = False) -> list[int]: ...
    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str: ...
    def stream_decoder(self, skip_special: bool = False) -> StreamDecoder: ...


@dataclass(frozen=True)
class Syntax:
    """Marks as strings; "" if the family has no such mark. `marks`: token id → its character.

    shown: the text of a mark's character if it turns out not to be a mark; "" for a special token.
    bare: what can start a call without a mark, at the beginning of a line: "<function=", "{", "[".
    """

    family: str
    think: str = ""
    end_think: str = ""
    call: str = ""
    end_call: str = ""
    python: str = ""
    end_python: str = ""
    bare: tuple[str, ...] = ()
    marks: dict[int, str] = field(default_factory=dict)
    shown: dict[int, str] = field(default_factory=dict)
    #: what templates put after the end of thinking
    after_thinking: str = "\n\n"

    def end_thinking(self, tokenizer: Vocabulary) -> list[int]:
        """The tokens between thinking and content."""
        id = self.id_of(self.end_think)
        end = [id] if id is not None else tokenizer.encode(self.end_think)
        return [*end, *tokenizer.encode(self.after_thinking)]

    @cached_property
    def openers(self) -> tuple[str, ...]:
        """Marks that open a call."""
        return tuple(mark for mark in (self.call, self.python) if mark)

    @cached_property
    def closers(self) -> tuple[str, ...]:
        """Marks that close a call."""
        return tuple(mark for mark in (self.end_call, self.end_python) if mark)

    def plain(self, text: str) -> str:
        """Replace mark characters that are not marks here by their text."""
        return text.translate(self.shown) if not text.isascii() else text

    def is_token(self, mark: str) -> bool:
        """Whether this mark is a token rather than text."""
        return mark != "" and ord(mark[0]) in self.shown

    def id_of(self, mark: str) -> int | None:
        """The token id of a mark; None if it is text."""
        return next((id for id, character in self.marks.items() if character == mark), None)


#: by family: field of Syntax → text
_TEXTS = {
    "qwen3_5": {"call": "<tool_call>", "end_call": "</tool_call>"},
    "llama4": {"python": "<|python_start|>", "end_python": "<|python_end|>"},
}
_BARE = {"qwen3_5": ("<function=",), "llama4": ("<function=", "{", "[")}


def syntax_of(tokenizer: Vocabulary, family: str) -> Syntax:
    """The marks of a family ("qwen3_5", "llama4") in a vocabulary."""
    strings: dict[str, str] = {}
    marks: dict[int, str] = {}
    shown: dict[int, str] = {}

    def mark(name: str, id: int) -> None:
        character = chr(_FIRST + len(marks))
        strings[name], marks[id] = character, character
        shown[ord(character)] = tokenizer.decode([id], skip_special=True)

    for name, text in _TEXTS.get(family, {}).items():
        ids = tokenizer.encode(text, allow_special=True)
        if len(ids) == 1:
            mark(name, ids[0])
        else:
            strings[name] = text
    if tokenizer.thinking is not None:
        for name, id in zip(("think", "end_think"), tokenizer.thinking, strict=True):
            mark(name, id)
    else:
        strings["think"], strings["end_think"] = THINKING_TEXTS
    return Syntax(family=family, bare=_BARE.get(family, ()), marks=marks, shown=shown, **strings)
