"""Records what ops do: calls, seconds, bytes and operations of each. `shoestring bench --profile` prints it.

While a recording runs, every module of ops calls the extension through it. What a step takes beside these calls is
Python's share.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

#: (name, arguments, seconds) of a kernel's call
Note = Callable[[str, Sequence[Any], float], None]


@dataclass
class Work:
    """What one op did: `operations` counts multiplications and additions; 0: not counted.

    `nbytes`: weights, keys, values and states that it read; of an op without these, all of its arrays.
    """

    calls: int = 0
    seconds: float = 0.0
    nbytes: int = 0
    operations: int = 0


@contextmanager
def recorded() -> Iterator[dict[str, Work]]:
    """Inside, calls of ops are recorded: by name, with the types of weights. Not for more than one thread at a time."""
    works: dict[str, Work] = {}

    def note(name: str, arguments: Sequence[Any], seconds: float) -> None:
        label, nbytes, operations = _COUNTERS.get(name, _plain)(name, arguments)
        work = works.setdefault(label, Work())
        work.calls += 1
        work.seconds += seconds
        work.nbytes += nbytes
        work.operations += operations

    with observed(note):
        yield works


@contextmanager
def observed(note: Note) -> Iterator[None]:
    """Inside, every module of ops tells `note` each kernel's name, its arguments and its seconds, after the call."""
    from shoestring import _kernels

    places = [
        module.__dict__
        for name, module in sys.modules.items()
        if name.startswith("shoestring.ops.") and "_kernels" in vars(module)
    ]
    before = [place["_kernels"] for place in places]
    for place in places:
        place["_kernels"] = _Observed(_kernels, note)
    try:
        yield
    finally:
        for place, extension in zip(places, before, strict=True):
            place["_kernels"] = extension


class _Observed:
    """The extension, with its functions timed."""

    def __init__(self, extension: Any, note: Note) -> None:
        self._extension, self._note = extension, note

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._extension, name)
        if isinstance(found, type) or not callable(found) or name in _NOT_KERNELS:
            return found
        timed = self._timed(name, found)
        setattr(self, name, timed)
        return timed

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments)
            self._note(name, arguments, time.perf_counter() - began)
            return result

        return call


_NOT_KERNELS = ("set_standard_mode", "set_mode", "isa", "variants", "num_threads", "expert_call_bytes")
_Counted = tuple[str, int, int]


def _plain(name: str, arguments: Sequence[Any]) -> _Counted:
    return name, sum(a.nbytes for a in arguments if isinstance(a, np.ndarray)), 0


def _product(name: str, x: Any, weights: Sequence[Any]) -> _Counted:
    types = "+".join(dict.fromkeys(w.type for w in weights))
    operations = sum(2 * len(x) * w.rows * w.columns for w in weights)
    return f"{name} {types}", sum(w.nbytes for w in weights), operations


def _experts(name: str, arguments: Sequence[Any]) -> _Counted:
    _, ids, _, table = arguments[:4]
    operations = 2 * ids.size * 3 * table.width * table.hidden_size
    return f"{name} {'+'.join(dict.fromkeys(table.types))}", len(np.unique(ids)) * table.slot_bytes, operations


def _attention(name: str, arguments: Sequence[Any]) -> _Counted:
    q, keys, _, _, _, span_starts, index, first_visible = arguments[:8]
    position = 2 * keys[0, :, :, 0].nbytes  # of a position's keys and values
    seen = sum(int(index[end - 1]) + 1 - int(first_visible[begin]) for begin, end in pairwise(span_starts))
    pairs = int((index + 1 - first_visible).sum())
    return name, seen * position, 4 * pairs * q.shape[1] * q.shape[2]


def _delta_net(name: str, arguments: Sequence[Any]) -> _Counted:
    qkv, memory, span_starts = arguments[0], arguments[12], arguments[13]
    return name, 2 * (len(span_starts) - 1) * memory[0].nbytes, 8 * len(qkv) * memory[0].size


_COUNTERS: dict[str, Callable[[str, Sequence[Any]], _Counted]] = {
    "matmul": lambda name, a: _product(name, a[0], [a[1]]),
    "matmuls": lambda name, a: _product(name, a[0], a[1]),
    "fused_matmuls": lambda name, a: _product(name, a[0], a[4]),
    "feed_forward": lambda name, a: _product(name, a[0], a[4:7]),
    "experts": _experts,
    "attention": _attention,
    "delta_net": _delta_net,
}
