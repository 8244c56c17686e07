"""Draw an answer in a terminal while it comes: Markdown by rich, thinking dim, no break inside a word.

A finished block (a paragraph, a list, a listing) is printed once and scrolls away; the one in progress is drawn again.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

from shoestring.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.segment import Segment

#: Least time between two drawings of the block in progress.
_REDRAW_SECONDS = 0.08
#: Lines of the screen that the block in progress leaves free.
_SPARE_LINES = 3
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ITEM = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)])\s")


def can_render() -> bool:
    """Whether stdout is a terminal on which lines can be drawn again."""
    if not sys.stdout.isatty():
        return False
    from rich.console import Console

    return not Console().is_dumb_terminal


class Rendered:
    """`with Rendered() as screen:` … `screen.add(text, thinking)`."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(highlight=False)
        self._live: Live = Live(console=self._console, transient=True, auto_refresh=False)
        self._thinking = False
        #: the text behind the last finished block
        self._rest = ""
        self._printed = False
        self._next = 0.0

    def __enter__(self) -> Rendered:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._finish(self._rest)
            self._live.update("", refresh=True)
        finally:
            self._live.stop()

    def add(self, text: str, thinking: bool) -> None:
        """Add text to the answer, or to its thinking."""
        if thinking != self._thinking:
            self._finish(self._rest)
            self._rest, self._thinking = "", thinking
        self._rest += printable(text, lines=True)
        start = 0
        for end in finished(self._rest):
            self._finish(self._rest[start:end])
            start = end
        self._rest = self._rest[start:]
        now = time.monotonic()
        if now >= self._next:
            self._live.update(self._tail(), refresh=True)
            self._next = time.monotonic() + max(_REDRAW_SECONDS, 4 * (time.monotonic() - now))

    def _finish(self, block: str) -> None:
        """Print a block above the one in progress, which is empty now."""
        if not block.strip():
            return
        self._live.update("", refresh=True)
        if self._printed:
            self._console.print()
        self._console.print(_joined([*self._lines(block), []]))
        self._printed = True

    def _lines(self, block: str) -> list[list[Segment]]:
        """A block's lines on the screen, without empty ones around it."""
        from rich.text import Text

        drawn = Text(block.strip(), "dim") if self._thinking else markdown(block)
        lines = self._console.render_lines(drawn, pad=False)
        full = [number for number, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
        return lines[full[0] : full[-1] + 1] if full else []

    def _tail(self) -> RenderableType:
        """The block in progress, or its last lines if the screen is too low for all."""
        if not self._rest.strip():
            return ""
        shown = self._lines(self._rest)[-max(1, self._console.height - _SPARE_LINES) :]
        return _joined([[], *shown] if self._printed else shown)


def _joined(lines: list[list[Segment]]) -> RenderableType:
    from rich.segment import Segment, Segments

    return Segments([segment for line in lines for segment in (*line, Segment.line())][:-1])


def markdown(text: str) -> RenderableType:
    """Markdown as a model writes it: line breaks count, HTML is text, and a link shows its address."""
    from markdown_it import MarkdownIt
    from rich.markdown import Markdown

    drawn = Markdown("", code_theme="ansi_dark", hyperlinks=False)
    drawn.parsed = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).parse(text)
    for token in drawn.parsed:
        for inner in token.children or ():
            if inner.type == "softbreak":
                inner.type = "hardbreak"
    return drawn


def finished(text: str) -> list[int]:
    """Where finished blocks end: before a line that begins a new one after an empty line.

    Code between fences is one block, and so is a list with its items' paragraphs.
    """
    ends: list[int] = []
    at = 0
    fence = ""
    empty = False
    lines = text.splitlines(keepends=True)
    first = ""
    for line in lines:
        mark = _FENCE.match(line)
        begins = not fence and empty and line.strip() and not line[0].isspace()
        if begins and not (_ITEM.match(line) and _ITEM.match(first)):
            # Without its end, an item's mark may not be one yet: "1" of "10 apples", "-" of "---".
            if not line.endswith("\n") and re.fullmatch(r"[-*+\d.)]{1,10}", line):
                break
            ends.append(at)
            first = ""
        if mark is not None and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        first = first or line
        empty = not line.strip() and not fence
        at += len(line)
    return ends
