"""State: what a sequence keeps between steps.

A model declares it as `LayerState`. The engine allocates and the planner counts by the same declaration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoestring.kv_types import KVType

#: Positions in a page of keys and values: the attention block of docs/numerics.md.
PAGE_TOKENS = 64

Array = npt.NDArray[np.generic]

#: Bytes of a cache line.
_LINE = 64
#: Dims of a head that share a scale in q8_0.
Q8_0_BLOCK = 32


def kv_bytes(head_dim: int, kv_type: KVType) -> int:
    """Bytes of the keys, or of the values, of one position and head."""
    if kv_type == "q8_0":
        return head_dim + 2 * -(-head_dim // Q8_0_BLOCK)
    return head_dim * (2 if kv_type == "f16" else 4)


@dataclass(frozen=True)
class AttentionState:
    """A layer with keys and values of the whole past (chunk_size 0) or of the current aligned chunk."""

    num_key_value_heads: int
    head_dim: int
    chunk_size: int = 0

    def bytes_per_token(self, kv_type: KVType) -> int:
        return 2 * self.num_key_value_heads * kv_bytes(self.head_dim, kv_type)

    def bytes_per_page(self, kv_type: KVType) -> int:
        return PAGE_TOKENS * self.bytes_per_token(kv_type)

    def pages(self, context: int) -> int:
        """Most pages that a sequence of `context` tokens needs at once."""
        tokens = min(context, self.chunk_size) if self.chunk_size else context
        # A chunk that does not begin at a page's edge needs one page more.
        edge = 1 if self.chunk_size % PAGE_TOKENS and context > self.chunk_size else 0
        return -(-tokens // PAGE_TOKENS) + edge


@dataclass(frozen=True)
class DeltaNetState:
    """A layer with a float32 state of fixed size: the last inputs of its convolution, and the memory."""

    convolution: tuple[int, int]  # (channels, width - 1)
    memory: tuple[int, int, int]  # (value heads, key dim, value dim)

    def bytes_per_sequence(self) -> int:
        channels, taps = self.convolution
        heads, rows, columns = self.memory
        return 4 * (channels * taps + heads * rows * columns)


LayerState = AttentionState | DeltaNetState


@dataclass(frozen=True)
class AttentionPages:
    """Pages of one layer. Keys are transposed within a page: lanes are positions.

    q8_0: int8 arrays with `kv_bytes` in place of head_dim. A page holds the numbers in the same order, then the
    scales of all its positions (kernels/kv_pages.h).
    """

    keys: Array  # [pages, kv_heads, head_dim, PAGE_TOKENS] float16 or float32
    values: Array  # [pages, kv_heads, PAGE_TOKENS, head_dim]

    @classmethod
    def empty(cls, pages: int, spec: AttentionState, kv_type: KVType) -> AttentionPages:
        """`pages` pages with any content. Raises MemoryError."""
        dtype: np.dtype[np.generic] = np.dtype({"f16": "f2", "f32": "f4", "q8_0": "i1"}[kv_type])
        heads, dim = spec.num_key_value_heads, kv_bytes(spec.head_dim, kv_type) // dtype.itemsize
        return cls(_empty((pages, heads, dim, PAGE_TOKENS), dtype), _empty((pages, heads, PAGE_TOKENS, dim), dtype))


def _empty(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An array that begins at a cache line, which numpy's do not: else every second read of the kernels spans two."""
    nbytes = int(np.prod(shape)) * dtype.itemsize
    block = np.empty(nbytes + _LINE, np.uint8)
    first = -block.ctypes.data % _LINE
    return block[first : first + nbytes].view(dtype).reshape(shape)


@dataclass(frozen=True)
class DeltaNetSlots:
    """Slots of one layer, float32."""

    convolution: Array  # [slots, width - 1, channels], oldest input first
    memory: Array  # [slots, value_heads, key_dim, value_dim]


@dataclass(frozen=True)
class State:
    """Pages and slots of all layers, in layer order. The engine knows who owns which."""

    layers: tuple[AttentionPages | DeltaNetSlots, ...]
