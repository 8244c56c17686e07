"""How much a model's state takes: pages, slots and bytes of a sequence. The only sums over a `state_layout`.

Two groups of pages, because layers of one kind always hold the same positions:

    global   layers that see the whole past; a sequence holds pages 0 … last
    chunk    chunk-local layers; a sequence holds the pages of its current chunk, those behind it are free
"""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.errors import RequestError
from shoestring.models.state import PAGE_TOKENS, AttentionState, DeltaNetState, KVType, LayerState


@dataclass(frozen=True)
class Demand:
    """What a sequence takes, or what a cache has: pages of both groups, and slots of recurrent state."""

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

    def fits(self, room: Demand) -> bool:
        return (
            self.global_pages <= room.global_pages and self.chunk_pages <= room.chunk_pages and self.slots <= room.slots
        )


@dataclass(frozen=True)
class Layout:
    """`state_layout` of a model, with the sums by which the engine allocates and the planner counts."""

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
        """Tokens of an attention chunk; 0: the model has no chunk-local layer."""
        sizes = {s.chunk_size for s in self.chunk_layers}
        if len(sizes) > 1:
            raise RequestError(f"chunk-local layers of different sizes {sorted(sizes)} are not supported")
        return sizes.pop() if sizes else 0

    def demand(self, tokens: int) -> Demand:
        """Most that a sequence holds at once while it grows to `tokens` tokens (one slot, no snapshots)."""
        return Demand(
            max((s.pages(tokens) for s in self.global_layers), default=0),
            max((s.pages(tokens) for s in self.chunk_layers), default=0),
            1 if self.recurrent_layers else 0,
        )

    def capacity(self, tokens: int, sequences: int = 1, snapshots: int = 0) -> Demand:
        """`sequences` sequences of `tokens` tokens each, and `snapshots` resume points of recurrent state of each."""
        return (self.demand(tokens) + Demand(slots=snapshots if self.recurrent_layers else 0)) * sequences

    def unit_bytes(self, kv_type: KVType) -> tuple[int, int, int]:
        """Bytes of one global page, one chunk page and one slot, over all layers."""
        units = (Demand(global_pages=1), Demand(chunk_pages=1), Demand(slots=1))
        page, chunk_page, slot = (self.nbytes(unit, kv_type) for unit in units)
        return page, chunk_page, slot

    def nbytes(self, demand: Demand, kv_type: KVType) -> int:
        """Bytes of the arrays that hold `demand`."""
        return (
            demand.global_pages * sum(s.bytes_per_page(kv_type) for s in self.global_layers)
            + demand.chunk_pages * sum(s.bytes_per_page(kv_type) for s in self.chunk_layers)
            + demand.slots * sum(s.bytes_per_sequence() for s in self.recurrent_layers)
        )

    def sequence_bytes(self, tokens: int, kv_type: KVType) -> int:
        """The most that a sequence of `tokens` tokens holds at once, in whole pages and one recurrent slot."""
        return self.nbytes(self.demand(tokens), kv_type)

    def bytes_per_token(self, kv_type: KVType) -> int:
        """What every token adds for good: keys and values of layers that see the whole past."""
        return self.nbytes(Demand(global_pages=1), kv_type) // PAGE_TOKENS
