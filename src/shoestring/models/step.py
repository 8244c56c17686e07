"""Step: everything that one forward pass needs beside weights and state, immutable.

A step carries rows of several sequences; spans of one token and of a thousand take the same path.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shoestring.ops import Float32, Int32, Int64

#: Called by a forward pass with a layer's number and the hidden state [rows, hidden_size], valid during the call:
#: 0 the embeddings, i the residual stream after layer i, the last (num_hidden_layers) after the final norm.
Observe = Callable[[int, Float32], None]


@dataclass(frozen=True)
class PageTable:
    """The page of each position of each span's sequence.

    Position p of span s lies in page `pages[s, p // PAGE_TOKENS - first_page[s]]` at p % PAGE_TOKENS.
    Entries that no row of the step reads or writes are arbitrary.
    """

    pages: Int32  # [spans, entries]
    first_page: Int64  # [spans]


@dataclass(frozen=True)
class Step:
    """Span s has the rows `span_starts[s] <= r < span_starts[s + 1]`; its `index` ascends without gaps."""

    #: [rows]; -1: the next row of `embeddings` is used instead
    token_ids: Int32
    #: position in the sequence, for cache, mask, chunk and temperature  [rows]
    index: Int64
    #: time, height and width position of the rotary embedding; equal for text  [rows, 3]
    rotary_positions: Int64
    #: [spans + 1]
    span_starts: Int32
    #: for layers whose attention sees the whole past
    global_pages: PageTable
    #: for layers whose attention is chunk-local; pages of earlier chunks are already free
    chunk_pages: PageTable
    #: slots from which recurrent and convolution state is read (-1: zeros) and to which it is written  [spans]
    read_slots: Int32
    write_slots: Int32
    #: pairs (row, slot), rows ascending: after this row, also store the state in this slot  [snapshots, 2]
    snapshots: Int32
    #: input rows without a token id  [count, hidden_size]
    embeddings: Float32 | None = None
