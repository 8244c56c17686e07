"""Step: everything one forward pass needs beside weights and state, immutable.

Rows of several sequences ride in one step; a span of one token and a span of a thousand take the same path.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

#: Called by a forward pass with a layer's number and the hidden state [rows, hidden_size], valid during the call:
#: 0 the embeddings, i the residual stream after layer i, the last (num_hidden_layers) after the final norm.
Observe = Callable[[int, Float32], None]


@dataclass(frozen=True)
class PageTable:
    """Which page of a pool holds which positions of each span's sequence.

    Position p of span s lies in page `pages[s, p // PAGE_TOKENS - first_page[s]]` at p % PAGE_TOKENS.
    Entries that no row of the step reads or writes may be anything.
    """

    pages: Int32  # [spans, entries]
    first_page: Int64  # [spans]


@dataclass(frozen=True)
class Step:
    """Rows r of span s are `span_starts[s] <= r < span_starts[s + 1]`, in ascending, gapless `index`."""

    #: [rows]; where it is -1, the row of `embeddings` counted by the -1 entries before it is used
    token_ids: Int32
    #: place in the sequence: cache, mask, chunk, temperature  [rows]
    index: Int64
    #: time, height, width position of the rotary embedding; equal for text  [rows, 3]
    rotary_positions: Int64
    #: [spans + 1]
    span_starts: Int32
    #: for layers whose attention sees the whole past
    global_pages: PageTable
    #: for layers whose attention is chunk-local; pages behind the chunk are already freed
    chunk_pages: PageTable
    #: recurrent and convolution state is read from one slot and written to another; -1 reads zeros  [spans]
    read_slots: Int32
    write_slots: Int32
    #: pairs (row, slot): after this row the state is also stored in this slot, rows ascending  [snapshots, 2]
    snapshots: Int32
    #: rows without a token  [count, hidden_size]
    embeddings: Float32 | None = None
