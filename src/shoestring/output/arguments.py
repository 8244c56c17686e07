"""Write the arguments of one call as one JSON object, piece by piece."""

from __future__ import annotations

from collections.abc import Callable

from shoestring.output.schemas.types import TEXT, Kinds, Tool, from_literal, from_text, json_string, json_text

_NULL = "null"


class Arguments:
    """Calls `emit` with pieces of JSON that concatenate to an object. Strings stream; other values come whole.

    Between `key` and `end_value` a value is either `text` pieces (bare text, whose type the schema decides), `string`
    pieces (a quoted literal), or one `literal`.
    """

    def __init__(self, tool: Tool, emit: Callable[[str], None]) -> None:
        self._tool = tool
        self._emit = emit
        self._first = True
        self._kinds: Kinds = frozenset()
        #: text of the current value that is not emitted yet; None: no value is open
        self._held: str | None = None
        self._streaming = False
        self._quoted = False

    def key(self, name: str) -> None:
        """Start a value."""
        self._emit(("{" if self._first else ", ") + json_string(name) + ": ")
        self._first = False
        self._kinds = self._tool.kinds(name)
        self._held, self._streaming, self._quoted = "", False, False

    def text(self, piece: str) -> None:
        """Add text of a value without quotes."""
        self._held = (self._held or "") + piece
        if not self._streaming and self._kinds and self._kinds <= {"string", _NULL}:
            # If null is allowed, `null` alone is not a string: hold back text that may become it.
            self._streaming = self._kinds == TEXT or not _NULL.startswith(self._held.strip())
            if self._streaming:
                self._emit('"')
        self._flow()

    def string(self, piece: str) -> None:
        """Add unescaped text of a quoted value."""
        self._held, self._quoted = (self._held or "") + piece, True
        if not self._streaming and (not self._kinds or "string" in self._kinds):
            self._streaming = True
            self._emit('"')
        self._flow()

    def literal(self, text: str) -> None:
        """Write a complete value from JSON or a Python literal."""
        self._emit(from_literal(text, self._kinds))
        self._held = None

    def end_value(self) -> None:
        """End the value."""
        if self._streaming:
            self._emit('"')
        elif self._held is not None:
            if self._kinds == TEXT and not self._quoted:
                self._emit(json_string(self._held))
            else:
                self._emit(from_text(self._held, self._kinds))
        self._held, self._streaming = None, False

    def close(self) -> None:
        """End the object, and the value that is still open."""
        if self._held is not None or self._streaming:
            self.end_value()
        self._emit("{}" if self._first else "}")

    def _flow(self) -> None:
        if self._streaming and self._held:
            self._emit(json_text(self._held))
            self._held = ""
