"""Parse JSON whose depth, number of values and length of numbers are counted over the raw bytes first.

A few megabytes of brackets become gigabytes of Python objects, or end the interpreter's stack. So a text is refused
before it is parsed. Counting and parsing let other threads run: a window takes a few milliseconds, and a text of many
values goes through the json module's own Python code.
"""

from __future__ import annotations

import json
import json.scanner
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NoReturn

DEPTH = 128
#: Values of a text. Twice as many tokens as the largest context take a list.
VALUES = 1 << 20
#: Digits of a number. Python converts thousands of them in quadratic time.
DIGITS = 400

_WINDOW = 64 << 10
#: A text of more values is parsed in Python: json's C code keeps the interpreter lock, 60 ms for so many keys.
_PARSED_AT_ONCE = 1 << 16
_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_ZEROS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_STEPS = {byte: 1 if byte in b"[{" else -1 for byte in _BRACKETS}
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_BOM = b"\xef\xbb\xbf"


class BoundError(ValueError):
    """A JSON text is beyond a limit. The message says which, without the name of the text."""


@dataclass(frozen=True)
class Size:
    """Of a JSON text: its values (one more at most), how many of them are objects and arrays, and its bytes.

    width: most bytes of a character in the parsed strings.
    """

    values: int
    containers: int
    length: int
    width: int

    @property
    def text_bytes(self) -> int:
        """Most bytes of the decoded text, and again of the strings of the parsed value."""
        return 2 * self.width * self.length

    @property
    def object_bytes(self) -> int:
        """An estimate of the bytes of its parsed objects, without their texts."""
        return 100 * self.values + 200 * self.containers


def loads(data: bytes | str, *, depth: int = DEPTH, values: int = VALUES, containers: int | None = None) -> Any:
    """The value of a JSON text in UTF-8. Raises BoundError beyond a limit, ValueError for other texts and for NaN."""
    return parse(data, check(data, depth=depth, values=values, containers=containers))


def parse(data: bytes | str, size: Size) -> Any:
    """The value of a text of this size, as `check` counts it. Raises ValueError."""
    text = data.removeprefix(_BOM).decode() if isinstance(data, bytes) else data
    decoder = json.JSONDecoder(parse_constant=_refuse)
    if size.values > _PARSED_AT_ONCE:
        decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    return decoder.decode(text)


def check(data: bytes | str, *, depth: int = DEPTH, values: int = VALUES, containers: int | None = None) -> Size:
    """Count a JSON text. containers: the most objects and arrays, None: as many as values.

    Raises BoundError if it nests deeper than `depth`, has more values or containers, or a number of more than DIGITS
    digits. Reads brackets, commas and digits outside of strings; it does not decide whether the text is valid.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    nesting = commas = opened = 0
    in_string = escaped = wide = False
    digits = b""
    for start in range(0, len(raw), _WINDOW):
        window = raw[start : start + _WINDOW]
        wide = wide or not window.isascii() or b"\\u" in window or (escaped and window[:1] == b"u")
        if escaped:
            window, escaped = window[1:], False
        if b"\\" in window:
            backslashes = len(window) - len(window.rstrip(b"\\"))
            escaped = backslashes % 2 == 1
            window = _ESCAPE.sub(b"", window[:-1] if escaped else window)
        parts = window.split(b'"')
        outside = b"".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0
        digits = (digits + outside).translate(_ZEROS)
        if b"0" * (DIGITS + 1) in digits:
            raise BoundError(f"it has a number of more than {DIGITS} digits")
        digits = digits[-DIGITS:]
        commas += outside.count(b",")
        opened += outside.count(b"[") + outside.count(b"{")
        if commas + opened > values:
            raise BoundError(f"it has more than {values:,} values")
        if containers is not None and opened > containers:
            raise BoundError(f"it has more than {containers:,} objects and lists")
        nesting, highest = _nesting(nesting, outside.translate(None, _NO_BRACKETS))
        if highest > depth:
            raise BoundError(f"it nests deeper than {depth} levels")
        if nesting < 0:
            break  # a parser stops here, too
    return Size(commas + opened, opened, len(raw), 4 if wide else 1)


def _nesting(nesting: int, brackets: bytes) -> tuple[int, int]:
    """The nesting after the brackets, and the highest. Stops with -1 at a closing bracket without a partner."""
    levels = list(accumulate(map(_STEPS.__getitem__, brackets), initial=nesting))
    if min(levels) < 0:
        levels = levels[: next(number for number, level in enumerate(levels) if level < 0) + 1]
    return levels[-1], max(levels)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
