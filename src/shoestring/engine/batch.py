"""Build one Step from the spans of several sequences, and show their rows to those who observe them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Tokens

import numpy as np

from shoestring.engine.request import Request
from shoestring.engine.scheduler import Span
from shoestring.engine.sequence import Sequence
from shoestring.models.step import Observe, PageTable, Step
from shoestring.ops import Float32


def build_step(spans: Tokens[tuple[Sequence, int]]) -> Step:
    """The Step of the next rows of each sequence, whose pages and slots are allocated already."""
    sequences = [sequence for sequence, _ in spans]
    starts, ids, snapshots = [0], [], []
    index, rotary, embeddings = [], [], []
    for sequence, rows in spans:
        first, end = sequence.computed, sequence.computed + rows
        snapshots += [(starts[-1] + place - first - 1, slot) for place, slot in sequence.pending]
        positions = np.arange(first, end, dtype=np.int64)
        index.append(positions)
        starts.append(starts[-1] + rows)
        if sequence.pictures is None:
            ids.append(np.array(sequence.tokens[first:end], np.int32))
            rotary.append(np.broadcast_to(positions[:, None], (rows, 3)))
        else:
            ids.append(np.array([max(token, -1) for token in sequence.tokens[first:end]], np.int32))
            rotary.append(sequence.pictures.rotary_positions(first, end))
            embeddings += sequence.pictures.embeddings(first, end)
    return Step(
        token_ids=np.concatenate(ids),
        index=np.concatenate(index),
        rotary_positions=np.concatenate(rotary),
        span_starts=np.array(starts, np.int32),
        global_pages=page_table([s.pages for s in sequences], [0] * len(sequences)),
        chunk_pages=page_table([s.chunk_pages for s in sequences], [s.first_chunk for s in sequences]),
        read_slots=np.array([s.read_slot for s in sequences], np.int32),
        write_slots=np.array([s.slot for s in sequences], np.int32),
        snapshots=np.array(snapshots, np.int32).reshape(-1, 2),
        embeddings=np.concatenate(embeddings) if embeddings else None,
    )


def page_table(pages: list[list[int]], first_page: list[int]) -> PageTable:
    """Lists of pages as one array, padded with 0 that no row reads."""
    entries = max(1, *(len(p) for p in pages)) if pages else 1
    table = np.zeros((len(pages), entries), np.int32)
    for row, numbers in enumerate(pages):
        table[row, : len(numbers)] = numbers
    return PageTable(pages=table, first_page=np.array(first_page, np.int64))


def observer(requests: Mapping[int, Request], spans: tuple[Span, ...], step: Step) -> Observe | None:
    """Passes each span's rows to its request's observer while it is one of `requests`; None if no request has one."""
    places = []
    for span, first in zip(spans, step.span_starts.tolist(), strict=False):
        request = requests[span.number]
        if request.scoring is not None and request.scoring.observe is not None:
            place = slice(first, first + span.rows)
            places.append((span.number, request.scoring.observe, request.sequence.computed, place))

    def observe(layer: int, hidden: Float32) -> None:
        for number, show, position, place in places:
            if number in requests:
                show(layer, position, hidden[place])

    return observe if places else None


def runs(rows: list[int], most: int) -> list[range]:
    """Group ascending numbers into consecutive ranges, none longer than `most`."""
    ranges: list[range] = []
    for row in rows:
        if ranges and ranges[-1].stop == row and len(ranges[-1]) < most:
            ranges[-1] = range(ranges[-1].start, row + 1)
        else:
            ranges.append(range(row, row + 1))
    return ranges
