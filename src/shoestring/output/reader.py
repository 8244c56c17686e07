"""Reader: text that comes in pieces, for parsers that are written as if it were all there.

A parser is a generator: where it needs more text it yields and is resumed when more has come. So it gives the same
result however the text was cut.
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
    """A parser waits for text and there will be none."""


class Reader:
    """Holds the text that is not consumed yet; `at` is where the parser stands in it."""

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        #: nothing may be forgotten: the parser may have to go back
        self.pinned = False

    @property
    def rest(self) -> str:
        return self.text[self.at :]

    def drop(self) -> None:
        """Forget what lies behind `at`."""
        if not self.pinned:
            self.text, self.at = self.text[self.at :], 0

    def wait(self) -> Parse[None]:
        """Until something has come. Raises EndedError when nothing can."""
        if self.ended:
            raise EndedError
        yield

    def starts(self, literal: str) -> bool | None:
        """Whether `literal` stands here; None: it may, when more has come."""
        found = self.text[self.at : self.at + len(literal)]
        if found == literal:
            return True
        return None if not self.ended and literal.startswith(found) else False

    def any_of(self, literals: tuple[str, ...]) -> Parse[str | None]:
        """The first of `literals` that stands here, consumed; None: none of them."""
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
        """Step over any of `characters`. Returns the next one; "" at the end."""
        while (here := (yield from self.peek())) and here in characters:
            self.at += 1
        return here

    def match(self, pattern: re.Pattern[str], most: int) -> Parse[str]:
        """The longest text here, at most `most` characters, of which each beginning matches `pattern`."""
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
        found, self.at = self.text[self.at : end], end
        return found
