"""TowerEncoder: the engine's encoder of pictures, by a model's vision tower."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from shoestring import ops
from shoestring.checkpoint.open import leave_page_cache
from shoestring.engine.pictures.store import PICTURE_BYTES
from shoestring.media.prepared import Part
from shoestring.media.qwen3_5 import Grid
from shoestring.models import towers
from shoestring.runtime.memory import free_memory
from shoestring.runtime.vision.vision import Tower, Vision
from shoestring.sizes import human
from shoestring.spelling import option

#: Patches of a picture that memory is reserved for: 1024 × 1024 pixels of Qwen 3.5.
_PATCHES = 4096
#: Rows of a chunk of the feed-forward, and arrays of each patch: residual stream, query, key, value, result.
_CHUNK, _ARRAYS = 544, 5
#: The tower's weights leave memory between two pictures if less is free than so many times their size.
_SHORT = 2


def vision_bytes(tower: Tower | None) -> int:
    """Bytes that reading pictures takes: weights, arrays of a picture of 4096 patches, and encoded rows that are kept.

    Decoding and resizing come before the tower's turns and take less than its arrays. A larger picture needs more:
    `most_patches`.
    """
    if tower is None:
        return 0
    chunk = _CHUNK * 2 * tower.config.intermediate_size
    return tower.weight_bytes + _PATCHES * patch_bytes(tower) + 4 * chunk + PICTURE_BYTES


def patch_bytes(tower: Tower) -> int:
    """Bytes of the tower's arrays for each patch of a picture."""
    return 4 * (_ARRAYS * tower.config.hidden_size + tower.config.patch_values)


def most_patches(tower: Tower, spare_bytes: int) -> int:
    """The patches of the largest picture that is read, with so many bytes beside `vision_bytes`."""
    return _PATCHES + max(0, spare_bytes) // patch_bytes(tower)


def without_memory(vision: Vision) -> Vision:
    """The vision of a model that fits into memory without its tower alone."""
    needed = human(vision_bytes(vision.needed()), "up")
    missing = f"reading pictures takes {needed} more than there is: give more memory, or a smaller {option('context')}"
    return replace(vision, tower=None, missing=missing)


class TowerEncoder:
    """Loads the weights with the first picture. Between pictures, memory that is short evicts them.

    free: bytes that are free. cached: whether the page cache may keep the file, which a budget counts too.
    """

    def __init__(self, tower: Tower, free: Callable[[], int] = free_memory, *, cached: bool = True) -> None:
        self._tower = tower
        self._cached = cached
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
            if not self._cached:
                leave_page_cache(self._tower.checkpoint)
        with self._workspace as workspace:
            yield from towers.layers(self._weights, values, Grid(1, *part.patches), workspace)

    def rest(self) -> None:
        self._workspace = ops.Workspace()
        if self._free() < _SHORT * self._tower.weight_bytes:
            self._weights = None
