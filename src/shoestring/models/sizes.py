"""Parameters and floating-point operations of a model, from its config alone.

Counted over the functions that build the weights and that the engine allocates by.
"""

from dataclasses import dataclass
from functools import lru_cache

from shoestring.checkpoint.config.types import Config
from shoestring.models.families import state_layout
from shoestring.models.shapes import wanted_shapes
from shoestring.models.state import AttentionState


@dataclass(frozen=True)
class Parameters:
    """Parameters of the text model without multi-token prediction; active: those that one token multiplies."""

    total: int
    active: int


@lru_cache(64)
def parameters(config: Config) -> Parameters:
    """Count the parameters of a config. An untied embedding is not active: it is looked up, not multiplied."""
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
    """Multiplications and additions for one token that sees `context` positions: matrices, scores and values."""
    heads = config.num_attention_heads * config.head_dim
    attended = 0
    for layer in state_layout(config):
        if isinstance(layer, AttentionState):
            attended += min(context, layer.chunk_size or context)
    return 2 * parameters(config).active + 4 * heads * attended
