"""Encoder: the engine's interface to a vision tower. ScriptedEncoder: one without weights, for ScriptedRunner."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import Any, Protocol

import numpy as np

from shoestring.media.prepared import Part
from shoestring.ops import Float32


class Encoder(Protocol):
    """A tower as the engine sees it."""

    @property
    def layers(self) -> int:
        """About how many turns a part takes."""

    def encode(self, part: Part, values: Any) -> Generator[Float32, None, None]:
        """Compute a layer a turn. The last array is the part's rows, [rows, hidden_size], valid until it is closed.

        values: what the part's `load` has returned. Compute each turn inside a runner's frame. One at a time.
        """

    def rest(self) -> None:
        """Nothing is left to encode: memory may be freed."""


class ScriptedEncoder:
    """Rows that depend on the pixels: small whole numbers below zero, which every type of the state holds exactly."""

    def __init__(self, layers: int = 2) -> None:
        self.layers = layers
        #: parts encoded so far, and turns
        self.parts = self.turns = 0

    def encode(self, part: Part, values: Any) -> Generator[Float32, None, None]:
        for _ in range(self.layers - 1):
            self.turns += 1
            yield np.zeros((part.count, 2), np.float32)
        digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
        start = int.from_bytes(digest[:4], "little")
        rows = np.zeros((part.count, 2), np.float32)
        rows[:, 0] = -1 - (start + np.arange(part.count)) % 1999
        self.turns += 1
        self.parts += 1
        yield rows

    def rest(self) -> None:
        pass
