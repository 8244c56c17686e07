"""Pictures in a prompt: which rows they take, their rotary positions, and the embeddings of those rows.

A row of a picture is a negative id among a sequence's tokens, a hash of all that decides the row (media/prepared.py).
So the prefix tree compares pictures as it compares tokens. A step has −1 and an embedding instead.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from shoestring.engine.pictures.store import RowStore
from shoestring.media.prepared import Part
from shoestring.ops import Float32, Int64


@dataclass(frozen=True)
class PlacedPart:
    """A part whose first row is at position `start`. load: returns what the tower reads of it, or raises."""

    start: int
    part: Part
    load: Callable[[], Any] = field(repr=False)

    @property
    def end(self) -> int:
        return self.start + self.part.count


@dataclass(frozen=True)
class PromptPictures:
    """The pictures of a prompt. parts: ascending. positions: rotary ones of every row of the prompt, [rows, 3]."""

    parts: tuple[PlacedPart, ...]
    positions: Int64

    @cached_property
    def offset(self) -> int:
        """What is added to the index of later rows: the next position is one more than the largest before it."""
        return int(self.positions.max()) + 1 - len(self.positions)

    def rotary_positions(self, first: int, end: int) -> Int64:
        """Of the rows first … end − 1, [rows, 3]; later ones than the prompt's are text."""
        index = np.arange(first, end, dtype=np.int64) + self.offset
        positions = np.repeat(index[:, None], 3, axis=1)
        known = self.positions[first:end]
        positions[: len(known)] = known
        return positions


class SequencePictures:
    """The pictures of a sequence, and the encoded rows that the store has of them. owner: whose rows it uses."""

    def __init__(self, prompt: PromptPictures, upto: int, store: RowStore, owner: str) -> None:
        """upto: rows of the prompt that are computed."""
        self.parts = tuple(part for part in prompt.parts if part.start < upto)
        self.rotary_positions = prompt.rotary_positions
        self._ends = [part.end for part in self.parts]
        self._store = store
        self.owner = owner

    def embeddings(self, first: int, end: int) -> list[Float32]:
        """Those of the pictures' rows among first … end − 1, in order. They must be in the store."""
        found = []
        for part in self.left(first):
            if part.start >= end:
                break
            rows = self._store.rows(self.owner, part.part.key)
            assert rows is not None, "a step needs a row that is not encoded"
            found.append(rows[max(0, first - part.start) : end - part.start])
        return found

    def left(self, computed: int) -> tuple[PlacedPart, ...]:
        """The parts that have rows from position `computed` on."""
        return self.parts[bisect_right(self._ends, computed) :]

    def next_missing(self, computed: int) -> PlacedPart | None:
        """The first of the parts left that is not encoded."""
        known = (part for part in self.left(computed) if not self._store.has(self.owner, part.part.key))
        return next(known, None)

    def ready(self, computed: int, wanted: int) -> int:
        """How many of the `wanted` next rows can be computed: all, or those before a part that is not encoded, or 0.

        Rows wait until as many are ready as a step takes, because short steps are slow.
        """
        missing = self.next_missing(computed)
        return wanted if missing is None or missing.start >= computed + wanted else 0


def has_its_rows(tokens: Tokens[int], pictures: PromptPictures | None) -> bool:
    """Whether the negative ids among the tokens are the pictures' rows."""
    places = [] if pictures is None else [place for part in pictures.parts for place in range(part.start, part.end)]
    return places == [place for place, token in enumerate(tokens) if token < 0]
