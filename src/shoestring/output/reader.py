"""Reader: streamed text for parsers, which read it as if it were complete.

A parser is a generator: it yields when it needs more text, and resumes when more has arrived. So its result does not
depend on how the text was split.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator
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

    def run(self, halts: Collection[str]) -> str:
        """Consume the text that is here, up to the first of the characters `halts`; perhaps none."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in halts:
            self.at += 1
        return self.text[start : self.at]

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

    def after_space(self, literals: tuple[str, ...]) -> Parse[str | None]:
        """`any_of` after white space. Consumes nothing if there is none."""
        start = self.at
        yield from self.skip()
        literal = yield from self.any_of(literals)
        if literal is None:
            self.at = start
        return literal

    def need(self) -> Parse[str]:
        """The next character. Raises EndedError at the end."""
        while self.at == len(self.text):
            yield from self.wait()
        return self.text[self.at]

    def peek(self) -> Parse[str]:
        """The next character; "" at the end."""
        try:
            return (yield from self.need())
        except EndedError:
            return ""

    def skip(self, characters: str = SPACE) -> Parse[str]:
        """Skip any of `characters`. Returns the next character; "" at the end."""
        while (here := (yield from self.peek())) and here in characters:
            self.at += 1
        return here

    def match(self, pattern: re.Pattern[str], most: int) -> Parse[str]:
        """Consume the longest text here, up to `most` characters, of which every prefix matches `pattern`."""
        end = self.at
        while end - self.at < most:
            if end < len(self.text):
                if not pattern.fullmatch(self.text, self.at, end + 1):
                    break
                end += 1
            elif self.ended:
                break
            else:
                yield from self.wait()
        matched, self.at = self.text[self.at : end], end
        return matched
