"""Reader: streamed text for parsers that are written as if all of it were there.

A parser is a generator: it yields when it needs more text, and is resumed when more has arrived. So it gives the same
result however the text was split.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
#: A parser's step: yields while it waits, returns its result.
Parse = Generator[None, None, T]

SPACE = " \t\r\n"


class EndedError(Exception):
    """A parser waits for text after the end."""


class Reader:
    """The text that is not consumed yet; `at` is the parser's position in it."""

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        #: keep consumed text, because the parser may have to go back
        self.pinned = False

    @property
    def rest(self) -> str:
        return self.text[self.at :]

    def drop(self) -> None:
        """Discard the text before `at`."""
        if not self.pinned:
            self.text, self.at = self.text[self.at :], 0

    def wait(self) -> Parse[None]:
        """Wait for more text. Raises EndedError at the end."""
        if self.ended:
            raise EndedError
        yield

    def starts(self, literal: str) -> bool | None:
        """Whether the text here starts with `literal`; None: not known until more text arrives."""
        here = self.text[self.at : self.at + len(literal)]
        if here == literal:
            return True
        return None if not self.ended and literal.startswith(here) else False

    def any_of(self, literals: tuple[str, ...]) -> Parse[str | None]:
        """Consume and return the first of `literals` that the text here starts with; None if there is none."""
        for literal in literals:
            while (here := self.starts(literal)) is None:
                yield from self.wait()
            if here:
                self.at += len(literal)
                return literal
        return None

    def peek(self) -> Parse[str]:
        """The next character; "" at the end."""
        while self.at == len(self.text):
            if self.ended:
                return ""
            yield from self.wait()
        return self.text[self.at]

    def skip(self, characters: str = SPACE) -> Parse[str]:
        """Skip any of `characters`. Returns the next character; "" at the end."""
        while (here := (yield from self.peek())) and here in characters:
            self.at += 1
        return here

    def match(self, pattern: re.Pattern[str], most: int) -> Parse[str]:
        """Consume the longest text here, up to `most` characters, of which every prefix matches `pattern`."""
        end = self.at
        while True:
            if end == len(self.text):
                if self.ended:
                    break
                yield from self.wait()
                continue
            if end - self.at >= most or not pattern.fullmatch(self.text, self.at, end + 1):
                break
            end += 1
        matched, self.at = self.text[self.at : end], end
        return matched
