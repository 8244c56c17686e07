"""Arguments of one call, written as one JSON object piece by piece."""

from __future__ import annotations

from collections.abc import Callable

from shoestring.output.schema import TEXT, Kinds, Tool, from_literal, from_text, json_string, json_text

_NULL = "null"


class Arguments:
    """Calls `emit` with pieces of JSON that join to an object. A string streams; other values come whole.

    Between `key` and `end_value` a value is either `text` pieces (bare text, of which the schema decides what it
    is), or `string` pieces (a literal in quotes), or one `literal`.
    """

    def __init__(self, tool: Tool, emit: Callable[[str], None]) -> None:
        self._tool = tool
        self._emit = emit
        self._first = True
        self._kinds: Kinds = frozenset()
        #: None: no value is open; else what waits to be written
        self._held: str | None = None
        self._streaming = False
        self._quoted = False

    def key(self, name: str) -> None:
        """A value begins."""
        self._emit(("{" if self._first else ", ") + json_string(name) + ": ")
        self._first = False
        self._kinds = self._tool.kinds(name)
        self._held, self._streaming, self._quoted = "", False, False

    def text(self, piece: str) -> None:
        """More of a value without quotes."""
        self._held = (self._held or "") + piece
        if not self._streaming and self._kinds and self._kinds <= {"string", _NULL}:
            # With null allowed, `null` alone is no text: hold what may become it.
            self._streaming = self._kinds == TEXT or not _NULL.startswith(self._held.strip())
            if self._streaming:
                self._emit('"')
        self._flow()

    def string(self, piece: str) -> None:
        """More of a value that was written in quotes, escapes undone."""
        self._held, self._quoted = (self._held or "") + piece, True
        if not self._streaming and (not self._kinds or "string" in self._kinds):
            self._streaming = True
            self._emit('"')
        self._flow()

    def literal(self, written: str) -> None:
        """A whole value as JSON or a Python literal."""
        self._emit(from_literal(written, self._kinds))
        self._held = None

    def end_value(self) -> None:
        """The value is complete."""
        if self._streaming:
            self._emit('"')
        elif self._held is not None:
            if self._kinds == TEXT and not self._quoted:
                self._emit(json_string(self._held))
            else:
                self._emit(from_text(self._held, self._kinds))
        self._held, self._streaming = None, False

    def close(self) -> None:
        """The object is complete; a value that is still open ends here."""
        if self._held is not None or self._streaming:
            self.end_value()
        self._emit("{}" if self._first else "}")

    def _flow(self) -> None:
        if self._streaming and self._held:
            self._emit(json_text(self._held))
            self._held = ""
