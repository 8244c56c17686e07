"""A reference tower of either family: numpy weights; one part in, rows of the text model out."""

from __future__ import annotations

from typing import Any

import numpy as np

from shoestring.checkpoint.config.vision_types import Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.names.regions import Binding
from shoestring.checkpoint.names.vision import SECOND_FRAME
from shoestring.models.towers import build_weights
from shoestring.models.vision import qwen3_5_vision as qwen3_5_model
from shoestring.reference import llama4_vision, qwen3_5_vision
from shoestring.reference.functions import Array
from shoestring.reference.loading import numbers, stored_numbers
from shoestring.reference.vision_functions import NO_VISION_TRAPS, VisionTraps, frequencies

ReferenceTower = qwen3_5_vision.QwenTower | llama4_vision.LlamaTower


def load_tower(config: VisionConfig, binding: Binding) -> ReferenceTower:
    """Read all weights of a tower."""
    sources = binding.sources

    def matrix(name: str, rows: int, columns: int) -> Any:
        if name == "patch.weight" and SECOND_FRAME in sources:
            assert isinstance(config, Qwen3_5VisionConfig)
            kernels = np.empty((rows, 3, 2, config.patch_size**2), np.float32)
            for frame, part in enumerate((name, SECOND_FRAME)):
                kernels[:, :, frame] = stored_numbers(sources[part]).reshape(rows, 3, -1)
            return kernels.reshape(rows, columns)
        return stored_numbers(sources[name])

    def vector(name: str, *shape: int) -> Array:
        return numbers(sources[name]).reshape(shape)

    return build_weights(config, matrix, vector, frequencies)


def encode(
    weights: ReferenceTower, pixels: Any, rows: int, columns: int, traps: VisionTraps = NO_VISION_TRAPS
) -> Array:
    """The rows of the text model of one part, as `models.towers.layers` yields them last."""
    values = np.asarray(pixels, np.float64)
    if isinstance(weights, qwen3_5_model.Weights):
        return qwen3_5_vision.forward(weights, values, rows, columns, traps)
    return llama4_vision.forward(weights, values, traps)
