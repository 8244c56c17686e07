"""Put pictures into a prompt: each placeholder that the chat template wrote becomes markers, timestamps and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoestring.checkpoint.text.text_work import proceed
from shoestring.engine.pictures.placed import PlacedPart, PromptPictures
from shoestring.errors import RequestError
from shoestring.media import qwen3_5
from shoestring.media.prepared import Part, Pixels, Prepared
from shoestring.ops import Int64

#: Encodes a text; with True, spellings of added tokens become these.
Encode = Callable[[str, bool], Sequence[int]]

#: What templates write for a picture and for a video. Qwen's stands between markers that the template writes too.
_PLACEHOLDERS = {
    "qwen3_5": {"image": qwen3_5.PICTURE_ROW, "video": qwen3_5.VIDEO_ROW},
    "llama4": {"image": "<|image|>"},
}


@dataclass(frozen=True)
class Expanded:
    """A prompt's tokens with a placeholder for every row; where its pictures end; the pictures; new positions.

    places: position before the expansion → after it, one more than there were tokens.
    """

    tokens: tuple[int, ...]
    ends: tuple[int, ...]
    pictures: PromptPictures
    places: tuple[int, ...]


class Loader:
    """The pixels of a picture's parts, decoded once. A part is forgotten as soon as it is loaded."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._decoded: dict[int, Pixels] = {}
        self._rest: Iterator[tuple[int, Pixels]] | None = None

    def decode(self) -> None:
        """Decode all. Raises RequestError for damaged data."""
        for number, pixels in enumerate(self._prepared.pixels()):
            proceed()
            self._decoded[number] = pixels

    def load(self, number: int) -> Any:
        """What the tower reads of a part."""
        pixels = self._decoded.pop(number, None)
        if pixels is None:
            pixels = self._read(number)
        return pixels.values()

    def _read(self, number: int) -> Pixels:
        """Decode up to a part; the next one goes on from there."""
        for again in (False, True):
            if self._rest is None or again:
                self._rest = enumerate(self._prepared.pixels())
            for place, pixels in self._rest:
                if place == number:
                    return pixels
                if place > number:
                    break
        raise RequestError(f"{self._prepared.source.name} has changed while it was read")


def missing_placeholders(tokens: Sequence[int], prepared: Sequence[Prepared], family: str, encode: Encode) -> bool:
    """Whether the template wrote other placeholders than there are pictures and videos, or in another order."""
    kinds = _placeholder_kinds(family, encode)
    return [kinds[token] for token in tokens if token in kinds] != [each.source.kind for each in prepared]


def expand(
    tokens: Sequence[int], prepared: Sequence[Prepared], family: str, encode: Encode
) -> tuple[Expanded, list[Loader]]:
    """Raises RequestError for a template that shows other pictures, CapacityError for more tokens than fit."""
    if missing_placeholders(tokens, prepared, family, encode):
        raise RequestError(
            "the model's chat template does not show every picture and video of these messages: put them into "
            "messages of the user"
        )
    proceed(len(tokens) + sum(part.count for each in prepared for part in each.parts))
    kinds = _placeholder_kinds(family, encode)
    waiting = iter(prepared)
    ids: list[int] = []
    places, ends, parts, loaders = [], [], [], []
    for token in tokens:
        places.append(len(ids))
        if token not in kinds:
            ids.append(token)
            continue
        each = next(waiting)
        loader = Loader(each)
        loaders.append(loader)
        pieces = each.pieces if family == "llama4" else each.pieces[1:-1]
        number = 0
        for piece in pieces:
            if piece.kind == "text":
                ids += encode(piece.text, False)
                continue
            found = encode(piece.text, True)
            if len(found) != 1:
                raise RequestError(f"the model's vocabulary has no token {piece.text}: it reads no pictures")
            if piece.kind == "rows":
                parts.append(PlacedPart(len(ids), each.parts[number], _loading(loader, number)))
                number += 1
            ids += [*found] * piece.count
        ends.append(len(ids))
    places.append(len(ids))
    proceed(len(ids))
    flat = all(each.flat for each in prepared)
    pictures = PromptPictures(tuple(parts), rotary_positions(len(ids), () if flat else parts))
    return Expanded(tuple(ids), tuple(ends), pictures, tuple(places)), loaders


def rotary_positions(rows: int, parts: Sequence[PlacedPart]) -> Int64:
    """Time, height and width position of every row, [rows, 3].

    A text's three are equal. The rows of a part stand at the part's time; their height and width count from there. What
    follows stands behind the largest of them.
    """
    positions = np.empty((rows, 3), np.int64)
    at = now = 0
    for placed in parts:
        text = placed.start - at
        positions[at : placed.start] = np.arange(now, now + text)[:, None]
        now += text
        positions[placed.start : placed.end] = now + _inside(placed.part)
        now += max(placed.part.rows, placed.part.columns)
        at = placed.end
    positions[at:] = np.arange(now, now + rows - at)[:, None]
    return positions


def _inside(part: Part) -> Int64:
    inside = np.zeros((part.rows, part.columns, 3), np.int64)
    inside[:, :, 1] = np.arange(part.rows)[:, None]
    inside[:, :, 2] = np.arange(part.columns)
    return inside.reshape(-1, 3)


def _placeholder_kinds(family: str, encode: Encode) -> dict[int, str]:
    kinds = {}
    for kind, name in _PLACEHOLDERS[family].items():
        ids = encode(name, True)
        if len(ids) == 1:
            kinds[ids[0]] = kind
    return kinds


def _loading(loader: Loader, number: int) -> Callable[[], Any]:
    return lambda: loader.load(number)
