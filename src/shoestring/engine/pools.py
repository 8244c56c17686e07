"""Pools of pages and slots: the arrays of a model's state, and the allocators that number them.

Allocates `State`; `models/layout.py` counts its bytes, `tree.py` knows who owns which page. Page i of a group is page i
in each layer of the group, so one number stands for all of them.
"""

from __future__ import annotations

import numpy as np

from shoestring.errors import CapacityError
from shoestring.kv_types import KVType
from shoestring.models.layout import Demand, Layout
from shoestring.models.state import PAGE_TOKENS, AttentionPages, AttentionState, DeltaNetSlots, State
from shoestring.sizes import human
from shoestring.spelling import option

#: Tokens between snapshots of recurrent state outside the boundaries (docs/architecture.md, "The prefix tree").
STRIDE = 1024


def cache_capacity(layout: Layout, cache_bytes: int, kv_type: KVType, stride: int = STRIDE) -> Demand:
    """Pages and slots of a cache of `cache_bytes`, beside those that running sequences need.

    For each stride of tokens it has two snapshots: one at the stride, one at a message.
    """
    pages = max(1, stride // PAGE_TOKENS)
    unit = Demand(
        pages if layout.global_layers else 0, pages if layout.chunk_layers else 0, 2 if layout.recurrent_layers else 0
    )
    unit_bytes = layout.nbytes(unit, kv_type)

    def share(count: int) -> int:
        return count * cache_bytes // unit_bytes if unit_bytes else 0

    return Demand(share(unit.global_pages), share(unit.chunk_pages), share(unit.slots))


def default_capacity(
    layout: Layout,
    context: int,
    sequences: int,
    snapshots: int,
    cache_bytes: int | None,
    kv_type: KVType,
    stride: int = STRIDE,
) -> Demand:
    """Pages and slots of `sequences` sequences, each with `snapshots` snapshots, or beside a cache of `cache_bytes`."""
    if cache_bytes is None:
        return layout.capacity(context, sequences, snapshots)
    return layout.capacity(context, sequences) + cache_capacity(layout, cache_bytes, kv_type, stride)


def reserve_of(layout: Layout, capacity: Demand, context: int, sequences: int) -> Demand:
    """What a client leaves to others: a request of context ÷ sequences, as far as the longest request fits beside."""
    if sequences < 2:
        return Demand()
    one, beside = layout.demand(-(-context // sequences)), capacity - layout.demand(context)
    return Demand(
        max(0, min(one.global_pages, beside.global_pages)),
        max(0, min(one.chunk_pages, beside.chunk_pages)),
        max(0, min(one.slots, beside.slots)),
    )


def allocate_state(layout: Layout, capacity: Demand, kv_type: KVType) -> State:
    """The arrays of all layers. The system provides memory at the first write, so a large context costs nothing yet.

    Raises CapacityError if the address space or the system's accounting refuses them.
    """
    layers: list[AttentionPages | DeltaNetSlots] = []
    try:
        for spec in layout.layers:
            if isinstance(spec, AttentionState):
                pages = capacity.chunk_pages if spec.chunk_size else capacity.global_pages
                layers.append(AttentionPages.empty(pages, spec, kv_type))
            else:
                channels, taps = spec.convolution
                layers.append(
                    DeltaNetSlots(
                        convolution=np.empty((capacity.slots, taps, channels), np.float32),
                        memory=np.empty((capacity.slots, *spec.memory), np.float32),
                    )
                )
    except MemoryError as error:
        needed = layout.nbytes(capacity, kv_type)
        raise CapacityError(
            f"the state of {human(needed)} was refused by the system: choose a smaller {option('context')}"
        ) from error
    return State(tuple(layers))


def copy_page(state: State, layout: Layout, *, chunk: bool, source: int, target: int) -> None:
    """Copy page `source` of a group to page `target`, in each of its layers."""
    for pools, spec in zip(state.layers, layout.layers, strict=True):
        if isinstance(pools, AttentionPages) and isinstance(spec, AttentionState) and bool(spec.chunk_size) == chunk:
            pools.keys[target] = pools.keys[source]
            pools.values[target] = pools.values[source]


class Pool:
    """Allocates the numbers 0 … total − 1, the lowest first."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = list(range(total - 1, -1, -1))
        self._allocated: set[int] = set()

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def used(self) -> int:
        return len(self._allocated)

    def allocated(self) -> list[int]:
        """All allocated numbers, ascending."""
        return sorted(self._allocated)

    def allocate(self) -> int:
        """A free number. Raises AssertionError if there is none: the scheduler admits only what fits."""
        if not self._free:
            raise AssertionError("the pool is empty: more was allocated than was admitted")
        number = self._free.pop()
        self._allocated.add(number)
        return number

    def release(self, number: int) -> None:
        """Free a number. Raises AssertionError if it is free already."""
        if number not in self._allocated:
            raise AssertionError(f"{number} was released but not allocated")
        self._allocated.remove(number)
        self._free.append(number)


class Pools:
    """The allocators of both groups of pages and of the slots."""

    def __init__(self, capacity: Demand) -> None:
        self.capacity = capacity
        self.global_pages = Pool(capacity.global_pages)
        self.chunk_pages = Pool(capacity.chunk_pages)
        self.slots = Pool(capacity.slots)

    @property
    def used(self) -> Demand:
        return Demand(self.global_pages.used, self.chunk_pages.used, self.slots.used)

    @property
    def free(self) -> Demand:
        return Demand(self.global_pages.free, self.chunk_pages.free, self.slots.free)

    def check(self) -> None:
        """free + used = total, in each pool. Raises AssertionError."""
        if self.free + self.used != self.capacity:
            raise AssertionError(f"{self.free} free + {self.used} used is not {self.capacity}")
