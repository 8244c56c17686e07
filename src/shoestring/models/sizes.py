"""What a model costs, from its config alone: parameters, floating-point operations, bytes of a sequence.

Counted over the very function that builds the weights and the very layout that the engine allocates by.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from shoestring.checkpoint.config.types import Config
from shoestring.models.families import state_layout
from shoestring.models.shapes import wanted_shapes
from shoestring.models.state import AttentionState, DeltaNetState, KVType, LayerState


@dataclass(frozen=True)
class Parameters:
    """Numbers of the text model without its multi-token prediction; `active`: those that one token multiplies."""

    total: int
    active: int


def parameters(config: Config) -> Parameters:
    """Counted over the shapes that the model wants. An untied embedding is looked up, not multiplied."""
    total = active = 0
    for name, shape in wanted_shapes(config).items():
        size = shape.rows * shape.columns
        total += size * shape.count
        if ".experts." in name:
            active += size * config.num_experts_per_tok
        elif name != "embedding" or config.tie_word_embeddings:
            active += size
    return Parameters(total, active)


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
