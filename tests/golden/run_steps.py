"""Runs the families' forward passes on one sequence: pools and slots set up by hand, pages shuffled."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shoestring import ops
from shoestring.checkpoint.config import Config
from shoestring.models.families import KernelWeights, forward, head, state_layout
from shoestring.models.state import PAGE_TOKENS, AttentionPages, AttentionState, DeltaNetSlots, KVType, State
from shoestring.models.step import PageTable, Step

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

SLOTS = 3


def new_state(config: Config, pages: int, kv_type: KVType) -> State:
    """`pages` pages a layer, filled with NaN where nothing was stored: what must not be read shows."""
    dtype = np.float16 if kv_type == "f16" else np.float32
    layers: list[AttentionPages | DeltaNetSlots] = []
    for layer in state_layout(config):
        if isinstance(layer, AttentionState):
            heads, dim = layer.num_key_value_heads, layer.head_dim
            layers.append(
                AttentionPages(
                    keys=np.full((pages, heads, dim, PAGE_TOKENS), np.nan, dtype),
                    values=np.full((pages, heads, PAGE_TOKENS, dim), np.nan, dtype),
                )
            )
        else:
            channels, taps = layer.convolution
            layers.append(
                DeltaNetSlots(
                    convolution=np.full((SLOTS, taps, channels), np.nan, np.float32),
                    memory=np.full((SLOTS, *layer.memory), np.nan, np.float32),
                )
            )
    return State(tuple(layers))


def run(
    weights: KernelWeights,
    tokens: Int64,
    kv_type: KVType = "f32",
    chunks: Sequence[int] | None = None,
    rotary_positions: Int64 | None = None,
) -> Float32:
    """Logits of all rows, [rows, vocabulary]; `chunks`: rows a step (default: all in one)."""
    count = len(tokens)
    num_pages = -(-count // PAGE_TOKENS)
    state = new_state(weights.config, num_pages + 2, kv_type)
    shuffled = np.random.default_rng(count).permutation(num_pages + 2)[:num_pages].astype(np.int32)
    positions = np.repeat(np.arange(count, dtype=np.int64)[:, None], 3, axis=1)
    if rotary_positions is not None:
        positions = rotary_positions
    local_size = getattr(weights.config, "attention_chunk_size", 0)
    workspace = ops.Workspace()
    logits, start, slot = [], 0, -1
    for size in chunks or [count]:
        rows = np.arange(start, min(start + size, count))
        # Pages behind the chunk of the step's first row are gone from the chunk-local table.
        first = start // local_size * local_size // PAGE_TOKENS if local_size else 0
        step = Step(
            token_ids=tokens[rows].astype(np.int32),
            index=rows.astype(np.int64),
            rotary_positions=np.ascontiguousarray(positions[rows], np.int64),
            span_starts=np.array([0, len(rows)], np.int32),
            global_pages=PageTable(shuffled[None, :].copy(), np.zeros(1, np.int64)),
            chunk_pages=PageTable(shuffled[None, first:].copy(), np.array([first], np.int64)),
            read_slots=np.array([slot], np.int32),
            write_slots=np.array([(slot + 1) % SLOTS], np.int32),
            snapshots=np.zeros((0, 2), np.int32),
        )
        with workspace:
            hidden = forward(weights, state, step, workspace)
            logits.append(head(weights, hidden, workspace).copy())
        start, slot = start + len(rows), (slot + 1) % SLOTS
    return np.concatenate(logits)
