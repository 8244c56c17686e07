"""Weights for the kernels: every bound source packed once, its file pages dropped behind it.

Owns the way from `Binding` to `Weights`; names and layouts are those of checkpoint/names, packed forms the kernels'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.formats.mapping import release_pages
from shoestring.checkpoint.names.bind import Binding, Source
from shoestring.checkpoint.names.parts import Part
from shoestring.checkpoint.tensors import TENSOR_TYPES
from shoestring.models.constants import rotary_constants
from shoestring.models.experts import ResidentExperts
from shoestring.models.families import KernelWeights, build_weights, expert_layers
from shoestring.models.shapes import wanted_shapes

if TYPE_CHECKING:
    from shoestring._kernels import ExpertTable, Matrix

#: Bytes done, bytes in all.
Progress = Callable[[int, int], None]


def load_weights(
    config: Config, binding: Binding, progress: Progress | None = None
) -> tuple[KernelWeights, ResidentExperts]:
    """Packs all sources of `binding`, one after another: each uses all threads of the kernels."""
    is_vector = {name: not shape.is_matrix for name, shape in wanted_shapes(config).items()}
    matrices: dict[str, Matrix] = {}
    vectors: dict[str, ops.Float32] = {}
    # In the order of the files, so that a disk reads ahead.
    sources = sorted(binding.sources.items(), key=lambda item: (str(item[1].tensor.file), absolute_offset(item[1])))
    total, done = sum(stored_bytes(source) for _, source in sources), 0
    for name, source in sources:
        if is_vector.get(name):  # an expert's matrices have no shapes of their own
            vectors[name] = load_float32(source)
        else:
            matrices[name] = load_matrix(source)
        done += stored_bytes(source)
        if progress is not None:
            progress(done, total)

    def matrix(name: str, rows: int, columns: int) -> Matrix:
        return matrices[name]

    def vector(name: str, *shape: int) -> ops.Float32:
        return vectors[name].reshape(shape)

    tables: dict[int, ExpertTable] = {}
    for layer in expert_layers(config):
        each = [f"layers.{layer.layer}.experts.{e}" for e in range(layer.num_experts)]
        gate, up, down = ([matrices[f"{name}.{part}"] for name in each] for part in ("gate", "up", "down"))
        tables[layer.layer] = ops.expert_table(gate, up, down)
    weights = build_weights(config, matrix, vector, rotary_constants(config.rotary))
    return weights, ResidentExperts(tables)


def loaded_bytes(config: Config, binding: Binding) -> Counter[Part]:
    """What the weights take in memory once loaded, by part: packed matrices, float32 vectors."""
    vectors = {name for name, shape in wanted_shapes(config).items() if not shape.is_matrix}
    total: Counter[Part] = Counter()
    for name, source in binding.sources.items():
        rows, columns = source.rows, source.columns
        packed = 4 * rows * columns if name in vectors else ops.packed_bytes(loaded_type(source), rows, columns)
        total[source.part] += packed
    return total


def loaded_type(source: Source) -> str:
    """The type that a matrix is packed as: the file's, F32 for quantized routers (sensitive), folded ones and FP8."""
    quantized_router = source.part == "router" and TENSOR_TYPES[source.tensor.type].block_size > 1
    return "F32" if source.scale is not None or source.fold != "none" or quantized_router else source.tensor.type


def load_matrix(source: Source) -> Matrix:
    """Packed as `loaded_type`."""
    if loaded_type(source) != source.tensor.type:
        numbers = load_float32(source)
        return ops.pack(
            numbers.reshape(-1).view(np.uint8),
            "F32",
            source.rows,
            source.columns,
            offset=0,
            row_stride=4 * source.columns,
            column_stride=4,
        )
    matrix = ops.pack(
        source.tensor.data,
        source.tensor.type,
        source.rows,
        source.columns,
        offset=source.offset,
        row_stride=source.row_stride,
        column_stride=source.column_stride,
    )
    release_pages(source.tensor.data, *region(source))  # those at the edges, and of transposed regions all
    return matrix


def load_float32(source: Source) -> ops.Float32:
    """The numbers of a source, [rows, columns], its fold applied; the file's pages are dropped behind it."""
    numbers = folded(unfolded(source), source)
    release_pages(source.tensor.data, *region(source))
    return numbers


def unfolded(source: Source) -> ops.Float32:
    if source.scale is not None:
        scale = source.scale
        rows, columns = scale.shape
        size = TENSOR_TYPES[scale.type].block_bytes
        scales = ops.to_float32(
            scale.data, scale.type, rows, columns, offset=0, row_stride=columns * size, column_stride=size
        )
        return ops.widen_fp8(
            source.tensor.data,
            scales,
            source.rows,
            source.columns,
            offset=source.offset,
            row_stride=source.row_stride,
            column_stride=source.column_stride,
        )
    return ops.to_float32(
        source.tensor.data,
        source.tensor.type,
        source.rows,
        source.columns,
        offset=source.offset,
        row_stride=source.row_stride,
        column_stride=source.column_stride,
    )


def folded(numbers: ops.Float32, source: Source) -> ops.Float32:
    if source.fold == "add_one":
        return ops.add_one(numbers.reshape(-1)).reshape(numbers.shape)
    if source.fold == "negative_exp":
        return ops.negative_exp(numbers.reshape(-1)).reshape(numbers.shape)
    return numbers


def stored_bytes(source: Source) -> int:
    """Bytes of a file that hold a source."""
    storage = TENSOR_TYPES[source.tensor.type]
    return source.rows * (source.columns // storage.block_size) * storage.block_bytes


def absolute_offset(source: Source) -> int:
    return source.tensor.offset + source.offset


def region(source: Source) -> tuple[int, int]:
    """First and last byte (exclusive) of `tensor.data` that a source reads."""
    storage = TENSOR_TYPES[source.tensor.type]
    if storage.block_size > 1:
        row = (source.columns // storage.block_size) * storage.block_bytes
    else:
        row = (source.columns - 1) * source.column_stride + storage.block_bytes
    return source.offset, source.offset + (source.rows - 1) * source.row_stride + row
