"""TowerEncoder: the engine's encoder of pictures, by a model's vision tower."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from shoestring import ops
from shoestring.media.prepared import Part
from shoestring.media.qwen3_5 import Grid
from shoestring.models import towers
from shoestring.runtime.memory import free_memory
from shoestring.runtime.vision.vision import Tower

#: The tower's weights leave memory between two pictures if less is free than so many times their size.
_SHORT = 2


class TowerEncoder:
    """Loads the weights with the first picture. Between pictures, memory that is short evicts them.

    free: bytes that are free.
    """

    def __init__(self, tower: Tower, free: Callable[[], int] = free_memory) -> None:
        self._tower = tower
        self._free = free
        self._weights: towers.KernelWeights | None = None
        self._workspace = ops.Workspace()
        self.layers = tower.config.num_hidden_layers

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._weights is not None

    def encode(self, part: Part, values: Any) -> Generator[ops.Float32, None, None]:
        if self._weights is None:
            self._weights = self._tower.load()
        with self._workspace as workspace:
            yield from towers.layers(self._weights, values, Grid(1, *part.patches), workspace)

    def rest(self) -> None:
        self._workspace = ops.Workspace()
        if self._free() < _SHORT * self._tower.weight_bytes:
            self._weights = None
