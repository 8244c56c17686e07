"""Calls the vision tower of the family that a config or its weights belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.vision_types import Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.names.bind import WeightShape
from shoestring.media.qwen3_5 import Grid
from shoestring.models.vision import llama4_vision, qwen3_5_vision

M = TypeVar("M")
A = TypeVar("A")

KernelWeights = qwen3_5_vision.KernelWeights | llama4_vision.KernelWeights


def build_weights(
    config: VisionConfig,
    matrix: Callable[[str, int, int], M],
    vector: Callable[..., A],
    frequencies: Callable[[int, float], ops.Float64],
) -> qwen3_5_vision.Weights[M, A] | llama4_vision.Weights[M, A]:
    """The family's weights. `matrix(name, rows, columns)` and `vector(name, *shape)` return them by our names."""
    if isinstance(config, Qwen3_5VisionConfig):
        return qwen3_5_vision.build_weights(config, matrix, vector, frequencies)
    return llama4_vision.build_weights(config, matrix, vector, frequencies)


def wanted_shapes(config: VisionConfig) -> dict[str, WeightShape]:
    """Shapes of all weights, by our names."""
    shapes: dict[str, WeightShape] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        shapes[name] = WeightShape(rows, columns)

    def vector(name: str, *shape: int) -> None:
        rows, columns = (1, *shape)[-2:]
        shapes[name] = WeightShape(rows, columns, is_matrix=False)

    build_weights(config, matrix, vector, lambda dims, theta: np.zeros(0, np.float64))
    return shapes


def layers(weights: KernelWeights, pixels: ops.Float32, grid: Grid, ws: ops.Workspace) -> Iterator[ops.Float32]:
    """The tower over one part, a layer a turn: as many arrays as layers, the last the part's rows of the text model.

    A part is a picture, a pair of frames of a video (`QwenPicture.patches`), or a tile (one of `LlamaPicture.values`).
    grid: its patches; of a tile always the same. The rows lie in `ws`, [rows, hidden_size of the text model].
    """
    if isinstance(weights, qwen3_5_vision.Weights):
        return qwen3_5_vision.layers(weights, pixels, grid, ws)
    return llama4_vision.layers(weights, pixels, ws)


def part_rows(config: VisionConfig, grid: Grid) -> int:
    """Rows of the text model that a part gives."""
    merge = config.spatial_merge_size if isinstance(config, Qwen3_5VisionConfig) else config.shuffle_size
    return grid.rows * grid.columns // merge**2


def encode(weights: KernelWeights, pixels: ops.Float32, grid: Grid, ws: ops.Workspace) -> ops.Float32:
    """The last array of `layers`."""
    *_, rows = layers(weights, pixels, grid, ws)
    return rows
