"""Parser: turn an answer's text, marks included, into events: thinking, content, tool calls.

It works on text only. It holds back an end that may still become a mark, a call or a stop string, and white space that
is dropped if thinking or content ends after it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

from shoestring.output.calls import Calls
from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments
from shoestring.output.reader import SPACE, Parse, Reader
from shoestring.output.schemas.types import Tool
from shoestring.output.stops import StopStrings
from shoestring.output.syntax import Syntax


class Parser:
    """Takes text, returns events.

    trim: drop white space around thinking and content, which is only layout. continues: except at the beginning.
    """

    def __init__(
        self,
        syntax: Syntax,
        tools: Mapping[str, Tool],
        *,
        inside_thinking: bool,
        stops: Sequence[str],
        trim: bool,
        continues: bool = False,
        most_calls: int | None,
        new_id: Callable[[], str],
    ) -> None:
        self._syntax, self._trim = syntax, trim
        self._reader = Reader()
        self._events: list[Event] = []
        self.stops = StopStrings(stops)
        self.calls = Calls(self._reader, syntax, tools, self._call_event, new_id, most_calls)
        self.thinking = inside_thinking
        #: white space to show only if something follows it
        self._space = ""
        #: whether nothing of the current thinking or content is shown yet
        self._blank = trim and not continues
        #: the start of the current line of content, and whether it is inside a code block
        self._line = ""
        self._fenced = False
        self._running: Generator[None, None, None] | None = self._parse()

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found; nothing more is shown then."""
        return self.stops.found is not None

    def push(self, text: str) -> tuple[Event, ...]:
        """Add text; return its events."""
        self._reader.text += text
        self._resume()
        return self._take()

    def finish(self, mend: bool) -> tuple[Event, ...]:
        """Return events for the text held back. mend: close open calls, because the answer was not cut off."""
        self._reader.ended, self.calls.mend = True, mend
        self._resume()
        assert self._running is None
        if self.thinking:
            self._show(self._space)
        elif not self.calls.writing:
            self._show(self._space + self.stops.finish())
        return self._take()

    def _resume(self) -> None:
        if self._running is not None and next(self._running, True):
            self._running = None

    def _take(self) -> tuple[Event, ...]:
        """Return the pending events; join neighbours of the same kind."""
        joined: list[Event] = []
        for event in self._events:
            match joined[-1:], event:
                case [Thinking(before)], Thinking(text):
                    joined[-1] = Thinking(before + text)
                case [Content(before)], Content(text):
                    joined[-1] = Content(before + text)
                case [ToolCallArguments(index, before)], ToolCallArguments(same, text) if same == index:
                    joined[-1] = ToolCallArguments(index, before + text)
                case _:
                    joined.append(event)
        self._events.clear()
        return tuple(joined)

    # ---- thinking and content

    def _parse(self) -> Parse[None]:
        if not self.thinking and not self._syntax.is_token(self._syntax.think):
            yield from self._opening()
        while True:
            reader = self._reader
            reader.drop()
            halts = self._thinking_halts if self.thinking else self._content_halts
            text = reader.run(halts)
            self._say(text)
            reader.drop()
            here = yield from reader.peek()
            if here == "" or self.stopped:
                return
            if text == "" and not (yield from self._turn(here)):
                reader.drop()
                self._say(reader.text[0])
                reader.at = 1

    def _opening(self) -> Parse[None]:
        """Detect thinking that starts as text, which is possible only at the very beginning."""
        if not self._trim or not self._syntax.think:
            return
        yield from self._reader.skip()
        self.thinking = (yield from self._reader.any_of((self._syntax.think,))) is not None
        if not self.thinking:
            self._reader.at = 0

    def _turn(self, here: str) -> Parse[bool]:
        """Whether something other than text starts at the reader's first character; if so, consume it."""
        reader, syntax = self._reader, self._syntax
        if self.thinking:
            if syntax.end_think and (yield from reader.any_of((syntax.end_think,))):
                self._leave_thinking()
                return True
        else:
            if syntax.is_token(syntax.think) and here == syntax.think:
                reader.at += 1
                self.thinking, self._blank = True, self._trim
                return True
            if syntax.is_token(syntax.end_think) and here == syntax.end_think:
                reader.at += 1
                return True
        if self.calls.full:
            return False
        opener = yield from reader.any_of(syntax.openers)
        if opener is None and (self.thinking or self._line or self._fenced or here not in self._bare):
            return False
        if opener is None and here == "<":
            if (yield from reader.any_of(syntax.bare)) is None:
                return False
            reader.at = 0
        return (yield from self._calls(opener or ""))

    def _calls(self, opener: str) -> Parse[bool]:
        reader = self._reader
        reader.pinned = True
        if self.thinking:
            is_call = yield from self.calls.read_draft(opener, self._syntax.end_think)
        else:
            is_call = yield from self.calls.read(opener)
        reader.pinned = False
        if is_call:
            self.thinking, self._blank, self._line = False, self._trim, ""
        else:
            reader.at = 0
        return is_call

    def _call_event(self, event: Event) -> None:
        """Emit an event of a call. Before the first one, emit or drop the text held back."""
        if isinstance(event, ToolCall):
            rest = "" if self.thinking else (self._space + self.stops.finish()).rstrip(SPACE if self._trim else "")
            self._show(rest)
            self._space = ""
        self._events.append(event)

    def _leave_thinking(self) -> None:
        self.thinking, self._space, self._blank, self._line = False, "", self._trim, ""

    @property
    def _thinking_halts(self) -> set[str]:
        marks = (self._syntax.end_think, *(() if self.calls.full else self._syntax.openers))
        return {mark[0] for mark in marks if mark}

    @property
    def _content_halts(self) -> set[str]:
        marks = {m for m in (self._syntax.think, self._syntax.end_think) if self._syntax.is_token(m)}
        if not self.calls.full:
            marks |= {*self._syntax.openers, *self._syntax.bare}
        return {mark[0] for mark in marks}

    @property
    def _bare(self) -> set[str]:
        return {form[0] for form in self._syntax.bare}

    # ---- what is shown

    def _say(self, text: str) -> None:
        """Show text of thinking or content; hold back trailing white space and drop leading white space."""
        text = self._syntax.plain(text)
        if not self.thinking:
            self._follow_lines(text)
        if self._blank:
            text = text.lstrip(SPACE)
            self._blank = not text
        if not self.thinking:
            text = self.stops.push(text)
        text = self._space + text
        shown = text.rstrip(SPACE) if self._trim else text
        self._space = text[len(shown) :]
        self._show(shown)

    def _follow_lines(self, text: str) -> None:
        *lines, last = (self._line + text).split("\n")
        for line in lines:
            self._fenced ^= line.lstrip().startswith("```")
        self._line = last.lstrip()[:3]

    def _show(self, text: str) -> None:
        if text:
            self._events.append(Thinking(text) if self.thinking else Content(text))
