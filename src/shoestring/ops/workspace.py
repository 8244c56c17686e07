"""The arena in which a step's arrays live."""

from __future__ import annotations

import numpy as np

from shoestring.ops.extension import Bytes, Float32, Int32


class Workspace:
    """An arena for the arrays of a step: grown once, reused by every step, released in frames.

    with workspace: …   everything taken inside is free again afterwards.

    Arrays begin at multiples of 64 bytes and are not cleared.
    """

    _FIRST_BLOCK_BYTES = 1 << 20

    def __init__(self) -> None:
        self._blocks: list[Bytes] = [_aligned_bytes(self._FIRST_BLOCK_BYTES)]
        self._block = self._blocks[0]
        self._number = 0
        self._used = 0
        self._frames: list[tuple[int, int]] = []

    @property
    def nbytes(self) -> int:
        """Bytes that the arena holds."""
        return sum(block.nbytes for block in self._blocks)

    def floats(self, *shape: int) -> Float32:
        begin = self._take(4, shape)
        array: Float32 = np.ndarray(shape, np.float32, self._block, begin)
        return array

    def ints(self, *shape: int) -> Int32:
        begin = self._take(4, shape)
        array: Int32 = np.ndarray(shape, np.int32, self._block, begin)
        return array

    def _take(self, item_bytes: int, shape: tuple[int, ...]) -> int:
        nbytes = item_bytes
        for size in shape:
            nbytes *= size
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
            # The next step finds one block that holds all of it; arrays still in use keep the old ones alive.
            total = self.nbytes
            self._blocks = []
            self._blocks.append(_aligned_bytes(total))
            self._block = self._blocks[0]


def _aligned_bytes(nbytes: int) -> Bytes:
    memory = np.empty(nbytes + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + nbytes]
