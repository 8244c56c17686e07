"""Find added tokens in a text of any length, in slices that give other threads a turn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile

from shoestring.checkpoint.text.contents import AddedToken
from shoestring.errors import TokenizerError

_SLICE = 1 << 16
_SPACE = re.compile(r"\s*")


class AddedTokens:
    """Added tokens by text, and a search for them: at each position the longest one."""

    def __init__(self, tokens: Sequence[AddedToken], source: str) -> None:
        """Raises TokenizerError if the tokens begin with each other in too many ways to search for them."""
        self.by_text = {token.text: token for token in tokens if token.text}
        self._longest = max(map(len, self.by_text), default=0)
        self._strips_left = any(token.strip_left for token in tokens)
        try:
            self._pattern = re.compile(_prefix_tree(sorted(self.by_text))) if self.by_text else None
        except (RecursionError, OverflowError, re.error):
            raise TokenizerError(f"{source}: its added tokens repeat each other's beginnings too often") from None

    def split(self, text: str, slice_size: int = _SLICE) -> Iterator[str | int]:
        """The text in slices, and the ids of the added tokens between them."""
        start = at = 0
        while at < len(text):
            stop = min(len(text), at + slice_size)
            match = self._pattern.search(text, at, stop + self._longest - 1) if self._pattern else None
            if match is None or match.start() >= stop:
                end, since = stop, max(start, at)
                if self._strips_left:  # the next token may strip the whitespace at the end
                    length = len(text[since:stop].rstrip())
                    end = since + length if length else start
                at = stop
            else:
                token = self.by_text[match.group()]
                end = match.start()
                if token.strip_left:
                    end = start + len(text[start:end].rstrip())
                at = match.end()
            yield from _slices(text, start, end, slice_size)
            start = end
            if match is not None and at == match.end():
                yield token.id
                if token.strip_right:
                    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
                start = at
        yield from _slices(text, start, len(text), slice_size)


def _slices(text: str, start: int, end: int, size: int) -> Iterator[str]:
    for at in range(start, end, size):
        yield text[at : min(end, at + size)]


def _prefix_tree(texts: Sequence[str]) -> str:
    """A pattern of sorted texts that compares each character once, and prefers the longest."""
    alternatives: list[str] = []
    for _, same in groupby(filter(None, texts), key=lambda text: text[0]):
        group = list(same)
        pairs = zip(group[0], group[-1], strict=False)  # the outermost of a sorted group share least
        prefix = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        rest = [text[len(prefix) :] for text in group]
        alternatives.append(re.escape(prefix) + (_prefix_tree(rest) if len(rest) > 1 else ""))
    return f"(?:{'|'.join(alternatives)}){'' if texts[0] else '?'}"
