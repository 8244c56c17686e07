"""Parse JSON whose depth and number of values are counted over the raw bytes first.

A few megabytes of brackets become gigabytes of Python objects, or end the interpreter's stack. So a text is refused
before it is parsed. The count runs in windows and gives other threads a turn between them.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEPTH = 128
#: Values of a request. Twice as many tokens as the largest context take a list.
VALUES = 1 << 20

_WINDOW = 64 << 10
#: All bytes except those that can change the depth, separate values, or begin, end or escape in a string.
_PLAIN = bytes(set(range(256)) - set(b'"\\[]{},'))
_TOKEN = re.compile(rb'\\.|["\[\]{},]|\\$', re.DOTALL)


class BoundError(ValueError):
    """A JSON text nests too deep or has too many values. The message says which, without the name of the text."""


def loads(data: bytes | str, *, depth: int = DEPTH, values: int = VALUES) -> Any:
    """The value of a JSON text. Raises BoundError beyond a limit, ValueError for other texts."""
    check(data, depth=depth, values=values)
    return json.loads(data)


def check(data: bytes | str, *, depth: int = DEPTH, values: int = VALUES) -> None:
    """Raise BoundError if a text nests deeper than `depth` or has more than `values` values.

    Counts brackets and commas outside of strings; it does not decide whether the text is valid.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    nesting = commas = 0
    in_string = escaped = False
    for start in range(0, len(raw), _WINDOW):
        window = raw[start : start + _WINDOW]
        if escaped:
            window, escaped = window[1:], False
        if window.endswith(b"\\") and (len(window) - len(window.rstrip(b"\\"))) % 2:
            window, escaped = window[:-1], True
        for match in _TOKEN.finditer(_structure(window)):
            token = match.group()
            if token == b'"':
                in_string = not in_string
            elif in_string or token[0] == 0x5C:
                continue
            elif token in b"[{":
                nesting += 1
                commas += 1
                if nesting > depth:
                    raise BoundError(f"it nests deeper than {depth} levels")
            elif token in b"]}":
                nesting -= 1
            else:
                commas += 1
            if commas > values:
                raise BoundError(f"it has more than {values:,} values")


def _structure(window: bytes) -> bytes:
    """The window without most bytes that mean nothing here; an escaped byte stays behind its backslash."""
    if b"\\" not in window:
        return window.translate(None, _PLAIN)
    return re.sub(rb"\\.", b"", window, flags=re.DOTALL).translate(None, _PLAIN)
