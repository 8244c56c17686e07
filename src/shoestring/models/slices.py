"""Parts of a step: the step of some of its rows, and the chunks in which it goes through a layer.

A step may have thousands of rows. Inside a layer, everything but the routed experts computes one chunk after the other,
so that its arrays take the memory of a chunk. Any cut gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from shoestring.models.step import PageTable, Step
from shoestring.ops import Float32, Workspace

Arrays = TypeVar("Arrays", bound=tuple[Any, ...])

#: Default of the most rows of prompts in one step; no bit depends on it.
CHUNK = 512
#: Rows of answers, forced tokens included, beside a prompt's.
ANSWER_ROWS = 32
#: Most rows of a chunk: a step of a model in memory is one chunk.
CHUNK_ROWS = CHUNK + ANSWER_ROWS


def chunks_of(step: Step, *arrays: Any) -> list[tuple[Any, ...]]:
    """The step in chunks of at most CHUNK_ROWS rows: the step of these rows, and the same rows of each array."""
    chunks = []
    for rows in row_slices(len(step.index)):
        whole = rows.stop - rows.start == len(step.index)
        part = step if whole else slice_step(step, rows.start, rows.stop)
        chunks.append((part, *(array[rows] for array in arrays)))
    return chunks


def by_chunks(ws: Workspace, x: Float32, compute: Callable[[Float32], Arrays]) -> Arrays:
    """What `compute` returns for the rows of x, in chunks of at most CHUNK_ROWS rows: arrays of as many rows as x."""
    if len(x) <= CHUNK_ROWS:
        return compute(x)
    first, *others = row_slices(len(x))
    results = compute(x[first])
    joined: Any = tuple(
        (ws.ints if result.dtype == np.int32 else ws.floats)(len(x), *result.shape[1:]) for result in results
    )
    for rows in (first, *others):
        with ws:
            for array, part in zip(joined, results if rows is first else compute(x[rows]), strict=True):
                array[rows] = part
    return joined  # type: ignore[no-any-return]


def row_slices(rows: int) -> list[slice]:
    """All rows in as few slices as CHUNK_ROWS allows, about equally long."""
    if rows <= CHUNK_ROWS:
        return [slice(0, rows)]
    size = -(-rows // -(-rows // CHUNK_ROWS))
    return [slice(begin, min(begin + size, rows)) for begin in range(0, rows, size)]


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
