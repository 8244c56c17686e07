"""The size of a model's state: pages, slots and bytes of a sequence. The only sums over a `state_layout`.

There are two groups of pages, because layers of one kind always keep the same positions:

    global   layers that see the whole past; a sequence has pages 0 … last
    chunk    chunk-local layers; a sequence has the pages of its current chunk, earlier ones are free
"""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.errors import RequestError
from shoestring.kv_types import KVType
from shoestring.models.state import PAGE_TOKENS, AttentionState, DeltaNetState, LayerState


@dataclass(frozen=True)
class Demand:
    """Pages of both groups and slots of recurrent state: those of a sequence, a cache or the whole engine."""

    global_pages: int = 0
    chunk_pages: int = 0
    slots: int = 0

    def __add__(self, other: Demand) -> Demand:
        return Demand(
            self.global_pages + other.global_pages, self.chunk_pages + other.chunk_pages, self.slots + other.slots
        )

    def __sub__(self, other: Demand) -> Demand:
        return Demand(
            self.global_pages - other.global_pages, self.chunk_pages - other.chunk_pages, self.slots - other.slots
        )

    def __mul__(self, times: int) -> Demand:
        return Demand(self.global_pages * times, self.chunk_pages * times, self.slots * times)

    def fits(self, available: Demand) -> bool:
        left = available - self
        return min(left.global_pages, left.chunk_pages, left.slots) >= 0


@dataclass(frozen=True)
class Layout:
    """A model's `state_layout`, with the sums that the engine and the planner use."""

    layers: tuple[LayerState, ...]

    @property
    def global_layers(self) -> tuple[AttentionState, ...]:
        return tuple(s for s in self.layers if isinstance(s, AttentionState) and not s.chunk_size)

    @property
    def chunk_layers(self) -> tuple[AttentionState, ...]:
        return tuple(s for s in self.layers if isinstance(s, AttentionState) and s.chunk_size)

    @property
    def recurrent_layers(self) -> tuple[DeltaNetState, ...]:
        return tuple(s for s in self.layers if isinstance(s, DeltaNetState))

    @property
    def chunk_size(self) -> int:
        """Tokens of an attention chunk; 0: no layer is chunk-local. Raises RequestError for different sizes."""
        sizes = {s.chunk_size for s in self.chunk_layers}
        if len(sizes) > 1:
            raise RequestError(f"chunk-local layers of different sizes {sorted(sizes)} are not supported")
        return sizes.pop() if sizes else 0

    def demand(self, tokens: int) -> Demand:
        """The most that a sequence needs at once while it grows to `tokens` tokens: one slot, no snapshots."""
        return Demand(
            max((s.pages(tokens) for s in self.global_layers), default=0),
            max((s.pages(tokens) for s in self.chunk_layers), default=0),
            1 if self.recurrent_layers else 0,
        )

    def capacity(self, tokens: int, sequences: int = 1, snapshots: int = 0) -> Demand:
        """Demand of `sequences` sequences of `tokens` tokens, each with `snapshots` snapshots of recurrent state."""
        return (self.demand(tokens) + Demand(slots=snapshots if self.recurrent_layers else 0)) * sequences

    def unit_bytes(self, kv_type: KVType) -> tuple[int, int, int]:
        """Bytes of one global page, one chunk page and one slot, over all layers."""
        units = (Demand(global_pages=1), Demand(chunk_pages=1), Demand(slots=1))
        page, chunk_page, slot = (self.nbytes(unit, kv_type) for unit in units)
        return page, chunk_page, slot

    def nbytes(self, demand: Demand, kv_type: KVType) -> int:
        """Bytes of the arrays for `demand`."""
        return (
            demand.global_pages * sum(s.bytes_per_page(kv_type) for s in self.global_layers)
            + demand.chunk_pages * sum(s.bytes_per_page(kv_type) for s in self.chunk_layers)
            + demand.slots * sum(s.bytes_per_sequence() for s in self.recurrent_layers)
        )

    def sequence_bytes(self, tokens: int, kv_type: KVType) -> int:
        """The most bytes that a sequence of `tokens` tokens needs at once: whole pages and one recurrent slot."""
        return self.nbytes(self.demand(tokens), kv_type)

    def bytes_per_token(self, kv_type: KVType) -> int:
        """Bytes that each token adds to a sequence: keys and values of the layers that see the whole past."""
        return self.nbytes(Demand(global_pages=1), kv_type) // PAGE_TOKENS
