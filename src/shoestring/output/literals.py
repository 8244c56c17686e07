"""Parse JSON and Python values as they arrive: strings piece by piece, unescaped; other values whole."""

from __future__ import annotations

import re
from collections.abc import Callable

from shoestring.output.reader import Parse, Reader

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "a": "\a", "v": "\v", "\n": ""}
_HEX = {"u": 4, "x": 2, "U": 8}
_DIGITS = re.compile(r"[0-9a-fA-F]+")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
#: Brackets nested deeper than this are not tracked.
_MOST_DEEP = 200


def read_string(reader: Reader, quote: str, emit: Callable[[str], None]) -> Parse[None]:
    """Parse a string after its opening quote, including the closing one; `emit` gets it in pieces.

    Unescapes JSON's and Python's escapes and leaves others unchanged; a raw line break is a line break.
    """
    while True:
        text = reader.run((quote[0], "\\"))
        if text:
            emit(text)
            reader.drop()
        here = yield from reader.need()
        if here == "\\":
            emit((yield from _escape(reader)))
            reader.drop()
        elif (yield from reader.any_of((quote,))):
            return
        else:
            emit(here)
            reader.at += 1


def _escape(reader: Reader) -> Parse[str]:
    reader.at += 1
    letter = yield from reader.peek()
    if letter == "":
        return "\\"
    if letter not in _HEX:
        reader.at += 1
        return _ESCAPES.get(letter, letter if letter in "\"'\\/" else "\\" + letter)
    code = yield from _code(reader, letter)
    if code is None:
        return "\\"
    if 0xD800 <= code < 0xDC00:  # half of a pair: the other half must follow
        start = reader.at
        if (yield from reader.any_of(("\\",))) and (yield from reader.peek()) == "u":
            low = yield from _code(reader, "u")
            if low is not None and 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((code - 0xD800) << 10) + low - 0xDC00)
        reader.at = start
    return "\ufffd" if 0xD800 <= code < 0xE000 or code > 0x10FFFF else chr(code)


def _code(reader: Reader, letter: str) -> Parse[int | None]:
    """Parse the number after \\u, \\x or \\U. Returns None and consumes nothing if there is none."""
    start, length = reader.at, _HEX[letter]
    reader.at += 1
    digits = yield from reader.match(_DIGITS, length)
    if len(digits) == length:
        return int(digits, 16)
    reader.at = start
    return None


def read_literal(reader: Reader, ends: str) -> Parse[str]:
    """Parse any other value, up to but without one of the characters `ends` outside brackets and strings."""
    start, stack, quote = reader.at, "", ""
    while True:
        here = yield from reader.need()
        if quote:
            if here == "\\":
                reader.at += 1
                if (yield from reader.peek()) == "":
                    continue
            elif here == quote:
                quote = ""
        elif not stack and here in ends:
            return reader.text[start : reader.at]
        elif here in "\"'":
            quote = here
        elif here in _CLOSING and len(stack) < _MOST_DEEP:
            stack += _CLOSING[here]
        elif stack and here == stack[-1]:
            stack = stack[:-1]
        reader.at += 1
