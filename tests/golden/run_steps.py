"""Runs the families' forward passes without the engine: builds pools, slots, page tables and steps directly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring import ops
from shoestring.checkpoint.config.types import Config
from shoestring.kv_types import KVType
from shoestring.models.experts import Experts
from shoestring.models.families import KernelWeights, forward, head, state_layout
from shoestring.models.state import PAGE_TOKENS, AttentionPages, AttentionState, DeltaNetSlots, State
from shoestring.models.step import Observe, PageTable, Step

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

#: what `load_weights` returns
Loaded = tuple[KernelWeights, Experts]

SLOTS = 3


def new_state(config: Config, pages: int, kv_type: KVType, slots: int = SLOTS) -> State:
    """`pages` pages and `slots` slots per layer, filled with NaN to detect reads before the first write."""
    layers: list[AttentionPages | DeltaNetSlots] = []
    for layer in state_layout(config):
        if isinstance(layer, AttentionState):
            pools = AttentionPages.empty(pages, layer, kv_type)
            for pool in (pools.keys, pools.values):
                pool.reshape(-1).view(np.uint8)[:] = 0xFF  # NaN in each type; q8_0: as scale
            layers.append(pools)
        else:
            channels, taps = layer.convolution
            layers.append(
                DeltaNetSlots(
                    convolution=np.full((slots, taps, channels), np.nan, np.float32),
                    memory=np.full((slots, *layer.memory), np.nan, np.float32),
                )
            )
    return State(tuple(layers))


@dataclass(frozen=True)
class Span:
    """Rows of one sequence in a step: tokens at positions start, start + 1, …"""

    tokens: Int64
    start: int = 0
    #: page of positions 64 · i … 64 · i + 63, from `first_page` on
    pages: tuple[int, ...] = (0,)
    first_page: int = 0
    read_slot: int = -1
    write_slot: int = 0
    #: [rows, 3]; None: the positions
    rotary_positions: Int64 | None = None
    #: (row of this span, slot)
    snapshots: tuple[tuple[int, int], ...] = ()


def make_step(config: Config, *spans: Span, embeddings: Float32 | None = None) -> Step:
    """The step of several spans; the chunk-local table begins with the page that the first row's chunk begins in."""
    chunk = getattr(config, "attention_chunk_size", 0)
    places = [np.arange(s.start, s.start + len(s.tokens), dtype=np.int64) for s in spans]
    starts = np.cumsum([0, *map(len, places)], dtype=np.int32)
    rotary = [
        np.repeat(index[:, None], 3, axis=1) if s.rotary_positions is None else s.rotary_positions
        for s, index in zip(spans, places, strict=True)
    ]
    local_first = [max(s.start // chunk * chunk // PAGE_TOKENS, s.first_page) if chunk else s.first_page for s in spans]
    local = [s.pages[first - s.first_page :] for s, first in zip(spans, local_first, strict=True)]
    snapshots = [(starts[i] + row, slot) for i, s in enumerate(spans) for row, slot in s.snapshots]
    return Step(
        token_ids=np.concatenate([s.tokens for s in spans]).astype(np.int32),
        index=np.concatenate(places),
        rotary_positions=np.ascontiguousarray(np.concatenate(rotary), np.int64),
        span_starts=starts,
        global_pages=page_table([s.pages for s in spans], [s.first_page for s in spans]),
        chunk_pages=page_table(local, local_first),
        read_slots=np.array([s.read_slot for s in spans], np.int32),
        write_slots=np.array([s.write_slot for s in spans], np.int32),
        snapshots=np.array(snapshots, np.int32).reshape(-1, 2),
        embeddings=embeddings,
    )


def page_table(pages: Sequence[tuple[int, ...]], first_pages: Sequence[int]) -> PageTable:
    """The table of page lists; pads short ones with an entry that must not be read."""
    longest = max(map(len, pages))
    filled = [[*row, *[2**30] * (longest - len(row))] for row in pages]
    return PageTable(np.array(filled, np.int32), np.array(first_pages, np.int64))


class HiddenStates:
    """Observes forward passes; keeps copies of the hidden states, by layer."""

    def __init__(self) -> None:
        self._layers: dict[int, list[npt.NDArray[Any]]] = {}

    def __call__(self, layer: int, hidden: npt.NDArray[Any]) -> None:
        self._layers.setdefault(layer, []).append(hidden.copy())

    @property
    def stacked(self) -> npt.NDArray[Any]:
        """All layers, all rows of the steps in turn, [num_hidden_layers + 1, rows, hidden_size]."""
        assert list(self._layers) == list(range(len(self._layers)))
        return np.stack([np.concatenate(rows) for rows in self._layers.values()])


def step_logits(loaded: Loaded, state: State, step: Step, observe: Observe | None = None) -> Float32:
    """Logits of all rows of a step, [rows, vocabulary]."""
    workspace = ops.Workspace()
    weights, experts = loaded
    with workspace:
        return head(weights, forward(weights, experts, state, step, workspace, observe), workspace).copy()


def run(
    loaded: Loaded,
    tokens: Int64,
    kv_type: KVType = "f32",
    chunks: Sequence[int] | None = None,
    rotary_positions: Int64 | None = None,
    observe: Observe | None = None,
) -> Float32:
    """Logits of one sequence, [rows, vocabulary]. chunks: rows per step (default: one step). Shuffles the pages."""
    config, count = loaded[0].config, len(tokens)
    num_pages = -(-count // PAGE_TOKENS)
    state = new_state(config, num_pages + 2, kv_type)
    shuffled = np.random.default_rng(count).permutation(num_pages + 2)[:num_pages]
    pages = tuple(shuffled.tolist())
    logits, start, slot = [], 0, -1
    for size in chunks or [count]:
        rows = slice(start, min(start + size, count))
        span = Span(
            tokens[rows],
            start,
            pages,
            read_slot=slot,
            write_slot=(slot + 1) % SLOTS,
            rotary_positions=None if rotary_positions is None else rotary_positions[rows],
        )
        logits.append(step_logits(loaded, state, make_step(config, span), observe))
        start, slot = rows.stop, (slot + 1) % SLOTS
        if start == count:
            break
    assert start == count
    return np.concatenate(logits)
