"""What a model costs, from its config alone: parameters and floating-point operations.

Counted over the very function that builds the weights and the very layout that the engine allocates by.
"""

from dataclasses import dataclass

from shoestring.checkpoint.config.types import Config
from shoestring.models.families import state_layout
from shoestring.models.shapes import wanted_shapes
from shoestring.models.state import AttentionState


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
