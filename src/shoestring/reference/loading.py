"""Bound sources as numpy arrays: the engine's Weights structure, filled without the extension.

Matrices stay float32, which represents every stored number exactly; arithmetic widens them to float64. Routed experts
are read on demand, so a large mixture needs memory for one expert at a time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, Source
from shoestring.errors import CheckpointError
from shoestring.models import llama4, qwen3_5
from shoestring.models.families import build_weights
from shoestring.reference.dequantize import BLOCKS, dequantize, widen_fp8
from shoestring.reference.functions import Array, Stored, rotary_constants

FLOATS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


@dataclass(frozen=True)
class ReferenceExperts:
    """Routed experts, read from their sources on demand."""

    binding: Binding

    def fetch(self, layer: int, expert: int) -> tuple[Stored, Stored, Stored]:
        """gate, up [I, H] and down [H, I] of one expert."""
        name = f"layers.{layer}.experts.{expert}"
        gate, up, down = (stored_numbers(self.binding.sources[f"{name}.{part}"]) for part in ("gate", "up", "down"))
        return gate, up, down


ReferenceWeights = qwen3_5.Weights[Stored, Array] | llama4.Weights[Stored, Array]
Loaded = tuple[ReferenceWeights, ReferenceExperts]


def load_weights(config: Config, binding: Binding) -> Loaded:
    """Read all weights except the routed experts."""

    def matrix(name: str, rows: int, columns: int) -> Stored:
        return stored_numbers(binding.sources[name])

    def vector(name: str, *shape: int) -> Array:
        return numbers(binding.sources[name]).reshape(shape)

    weights = build_weights(config, matrix, vector, rotary_constants(config.rotary))
    return weights, ReferenceExperts(binding)


def stored_numbers(source: Source) -> npt.NDArray[np.float32]:
    """The numbers of a source without its fold, [rows, columns]. Raises CheckpointError for FP8 without scales."""
    kind, data = source.tensor.type, source.tensor.data
    if kind in BLOCKS:
        row_bytes = source.columns // block_size(kind) * BLOCKS[kind][0]
        rows = strided(data, np.uint8, source.rows, row_bytes, source.offset, source.row_stride, 1)
        return dequantize(rows, kind)
    if kind == "F8_E4M3":
        codes = strided(
            data, np.uint8, source.rows, source.columns, source.offset, source.row_stride, source.column_stride
        )
        if source.scale is None:
            raise CheckpointError(
                f"{source.tensor.file}: tensor {source.tensor.name} is FP8 without weight_scale_inv; "
                "use a checkpoint that has its scales"
            )
        scale = source.scale
        itemsize = np.dtype(FLOATS[scale.type]).itemsize
        high, wide = scale.shape
        return widen_fp8(codes, floats(scale.data, scale.type, high, wide, 0, wide * itemsize, itemsize))
    return floats(data, kind, source.rows, source.columns, source.offset, source.row_stride, source.column_stride)


def numbers(source: Source) -> Array:
    """The numbers of a source with its fold, float64, [rows, columns]."""
    stored = stored_numbers(source).astype(np.float64)
    if source.fold == "add_one":
        return stored + 1
    if source.fold == "negative_exp":
        return np.asarray(-np.exp(stored))
    return stored


def block_size(kind: str) -> int:
    return 256 if kind.endswith("_K") else 32


def floats(
    data: npt.NDArray[np.uint8], kind: str, rows: int, columns: int, offset: int, row_stride: int, column_stride: int
) -> npt.NDArray[np.float32]:
    """F32, F16 or BF16 numbers at any strides. Raises CheckpointError for another type."""
    if kind not in FLOATS:
        raise CheckpointError(f"tensor type {kind} is not supported; convert the checkpoint to one that is")
    stored = strided(data, FLOATS[kind], rows, columns, offset, row_stride, column_stride)
    if kind == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def strided(
    data: npt.NDArray[np.uint8],
    dtype: npt.DTypeLike,
    rows: int,
    columns: int,
    offset: int,
    row_stride: int,
    column_stride: int,
) -> npt.NDArray[Any]:
    """A view of bytes as rows × columns of a type. numpy raises if it leaves the data."""
    buffer = memoryview(data)  # type: ignore[arg-type]
    view: npt.NDArray[Any] = np.ndarray((rows, columns), dtype, buffer, offset, (row_stride, column_stride))
    return view
