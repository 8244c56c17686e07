"""The weights of a model by our names, with their shapes: recorded from the model file's own `build_weights`."""

from __future__ import annotations

import numpy as np

from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import WeightShape
from shoestring.models.constants import RotaryConstants
from shoestring.models.families import build_weights, expert_layers

_NO_ROTARY = RotaryConstants(np.zeros(0, np.float64), np.zeros(0, np.int32), 1.0)


def wanted_shapes(config: Config) -> dict[str, WeightShape]:
    """Shapes of all weights. A layer's experts have one entry per role: "layers.N.experts.gate" with a count."""
    shapes: dict[str, WeightShape] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        shapes[name] = WeightShape(rows, columns)

    def vector(name: str, *shape: int) -> None:
        rows, columns = (1, *shape)[-2:]
        shapes[name] = WeightShape(rows, columns, is_matrix=False)

    build_weights(config, matrix, vector, _NO_ROTARY)
    for layer in expert_layers(config):
        H, I, E = layer.hidden_size, layer.intermediate_size, layer.num_experts  # noqa: E741
        for role, rows, columns in (("gate", I, H), ("up", I, H), ("down", H, I)):
            shapes[f"layers.{layer.layer}.experts.{role}"] = WeightShape(rows, columns, count=E)
    return shapes
