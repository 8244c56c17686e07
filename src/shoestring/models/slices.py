"""Parts of a step: the step of some of its rows, and the chunks in which it goes through a layer.

A step may have thousands of rows. Inside a layer, everything but the routed experts computes one chunk after the other,
so that its arrays take the memory of a chunk. Any cut gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from shoestring.models.step import PageTable, Step

#: Default of the most rows of prompts in one step; no bit depends on it.
CHUNK = 512
#: Rows of answers, forced tokens included, beside a prompt's.
ANSWER_ROWS = 32
#: Most rows of a chunk: a step of a model in memory is one chunk.
CHUNK_ROWS = CHUNK + ANSWER_ROWS


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a step, and the step of these rows."""

    rows: slice
    step: Step


def chunks_of(step: Step) -> tuple[Chunk, ...]:
    """The step in chunks of at most CHUNK_ROWS rows, about equally many each."""
    rows = len(step.index)
    if rows <= CHUNK_ROWS:
        return (Chunk(slice(0, rows), step),)
    size = -(-rows // -(-rows // CHUNK_ROWS))
    cuts = [*range(0, rows, size), rows]
    return tuple(Chunk(slice(begin, end), slice_step(step, begin, end)) for begin, end in pairwise(cuts))


def slice_step(step: Step, begin: int, end: int) -> Step:
    """The step of the rows begin … end − 1, where the earlier rows are computed already.

    A span that began in earlier rows reads the slot that these have written.
    """
    starts = step.span_starts
    first = int(np.searchsorted(starts, begin, side="right")) - 1
    last = int(np.searchsorted(starts, end, side="left"))
    spans = slice(first, last)
    read_slots = step.read_slots[spans]
    if starts[first] < begin:
        read_slots = read_slots.copy()
        read_slots[0] = step.write_slots[first]
    in_rows = (step.snapshots[:, 0] >= begin) & (step.snapshots[:, 0] < end)
    embeddings = step.embeddings
    if embeddings is not None:
        before, upto = (int(np.count_nonzero(step.token_ids[:row] < 0)) for row in (begin, end))
        embeddings = embeddings[before:upto]
    return Step(
        token_ids=step.token_ids[begin:end],
        index=step.index[begin:end],
        rotary_positions=step.rotary_positions[begin:end],
        span_starts=np.clip(starts[first : last + 1], begin, end) - np.int32(begin),
        global_pages=_of_spans(step.global_pages, spans),
        chunk_pages=_of_spans(step.chunk_pages, spans),
        read_slots=read_slots,
        write_slots=step.write_slots[spans],
        snapshots=step.snapshots[in_rows] - np.array([begin, 0], np.int32),
        embeddings=embeddings,
    )


def _of_spans(table: PageTable, spans: slice) -> PageTable:
    return PageTable(table.pages[spans], table.first_page[spans])
