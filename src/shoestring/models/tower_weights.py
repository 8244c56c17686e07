"""From a tower's `Binding` to its weights: pack every matrix once for the kernels, widen every vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.vision_types import Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.names.regions import Binding
from shoestring.checkpoint.names.vision import SECOND_FRAME
from shoestring.models.towers import KernelWeights, build_weights
from shoestring.models.weights import Progress, file_position, load_float32, load_matrix, loaded_type, stored_bytes

if TYPE_CHECKING:
    from shoestring._kernels import Matrix


def load_tower(config: VisionConfig, binding: Binding, progress: Progress | None = None) -> KernelWeights:
    """Load all weights of a tower, in the order of the file."""
    matrices: dict[str, Matrix] = {}
    vectors: dict[str, ops.Float32] = {}
    names: dict[str, bool] = {}
    build_weights(
        config,
        lambda name, rows, columns: names.setdefault(name, True),
        lambda name, *shape: names.setdefault(name, False),
        lambda dims, theta: np.zeros(0, np.float64),
    )
    patches: dict[str, ops.Float32] = {}
    total, done = sum(map(stored_bytes, binding.sources.values())), 0
    for name, source in sorted(binding.sources.items(), key=file_position):
        if name.startswith("patch.weight"):
            patches[name] = load_float32(source)
        elif names[name]:
            matrices[name] = load_matrix(source)
        else:
            vectors[name] = load_float32(source)
        done += stored_bytes(source)
        if progress is not None:
            progress(done, total)
    matrices["patch.weight"] = _packed(joined_frames(patches, config))
    return build_weights(
        config,
        lambda name, rows, columns: matrices[name],
        lambda name, *shape: vectors[name].reshape(shape),
        ops.rope_frequencies,
    )


def loaded_bytes(config: VisionConfig, binding: Binding) -> int:
    """Bytes of a tower's weights once loaded. Needs no compiled code."""
    total = 0
    for name, source in binding.sources.items():
        rows, columns = source.rows, source.columns
        is_vector = name.endswith(".bias") or "norm." in name or name in ("positions", "class_row")
        if is_vector:
            total += 4 * rows * columns
        else:
            total += ops.packed_bytes("F32" if name.startswith("patch.") else loaded_type(source), rows, columns)
    return total


def joined_frames(patches: dict[str, ops.Float32], config: VisionConfig) -> ops.Float32:
    """The patch embedding [H, P]. GGUF has the kernels of each frame apart: columns are channel, frame, y, x."""
    if SECOND_FRAME not in patches:
        return patches["patch.weight"]
    assert isinstance(config, Qwen3_5VisionConfig)
    frames = [patches[name].reshape(config.hidden_size, 3, -1) for name in ("patch.weight", SECOND_FRAME)]
    joined: ops.Float32 = np.stack(frames, axis=2).reshape(config.hidden_size, config.patch_values)
    return joined


def _packed(numbers: ops.Float32) -> Matrix:
    rows, columns = numbers.shape
    data = numbers.reshape(-1).view(np.uint8)
    return ops.pack(data, "F32", rows, columns, offset=0, row_stride=4 * columns, column_stride=4)
