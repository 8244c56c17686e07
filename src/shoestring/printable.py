"""Make text of others safe to print: in a terminal, a log line, an error.

Control characters move a cursor, set a clipboard or end a line; bidirectional marks make a text read as another one.
"""

from __future__ import annotations

#: U+202A–202E, U+2066–2069: embedding, override and isolate marks.
_BIDIRECTIONAL = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
#: C0, DEL, C1, line and paragraph separators; surrogates, which have no UTF-8.
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000))
_VISIBLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in (*_CONTROLS, *_BIDIRECTIONAL)}
_VISIBLE |= {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
_LINES = {code: text for code, text in _VISIBLE.items() if code not in (0x09, 0x0A)}


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with control and bidirectional characters written as \x1b, \u202e. lines: keep \n and \t."""
    return text.translate(_LINES if lines else _VISIBLE)


def shortened(text: str, limit: int = 500) -> str:
    """The printable text on one line of at most `limit` characters; … stands for the rest."""
    line = printable(text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def quoted(value: object, limit: int = 100) -> str:
    """A value of others inside a message: a text in quotes, shortened; a list or an object by its kind."""
    if isinstance(value, str):
        mark = '"' if "'" in value else "'"
        return f"{mark}{shortened(value, limit)}{mark}"
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    return shortened(repr(value), limit)
