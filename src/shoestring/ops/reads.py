"""Which memory the ops of a step read: weights, the experts that its rows chose, keys, values and states.

A pass that reads nothing but this (`limits.read_seconds`) is the shortest time that a step of few rows can take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from shoestring.ops.extension import Bytes
from shoestring.ops.recording import observed

if TYPE_CHECKING:
    from shoestring._kernels import Matrix


@dataclass
class Reads:
    """Memory in the order in which ops read it; matrices before arrays. It stays alive as long as this."""

    matrices: list[Matrix] = field(default_factory=list)
    arrays: list[Bytes] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return sum(matrix.nbytes for matrix in self.matrices) + sum(array.nbytes for array in self.arrays)


@contextmanager
def recorded_reads() -> Iterator[list[Reads]]:
    """Inside, what ops read is added to the last element; append another one to begin a new step.

    Raises ValueError for experts that stream from disk. Not for more than one thread at a time.
    """
    steps = [Reads()]

    def note(name: str, arguments: Sequence[Any], seconds: float) -> None:
        if name in _READERS:
            _READERS[name](arguments, steps[-1])

    with observed(note):
        yield steps


def _experts(arguments: Sequence[Any], reads: Reads) -> None:
    _, ids, _, table = arguments[:4]
    for expert in np.unique(ids).tolist():
        reads.matrices += table.matrices(expert)


def _attention(arguments: Sequence[Any], reads: Reads) -> None:
    _, keys, values, pages, first_page, span_starts, index, first_visible = arguments[:8]
    page_tokens = keys.shape[-1]
    for span, (begin, end) in enumerate(pairwise(span_starts)):
        first = int(first_visible[begin]) // page_tokens - int(first_page[span])
        last = int(index[end - 1]) // page_tokens - int(first_page[span])
        for page in pages[span, first : last + 1].tolist():
            reads.arrays += [_bytes(keys[page]), _bytes(values[page])]


def _states(slots: Any, read_slots: Any, reads: Reads) -> None:
    reads.arrays += [_bytes(slots[slot]) for slot in read_slots.tolist() if slot >= 0]


def _bytes(array: Any) -> Bytes:
    view: Bytes = array.reshape(-1).view(np.uint8)
    return view


_READERS: dict[str, Callable[[Sequence[Any], Reads], None]] = {
    "matmul": lambda a, reads: reads.matrices.append(a[1]),
    "matmuls": lambda a, reads: reads.matrices.extend(a[1]),
    "fused_matmuls": lambda a, reads: reads.matrices.extend(a[4]),
    "feed_forward": lambda a, reads: reads.matrices.extend(a[4:7]),
    "experts": _experts,
    "attention": _attention,
    "delta_net": lambda a, reads: _states(a[12], a[14], reads),
}
