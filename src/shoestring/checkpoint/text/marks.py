"""Marked text: a string that remembers, through a template's operations, which characters a user supplied.

A chat template mixes its own `<|im_end|>` with the user's, and after rendering the two look alike. So, before
rendering, the punctuation that begins and ends added tokens (`<`, `>`) is replaced in everything the user supplied
by private code points, one for one. Operations that the template does not know about carry them along (the safe
failure: such text stays text); `Marked` makes those that compare or search see the plain text, so that
`'</think>' in content` answers as it would without marks. What is still marked at the end came from the user.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex

#: Planes 15 and 16 of Unicode, private: about 131,000 code points, drawn at random a template.
_PRIVATE = range(0xF0000, 0xFFFFE)


class Marks:
    """A one-for-one substitution of some characters by private code points."""

    def __init__(self, characters: Iterable[str], avoid: str = "") -> None:
        taken = set(avoid)
        self.to_private: dict[int, str] = {}
        self.to_plain: dict[int, str] = {}
        for character in sorted(set(characters)):
            private = chr(secrets.choice(_PRIVATE))
            while private in taken:
                private = chr(secrets.choice(_PRIVATE))
            taken.add(private)
            self.to_private[ord(character)] = private
            self.to_plain[ord(private)] = character
        self._any = re.compile(f"[{''.join(map(chr, self.to_plain))}]" if self.to_plain else "(?!)")

    @classmethod
    def for_tokens(cls, tokens: Iterable[str], avoid: str = "") -> "Marks":
        """Marks without which none of `tokens` can be written. JSON's own escapes are never marked."""
        characters: set[str] = set()
        for token in tokens:
            usable = [c for c in token if c not in '"\\' and c.isprintable()]
            ends = {c for c in (usable[:1] + usable[-1:]) if not c.isalnum() and not c.isspace()}
            characters |= ends or set(usable[:1])
        return cls(characters, avoid)

    def present_in(self, text: str) -> bool:
        return self._any.search(text) is not None

    def mark(self, value: Any) -> Any:
        """`value` (JSON: nested lists and dicts) with every string in it marked, keys too."""
        if isinstance(value, str):
            marked = str.translate(value, self.to_private)
            return Marked(marked, self) if marked != value else value
        if isinstance(value, dict):
            return {self.mark(key): self.mark(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mark(item) for item in value]
        return value

    def wrap(self, value: Any) -> Any:
        """A string that carries marks, as `Marked`; anything else as it is."""
        if type(value) is str and self.present_in(value):
            return Marked(value, self)
        return value

    def plain(self, value: Any) -> Any:
        """A string without its marks; anything else as it is."""
        return str.translate(value, self.to_plain) if isinstance(value, str) else value


class Marked(str):
    """A str that holds marks and compares, searches and splits as if it held the plain characters."""

    _marks: Marks

    def __new__(cls, text: str, marks: Marks) -> "Marked":
        self = super().__new__(cls, text)
        self._marks = marks
        return self

    def _plain(self) -> str:
        return str.translate(self, self._marks.to_plain)

    def _cut(self, start: int, stop: int) -> str:
        return self._marks.wrap(str.__getitem__(self, slice(start, stop)))  # type: ignore[no-any-return]

    def _pieces(self, plain: list[str], separator: int) -> list[str]:
        """The parts of this text that lie where `plain`, parts of its plain form, lie."""
        parts, at = [], 0
        for piece in plain:
            parts.append(self._cut(at, at + len(piece)))
            at += len(piece) + separator
        return parts

    # comparing

    def __eq__(self, other: object) -> bool:
        return bool(self._plain() == self._marks.plain(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._plain())

    def __lt__(self, other: str) -> bool:
        return bool(self._plain() < self._marks.plain(other))

    def __le__(self, other: str) -> bool:
        return bool(self._plain() <= self._marks.plain(other))

    def __gt__(self, other: str) -> bool:
        return bool(self._plain() > self._marks.plain(other))

    def __ge__(self, other: str) -> bool:
        return bool(self._plain() >= self._marks.plain(other))

    # searching

    def __contains__(self, text: object) -> bool:
        return self._marks.plain(text) in self._plain()

    def find(self, sub: str, *span: Any) -> int:
        return self._plain().find(self._marks.plain(sub), *span)

    def rfind(self, sub: str, *span: Any) -> int:
        return self._plain().rfind(self._marks.plain(sub), *span)

    def index(self, sub: str, *span: Any) -> int:
        return self._plain().index(self._marks.plain(sub), *span)

    def rindex(self, sub: str, *span: Any) -> int:
        return self._plain().rindex(self._marks.plain(sub), *span)

    def count(self, sub: str, *span: Any) -> int:
        return self._plain().count(self._marks.plain(sub), *span)

    def startswith(self, prefix: Any, *span: Any) -> bool:
        return self._plain().startswith(self._either(prefix), *span)

    def endswith(self, suffix: Any, *span: Any) -> bool:
        return self._plain().endswith(self._either(suffix), *span)

    def _either(self, affix: Any) -> Any:
        return tuple(map(self._marks.plain, affix)) if isinstance(affix, tuple) else self._marks.plain(affix)

    # taking parts

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
        return self.rstrip(chars).lstrip(chars)

    def removeprefix(self, prefix: str) -> str:
        return self._cut(len(prefix), len(self)) if prefix and self.startswith(prefix) else self

    def removesuffix(self, suffix: str) -> str:
        return self._cut(0, len(self) - len(suffix)) if suffix and self.endswith(suffix) else self

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> str:
        if not old:
            return self._marks.wrap(str.replace(self, old, new, count))  # type: ignore[no-any-return]
        return self._marks.wrap(new.join(self.split(old, count)))  # type: ignore[no-any-return]

    # str(x) must not lose the marks' meaning: generated code calls it before every filter

    def __str__(self) -> str:
        return self
