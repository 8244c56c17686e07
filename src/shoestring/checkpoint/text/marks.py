"""Marked text: strings that remember, through a template's operations, which characters a user supplied.

A chat template mixes its own `<|im_end|>` with the user's, and after rendering the two look alike. So, before
rendering, we replace the punctuation that begins and ends added tokens (`<`, `>`) in all user text by private code
points, one for one. Operations that know nothing of marks carry them along, which is safe: marked text stays text.
`Marked` makes comparisons and searches see the plain text, so that `'</think>' in content` gives the usual answer.
What is still marked after rendering came from the user.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex

from shoestring.errors import RequestError

#: Planes 15 and 16 of Unicode are private: 131,068 code points, from which each template draws at random.
_PRIVATE = (*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))


class Marks:
    """A one-for-one substitution of some characters by private code points."""

    def __init__(self, characters: Iterable[str], avoid: Iterable[str] = "") -> None:
        """avoid: characters that texts have already. Raises RequestError if they leave none."""
        used = set(avoid)
        self.to_private: dict[int, str] = {}
        self.to_plain: dict[int, str] = {}
        for character in sorted(set(characters)):
            private = _unused(used)
            used.add(private)
            self.to_private[ord(character)] = private
            self.to_plain[ord(private)] = character
        self._pairs = [(chr(private), character) for private, character in self.to_plain.items()]

    @classmethod
    def for_tokens(cls, tokens: Iterable[str], avoid: Iterable[str] = "") -> "Marks":
        """Marks for characters that every one of `tokens` contains. JSON's own escapes are never marked."""
        characters: set[str] = set()
        for token in tokens:
            usable = [c for c in token if c not in '"\\' and c.isprintable()]
            ends = {c for c in (usable[:1] + usable[-1:]) if not c.isalnum() and not c.isspace()}
            characters |= ends or set(usable[:1])
        return cls(characters, avoid)

    def present_in(self, text: str) -> bool:
        return any(str.__contains__(text, private) for private, _ in self._pairs)

    def mark(self, value: Any) -> Any:
        """Mark every string in `value` (JSON: nested lists and dicts), keys too."""
        if isinstance(value, str):
            marked = value
            for private, character in self._pairs:
                marked = str.replace(marked, character, private)
            return Marked(marked, self) if marked is not value and marked != value else value
        if isinstance(value, dict):
            return {self.mark(key): self.mark(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mark(item) for item in value]
        return value

    def wrap(self, value: Any) -> Any:
        """Convert a string with marks to `Marked`; return anything else unchanged."""
        if type(value) is str and self.present_in(value):
            return Marked(value, self)
        return value

    def plain(self, value: Any) -> Any:
        """Remove the marks from a string or a tuple of strings; return anything else unchanged."""
        if isinstance(value, tuple):
            return tuple(map(self.plain, value))
        if not isinstance(value, str):
            return value
        for private, character in self._pairs:  # ten times as fast as str.translate
            value = str.replace(value, private, character)
        return value


def _unused(used: set[str]) -> str:
    private = chr(secrets.choice(_PRIVATE))
    if private in used:  # a text that has nearly all of them leaves little to chance
        unused = [chr(code) for code in _PRIVATE if chr(code) not in used]
        if not unused:
            raise RequestError("the messages contain all private characters of Unicode (U+F0000 and above)")
        private = secrets.choice(unused)
    return private


def _on_plain_text(name: str) -> Any:
    """The method of str, applied to the plain forms of the text and of the arguments."""
    method = getattr(str, name)

    def apply(self: "Marked", *arguments: Any) -> Any:
        return method(self._plain(), *map(self._marks.plain, arguments))

    return apply


class Marked(str):
    """A str that contains marks, and compares, searches and splits as if it contained the plain characters."""

    __slots__ = ("_marks",)
    _marks: Marks

    def __new__(cls, text: str, marks: Marks) -> "Marked":
        self = super().__new__(cls, text)
        self._marks = marks
        return self

    def _plain(self) -> str:
        return self._marks.plain(self)  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        # One character stands for one, so texts of different lengths differ.
        if not isinstance(other, str) or len(self) != len(other):
            return False
        return str.__eq__(self._plain(), self._marks.plain(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = _on_plain_text("__hash__")
    __lt__, __le__, __gt__, __ge__ = map(_on_plain_text, ("__lt__", "__le__", "__gt__", "__ge__"))
    __contains__, count = map(_on_plain_text, ("__contains__", "count"))
    find, rfind, index, rindex = map(_on_plain_text, ("find", "rfind", "index", "rindex"))

    def startswith(self, prefix: Any, *bounds: Any) -> bool:
        if bounds or not isinstance(prefix, str):
            return self._plain().startswith(self._marks.plain(prefix), *bounds)
        return bool(self._marks.plain(str.__getitem__(self, slice(len(prefix)))) == self._marks.plain(prefix))

    def endswith(self, suffix: Any, *bounds: Any) -> bool:
        if bounds or not isinstance(suffix, str):
            return self._plain().endswith(self._marks.plain(suffix), *bounds)
        end = str.__getitem__(self, slice(max(0, len(self) - len(suffix)), None))
        return bool(self._marks.plain(end) == self._marks.plain(suffix))

    def _cut(self, start: int, stop: int) -> str:
        return self._marks.wrap(str.__getitem__(self, slice(start, stop)))  # type: ignore[no-any-return]

    def _pieces(self, plain: list[str], separator: int) -> list[str]:
        """Cut this text where its plain form was cut into the pieces `plain`, `separator` characters apart."""
        parts, at = [], 0
        for piece in plain:
            parts.append(self._cut(at, at + len(piece)))
            at += len(piece) + separator
        return parts

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return self._marks.wrap(str.__getitem__(self, key))  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return (self._marks.wrap(character) for character in str.__iter__(self))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if sep is None:
            return [self._marks.wrap(part) for part in str.split(self, None, maxsplit)]
        return self._pieces(self._plain().split(self._marks.plain(sep), maxsplit), len(sep))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if sep is None:
            return [self._marks.wrap(part) for part in str.rsplit(self, None, maxsplit)]
        return self._pieces(self._plain().rsplit(self._marks.plain(sep), maxsplit), len(sep))

    def splitlines(self, keepends: bool = False) -> list[str]:
        return [self._marks.wrap(line) for line in str.splitlines(self, keepends)]

    def partition(self, sep: str) -> tuple[str, str, str]:
        head, middle, tail = self._pieces(list(self._plain().partition(self._marks.plain(sep))), 0)
        return head, middle, tail

    def rpartition(self, sep: str) -> tuple[str, str, str]:
        head, middle, tail = self._pieces(list(self._plain().rpartition(self._marks.plain(sep))), 0)
        return head, middle, tail

    def lstrip(self, chars: str | None = None) -> str:
        return self._cut(len(self) - len(self._plain().lstrip(self._marks.plain(chars))), len(self))

    def rstrip(self, chars: str | None = None) -> str:
        return self._cut(0, len(self._plain().rstrip(self._marks.plain(chars))))

    def strip(self, chars: str | None = None) -> str:
        left = self._plain().rstrip(self._marks.plain(chars))
        return self._cut(len(left) - len(left.lstrip(self._marks.plain(chars))), len(left))

    def removeprefix(self, prefix: str) -> str:
        return self._cut(len(prefix), len(self)) if prefix and self.startswith(prefix) else self

    def removesuffix(self, suffix: str) -> str:
        return self._cut(0, len(self) - len(suffix)) if suffix and self.endswith(suffix) else self

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> str:
        if not old:
            return self._marks.wrap(str.replace(self, old, new, count))  # type: ignore[no-any-return]
        return self._marks.wrap(new.join(self.split(old, count)))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """The usual text, still with marks: a printed list shows `<` and not the code of its mark."""
        shown = repr(self._plain())
        for private, character in self._marks._pairs:
            shown = shown.replace(character, private)
        return shown

    def __str__(self) -> str:
        """The text itself, still `Marked`: generated code calls str before every filter."""
        return self
