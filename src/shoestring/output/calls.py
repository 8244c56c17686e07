"""Parse tool calls in the formats that models write, while the text streams in.

    <function=NAME> <parameter=KEY> VALUE </parameter> </function>      Qwen 3.5
    {"name": NAME, "parameters": {KEY: VALUE}}                          Llama 4; also "arguments", "type", lists
    [NAME(KEY=VALUE), NAME()]                                           Llama 4
    <function=NAME>{KEY: VALUE}</function>                              Llama 4

The parser announces a call once its name is complete and matches a tool. Until then it can go back and treat the input
as text. After that it repairs malformed input, so that the arguments always form one JSON object: a value that cannot
be parsed becomes a string, and text that does not belong to the call follows it as content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NoReturn

from shoestring.output.arguments import Arguments
from shoestring.output.events import Event, ToolCall, ToolCallArguments, ToolCallEnd
from shoestring.output.literals import read_literal, read_string
from shoestring.output.reader import SPACE, EndedError, Parse, Reader
from shoestring.output.schemas.types import Tool
from shoestring.output.syntax import Syntax

_TAG_NAME = re.compile(r"[^<>\n]+")
_NAME = re.compile(r"[A-Za-z_][\w.\-]*")
_KEY = re.compile(r"[A-Za-z_]\w*")
_MOST_NAME = 256
_FUNCTION, _END_FUNCTION = "<function=", "</function>"
_PARAMETER, _END_PARAMETER = "<parameter=", "</parameter>"
_HEAD_KEYS = ("type", "id", "name", "function", "parameters", "arguments")


class _MalformedError(Exception):
    """The input no longer matches a call."""


class Calls:
    """Parses calls and emits their events. most: maximum calls per answer; None: no limit."""

    def __init__(
        self,
        reader: Reader,
        syntax: Syntax,
        tools: Mapping[str, Tool],
        emit: Callable[[Event], None],
        new_id: Callable[[], str],
        most: int | None = None,
    ) -> None:
        self._reader, self._syntax, self._tools = reader, syntax, tools
        self._emit, self._new_id, self._most = emit, new_id, most
        self._arguments: Arguments | None = None
        #: number of calls announced, and of those complete
        self.begun = self.complete = 0
        #: of the current call: its tool, its format ("xml", "json", "python"), the text read after the name
        self.announced = ("", "", "")
        #: the answer ended by itself: open calls may be closed
        self.mend = False
        #: parsing inside thinking, where a call may turn out to be a draft
        self.drafting = False
        self._opener = ""

    @property
    def writing(self) -> bool:
        """Whether the parser is inside a call's arguments."""
        return self._arguments is not None

    @property
    def full(self) -> bool:
        """Whether no further call is allowed, or there are no tools."""
        return not self._tools or (self._most is not None and self.begun >= self._most)

    def read(self, opener: str) -> Parse[bool]:
        """Parse calls after `opener` (a mark, or "" if a call starts without one).

        Returns False if there is no call; the reader's position is then undefined. True: it is after the calls.
        """
        before, self._opener = self.begun, opener
        try:
            while not self.full and (yield from self._one(opener, self.begun == before)):
                pass
            if self.full and self.begun > before:  # the last allowed call: its closing mark still belongs to it
                yield from self._reader.after_space(self._syntax.closers)
        except (EndedError, _MalformedError):
            cut = self._reader.ended and not self.mend
            if self._arguments is not None and not cut:
                self._end()
        return self.begun > before

    def read_draft(self, opener: str, end_think: str) -> Parse[bool]:
        """Parse calls inside thinking: models draft calls there, and some forget to end thinking before a real one.

        They count if only the end of thinking is between them and the end of the answer; until that is known, no event
        is emitted. Returns False if they are text.
        """
        emit, begun, complete = self._emit, self.begun, self.complete
        held_back: list[Event] = []
        self._emit, self.drafting = held_back.append, True
        is_call, reader = True, self._reader
        while is_call:
            is_call = yield from self.read(opener)
            reader.pinned = True
            yield from reader.skip()
            opener = (yield from reader.any_of(self._syntax.openers)) or ""
            if not opener:
                break
        if is_call and self._arguments is None:
            yield from reader.skip()
            if end_think:
                yield from reader.any_of((end_think,))
            is_call = (yield from reader.skip()) == ""
        self._emit, self.drafting = emit, False
        if is_call and self._arguments is None:
            for event in held_back:
                emit(event)
            return True
        self.begun, self.complete, self._arguments = begun, complete, None
        return False

    def _one(self, opener: str, first: bool) -> Parse[bool]:
        """Parse one call. Returns False if there are no more."""
        reader = self._reader
        start, reader.pinned = reader.at, True
        here = yield from reader.skip(SPACE if first else SPACE + ",;")
        if not first and (yield from reader.any_of(self._syntax.closers)):
            return False
        begun = self.begun
        try:
            is_call = yield from self._form(here, opener)
        except EndedError:
            if self.begun > begun:
                raise
            is_call = False
        if not is_call:
            reader.at = start
        return is_call

    def _form(self, here: str, opener: str) -> Parse[bool]:
        if here == "<" and (yield from self._reader.any_of((_FUNCTION,))):
            return (yield from self._function())
        if here == "{":
            return (yield from self._object(bare=opener == ""))
        if here == "[":
            self._reader.at += 1
            return (yield from self._list())
        if opener and opener == self._syntax.python:
            return (yield from self._python_call())
        return False

    # ---- events

    def _begin(self, name: str, form: str) -> Arguments:
        self.announced = (name, form, self._reader.rest)
        index, self.begun = self.begun, self.begun + 1
        self._emit(ToolCall(index, self._new_id(), name))

        def emit(piece: str) -> None:
            if piece:
                self._emit(ToolCallArguments(index, piece))

        self._reader.pinned = self.drafting
        self._arguments = Arguments(self._tools[name], emit)
        return self._arguments

    def _end(self) -> None:
        assert self._arguments is not None
        self._arguments.close()
        self._emit(ToolCallEnd(self.begun - 1))
        self._arguments, self.complete = None, self.complete + 1

    # ---- <function=NAME>

    def _function(self) -> Parse[bool]:
        reader = self._reader
        name = (yield from reader.match(_TAG_NAME, _MOST_NAME)).strip(" \t\"'")
        if name not in self._tools or not (yield from reader.any_of((">",))):
            return False
        xml = self._syntax.call != ""
        arguments = self._begin(name, ("xml" if self._opener else "") if xml else "json")
        if (yield from reader.skip()) == "{":
            yield from self._members(arguments)
            yield from reader.skip()
            yield from reader.any_of((_END_FUNCTION,))
        else:
            yield from self._parameters(arguments)
            if self._opener:  # the space before its closing mark belongs to the call
                closer = yield from reader.after_space(self._syntax.closers)
                reader.at -= len(closer or "")
        self._end()
        return True

    def _parameters(self, arguments: Arguments) -> Parse[None]:
        reader = self._reader
        while True:
            reader.drop()
            yield from reader.skip()
            start = reader.at
            tag = yield from reader.any_of((_PARAMETER, _END_FUNCTION, *self._syntax.closers))
            if tag == _END_FUNCTION:
                return
            if tag in self._syntax.closers:  # belongs to the list of calls, not to this one
                reader.at = start
                return
            if tag is None:
                yield from self._fail()
            key = yield from reader.match(_TAG_NAME, _MOST_NAME)
            if not (yield from reader.any_of((">",))):
                reader.at = start
                raise _MalformedError
            arguments.key(key.strip(" \t\"'"))
            yield from reader.any_of(("\n", "\r\n"))
            yield from self._value_to_tag(arguments)
            arguments.end_value()

    def _value_to_tag(self, arguments: Arguments) -> Parse[None]:
        """Parse text up to its closing tag, without the line breaks after the opening and before the closing tag."""
        reader, plain = self._reader, self._syntax.plain
        halts = {"\n", "<", *(mark[0] for mark in self._syntax.closers)}
        while True:
            text = reader.run(halts)
            if text:
                arguments.text(plain(text))
            reader.drop()
            here = yield from reader.need()
            if (yield from self._closes()):
                return
            arguments.text(plain(here))
            reader.at += 1

    def _closes(self) -> Parse[bool]:
        """Whether a value ends here; if so, the reader is after its closing tag.

        A closing tag inside a value (such as a file about this format) must not end it. So a tag counts only before
        something that can follow it: another parameter, or the end of the function and then of the call. If a tag is
        missing, the end of the call must be followed by the end of the answer or by another call.
        """
        reader, closers = self._reader, self._syntax.closers
        start = reader.at
        yield from reader.any_of(("\n",))
        if (yield from reader.any_of((_END_PARAMETER,))):
            after = reader.at
            over = yield from self._over()
            tag = yield from reader.any_of((_PARAMETER, _END_FUNCTION, *closers))
            fits = over or tag is not None
            if tag == _END_FUNCTION:
                fits = yield from self._follows((*closers, *self._syntax.openers, _FUNCTION))
        else:
            after = reader.at
            tag = yield from reader.any_of((_END_FUNCTION, *closers))
            if tag == _END_FUNCTION:
                yield from reader.skip()
                yield from reader.any_of(closers)
            fits = tag is not None and (yield from self._follows((*self._syntax.openers, _FUNCTION)))
        reader.at = after if fits else start
        return fits

    def _follows(self, literals: tuple[str, ...]) -> Parse[bool]:
        """Whether the answer ends here or continues with one of `literals`."""
        return (yield from self._over()) or (yield from self._reader.any_of(literals)) is not None

    def _over(self) -> Parse[bool]:
        """Skip white space; whether the answer ends here by itself. Raises EndedError if it was cut off."""
        if (yield from self._reader.skip()) != "":
            return False
        if not self.mend:
            raise EndedError
        return True

    # ---- {"name": NAME, "parameters": {…}}

    def _object(self, bare: bool) -> Parse[bool]:
        reader = self._reader
        reader.at += 1
        name: str | None = None
        early_arguments: str | None = None
        done = False
        while (here := (yield from reader.skip(SPACE + ","))) != "}":
            key = (yield from self._quoted(here)) if here in ('"', "'") else None
            if key not in _HEAD_KEYS or (yield from reader.skip()) != ":":
                if done:
                    raise _MalformedError
                return False
            reader.at += 1
            here = yield from reader.skip()
            if key == "function" and here == "{":
                done = yield from self._object(bare)
                if not done:
                    return False
            elif key in ("name", "function") and not done:
                name = (yield from self._quoted(here)) if here in ('"', "'") else ""
                if name not in self._tools:
                    return False
            elif key in ("parameters", "arguments") and name is not None and here == "{" and not done:
                yield from self._members(self._begin(name, "json"))
                done = True
            else:
                value = yield from read_literal(reader, ",}")
                if key in ("parameters", "arguments"):
                    early_arguments = value
        reader.at += 1
        if not done:
            if name is None or (early_arguments is None and bare):
                return False
            arguments = self._begin(name, "")
            if early_arguments is not None:
                yield from self._again(arguments, early_arguments)
        if self._arguments is not None:
            self._end()
        return True

    def _again(self, arguments: Arguments, text: str) -> Parse[None]:
        """Parse arguments that came before the name, or were written as a string of JSON."""
        outer, self._reader = self._reader, Reader()
        self._reader.text, self._reader.ended = text.strip(), True
        try:
            quote = self._reader.text[:1]
            if quote in ('"', "'"):
                self._reader.text, self._reader.at = (yield from self._quoted(quote)).strip(), 0
            if self._reader.text[:1] == "{":
                yield from self._members(arguments)
        except (EndedError, _MalformedError):
            pass
        finally:
            self._reader = outer

    def _quoted(self, quote: str) -> Parse[str]:
        """Parse a complete string."""
        pieces: list[str] = []
        self._reader.at += 1
        yield from read_string(self._reader, quote, pieces.append)
        return "".join(pieces)

    def _members(self, arguments: Arguments) -> Parse[None]:
        """Parse {KEY: VALUE, …}; the reader is at the opening brace."""
        reader = self._reader
        reader.at += 1
        while (here := (yield from reader.skip(SPACE + ","))) != "}":
            key = (yield from self._quoted(here)) if here in ('"', "'") else (yield from reader.match(_KEY, _MOST_NAME))
            if (yield from reader.skip()) != ":":
                if key:
                    raise _MalformedError
                yield from self._fail()
            reader.at += 1
            yield from self._value(arguments, key, ",}")
        reader.at += 1

    def _fail(self) -> Parse[NoReturn]:
        """Raise EndedError at the end of the text, else _MalformedError."""
        yield from self._reader.need()
        raise _MalformedError

    def _value(self, arguments: Arguments, key: str, ends: str) -> Parse[None]:
        reader, plain = self._reader, self._syntax.plain
        arguments.key(self._syntax.plain(key))
        yield from reader.skip()
        quote = yield from reader.any_of(('"""', "'''", '"', "'"))
        if quote is not None:
            yield from read_string(reader, quote, lambda piece: arguments.string(plain(piece)))
            arguments.string("")
            arguments.end_value()
        else:
            reader.drop()
            try:
                literal = yield from read_literal(reader, ends)
            except EndedError:
                if self.mend:
                    arguments.literal(plain(reader.text))
                raise
            arguments.literal(plain(literal))
        reader.drop()
        yield from reader.skip()
        if (yield from reader.need()) not in ends:
            raise _MalformedError

    # ---- [NAME(KEY=VALUE), …]

    def _list(self) -> Parse[bool]:
        reader = self._reader
        before = self.begun
        while not self.full:
            start, reader.pinned = reader.at, True
            here = yield from reader.skip(SPACE if self.begun == before else SPACE + ",")
            if here == "]" and self.begun > before:
                reader.at += 1
                break
            if not (yield from (self._object(bare=True) if here == "{" else self._python_call())):
                reader.at = start
                break
        return self.begun > before

    def _python_call(self) -> Parse[bool]:
        reader = self._reader
        name = yield from reader.match(_NAME, _MOST_NAME)
        if name not in self._tools or (yield from reader.peek()) != "(":
            return False
        arguments = self._begin(name, "python")
        reader.at += 1
        place = 0
        while (here := (yield from reader.skip(SPACE + ","))) != ")":
            start = reader.at
            key = yield from reader.match(_KEY, _MOST_NAME)
            if key and (yield from reader.skip()) == "=":
                reader.at += 1
            else:  # a value without a name takes the schema's next name
                reader.at = start
                names = list(self._tools[name].parameters.get("properties") or ())
                if here == "" or place >= len(names):
                    yield from self._fail()
                key = names[place]
            place += 1
            yield from self._value(arguments, key, ",)")
        reader.at += 1
        self._end()
        return True
