"""The arena for the arrays of a step."""

from __future__ import annotations

import numpy as np

from shoestring.ops.extension import Bytes, Float32, Int32


class Workspace:
    """An arena that grows once and that every step reuses. `with workspace:` frees all arrays allocated inside.

    Arrays begin at multiples of 64 bytes and are not cleared.
    """

    _FIRST_BLOCK_BYTES = 1 << 20
    _MOST_VIEWS = 4096

    def __init__(self) -> None:
        self._blocks: list[Bytes] = [_aligned_bytes(self._FIRST_BLOCK_BYTES)]
        self._block = self._blocks[0]
        self._number = 0
        self._used = 0
        self._frames: list[tuple[int, int]] = []
        # Steps of a kind allocate the same arrays again, and a look-up takes a third of the time.
        self._views: dict[tuple[int, int, tuple[int, ...]], Float32] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(block.nbytes for block in self._blocks)

    def floats(self, *shape: int) -> Float32:
        begin = self._allocate(shape)
        place = (self._number, begin, shape)
        array = self._views.get(place)
        if array is None:
            if len(self._views) >= self._MOST_VIEWS:
                self._views.clear()
            array = self._views[place] = np.ndarray(shape, np.float32, self._block, begin)
        return array

    def ints(self, *shape: int) -> Int32:
        begin = self._allocate(shape)
        array: Int32 = np.ndarray(shape, np.int32, self._block, begin)
        return array

    def _allocate(self, shape: tuple[int, ...]) -> int:
        """The first byte in the current block of an array with items of 4 bytes."""
        nbytes = 4
        for length in shape:
            nbytes *= length
        begin = self._used
        end = begin + (nbytes + 63 & -64)
        if end > self._block.nbytes:
            self._next_block(end - begin)
            begin, end = 0, end - begin
        self._used = end
        return begin

    def _next_block(self, nbytes: int) -> None:
        while self._number + 1 < len(self._blocks):
            self._number += 1
            self._block = self._blocks[self._number]
            if nbytes <= self._block.nbytes:
                return
        self._blocks.append(_aligned_bytes(max(nbytes, self.nbytes)))
        self._number = len(self._blocks) - 1
        self._block = self._blocks[self._number]

    def __enter__(self) -> Workspace:
        self._frames.append((self._number, self._used))
        return self

    def __exit__(self, *exception: object) -> None:
        self._number, self._used = self._frames.pop()
        self._block = self._blocks[self._number]
        if not self._frames and len(self._blocks) > 1 and self._number == 0 and self._used == 0:
            # The next step fits into one block. Free the old ones first; arrays still in use keep theirs alive.
            total = self.nbytes
            self._views.clear()
            self._blocks = []
            self._blocks.append(_aligned_bytes(total))
            self._block = self._blocks[0]


def _aligned_bytes(nbytes: int) -> Bytes:
    memory = np.empty(nbytes + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + nbytes]
