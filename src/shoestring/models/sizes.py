"""What a model costs, from its config alone: parameters, floating-point operations, bytes of a sequence.

Counted over the very function that builds the weights and the very layout that the engine allocates by.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shoestring.checkpoint.config.types import Config
from shoestring.models.constants import RotaryConstants
from shoestring.models.families import build_weights, expert_layers, state_layout
from shoestring.models.state import AttentionState, DeltaNetState, KVType, LayerState

#: For those who build weights only to see names and shapes.
NO_ROTARY = RotaryConstants(np.zeros(0, np.float64), np.zeros(0, np.int32), 1.0)


@dataclass(frozen=True)
class Parameters:
    """Numbers of the text model without its multi-token prediction; `active`: those that one token multiplies."""

    total: int
    active: int


def parameters(config: Config) -> Parameters:
    """Counted over build_weights and expert_layers."""
    dense = 0

    def count(name: str, *shape: int) -> int:
        nonlocal dense
        size = 1
        for length in shape:
            size *= length
        dense += size
        return size

    weights = build_weights(config, count, count, None, NO_ROTARY)
    chosen = config.num_experts_per_tok
    routed = sum(3 * layer.num_experts * layer.intermediate_size * layer.hidden_size for layer in expert_layers(config))
    active = sum(3 * chosen * layer.intermediate_size * layer.hidden_size for layer in expert_layers(config))
    looked_up = 0 if config.tie_word_embeddings else weights.embedding
    return Parameters(total=dense + routed, active=dense - looked_up + active)


def flops_per_token(config: Config, context: int) -> int:
    """Multiplications and additions of one token that sees `context` positions: matrices, scores and values."""
    heads = config.num_attention_heads * config.head_dim
    attended = 0
    for layer in state_layout(config):
        if isinstance(layer, AttentionState):
            attended += min(context, layer.chunk_size or context)
    return 2 * parameters(config).active + 4 * heads * attended


def kv_bytes_per_token(layout: Iterable[LayerState], kv_type: KVType) -> int:
    """What every token of the context adds for good: keys and values of layers that see the whole past."""
    return sum(
        layer.bytes_per_token(kv_type) for layer in layout if isinstance(layer, AttentionState) and not layer.chunk_size
    )


def sequence_bytes(layout: Iterable[LayerState], context: int, kv_type: KVType) -> int:
    """The most that a sequence of `context` tokens holds at once, in whole pages and one recurrent slot."""
    total = 0
    for layer in layout:
        if isinstance(layer, DeltaNetState):
            total += layer.bytes_per_sequence()
        else:
            total += layer.pages(context) * layer.bytes_per_page(kv_type)
    return total
