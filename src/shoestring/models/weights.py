"""From `Binding` to `Weights`: pack every source once for the kernels, and drop its file pages from memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.formats.mapping import release_pages
from shoestring.checkpoint.names.bind import Binding, Source
from shoestring.checkpoint.names.parts import Part
from shoestring.checkpoint.tensors import TENSOR_TYPES, Tensor
from shoestring.models.constants import rotary_constants
from shoestring.models.experts import ResidentExperts
from shoestring.models.families import KernelWeights, build_weights, expert_layers
from shoestring.models.shapes import wanted_shapes

if TYPE_CHECKING:
    from shoestring._kernels import ExpertTable, Matrix

#: Bytes done, bytes in all.
Progress = Callable[[int, int], None]


def load_weights(
    config: Config,
    binding: Binding,
    progress: Progress | None = None,
    *,
    experts: bool = True,
    embedding: bool = True,
    packed: Mapping[str, Matrix] | None = None,
) -> tuple[KernelWeights, ResidentExperts]:
    """Pack all sources of `binding`, one after another: each uses all threads of the kernels.

    experts: False leaves the routed experts in their files. embedding: False leaves its rows there; the hidden states
    of a step's rows are then `Step.embeddings`. packed: matrices that are loaded already, by our names.
    """
    vector_sources = vector_names(config)
    matrices: dict[str, Matrix] = dict(packed or {})
    vectors: dict[str, ops.Float32] = {}
    # In file order, so that the disk reads ahead.
    sources = [item for item in sorted(binding.sources.items(), key=file_position) if item[0] not in matrices]
    if not experts:
        sources = [(name, source) for name, source in sources if source.part != "routed_experts"]
    if not embedding:
        sources = [(name, source) for name, source in sources if name != "embedding"]
        matrices["embedding"] = _no_rows(config.hidden_size)
    total, done = sum(stored_bytes(source) for _, source in sources), 0
    for name, source in sources:
        if name in vector_sources:
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
    for layer in expert_layers(config) if experts else ():
        each = [f"layers.{layer.layer}.experts.{e}" for e in range(layer.num_experts)]
        gate, up, down = ([matrices[f"{name}.{part}"] for name in each] for part in ("gate", "up", "down"))
        tables[layer.layer] = ops.expert_table(gate, up, down)
    weights = build_weights(config, matrix, vector, rotary_constants(config.rotary))
    return weights, ResidentExperts(tables)


def _no_rows(columns: int) -> Matrix:
    """A matrix for an embedding whose rows are never read: one row of zeros."""
    return ops.pack(np.zeros(4 * columns, np.uint8), "F32", 1, columns, offset=0, row_stride=0, column_stride=4)


def vector_names(config: Config) -> frozenset[str]:
    """Our names of the weights that load as float32 vectors; all others, experts included, are matrices."""
    return frozenset(name for name, shape in wanted_shapes(config).items() if not shape.is_matrix)


def loaded_bytes(config: Config, binding: Binding) -> Counter[Part]:
    """Bytes of the loaded weights by part: packed matrices, float32 vectors."""
    vectors = vector_names(config)
    total: Counter[Part] = Counter()
    for name, source in binding.sources.items():
        rows, columns = source.rows, source.columns
        packed = 4 * rows * columns if name in vectors else ops.packed_bytes(loaded_type(source), rows, columns)
        total[source.part] += packed
    return total


def loaded_type(source: Source) -> str:
    """The type of the packed matrix: the file's, but F32 for quantized routers (sensitive), folded matrices and FP8."""
    quantized_router = source.part == "router" and TENSOR_TYPES[source.tensor.type].block_size > 1
    return "F32" if source.scale is not None or source.fold != "none" or quantized_router else source.tensor.type


def load_matrix(source: Source) -> Matrix:
    """Pack a source as `loaded_type`."""
    rows, columns = source.rows, source.columns
    if loaded_type(source) != source.tensor.type:
        data = load_float32(source).reshape(-1).view(np.uint8)
        return ops.pack(data, "F32", rows, columns, offset=0, row_stride=4 * columns, column_stride=4)
    matrix = ops.pack(source.tensor.data, source.tensor.type, rows, columns, **strides(source))
    release_pages(source.tensor.data, *region(source))  # pages at the edges, and all pages of a transposed region
    return matrix


def load_float32(source: Source) -> ops.Float32:
    """The numbers of a source with its fold, [rows, columns]. Drops the file's pages from memory."""
    data, rows, columns = source.tensor.data, source.rows, source.columns
    if source.scale is not None:
        numbers = ops.widen_fp8(data, load_scales(source.scale), rows, columns, **strides(source))
    else:
        numbers = ops.to_float32(data, source.tensor.type, rows, columns, **strides(source))
    if source.fold != "none":
        fold = {"add_one": ops.add_one, "negative_exp": ops.negative_exp}[source.fold]
        numbers = fold(numbers.reshape(-1)).reshape(rows, columns)
    release_pages(data, *region(source))
    return numbers


def load_scales(scale: Tensor) -> ops.Float32:
    """The scales of an FP8 matrix, one per 128 × 128 block."""
    rows, columns = scale.shape
    size = TENSOR_TYPES[scale.type].block_bytes
    return ops.to_float32(
        scale.data, scale.type, rows, columns, offset=0, row_stride=columns * size, column_stride=size
    )


def strides(source: Source) -> dict[str, int]:
    """Where a source lies in `tensor.data`, as keyword arguments of ops."""
    return {"offset": source.offset, "row_stride": source.row_stride, "column_stride": source.column_stride}


def stored_bytes(source: Source) -> int:
    """Bytes of a source in its file."""
    storage = TENSOR_TYPES[source.tensor.type]
    return source.rows * (source.columns // storage.block_size) * storage.block_bytes


def file_position(item: tuple[str, Source]) -> tuple[str, int]:
    source = item[1]
    return str(source.tensor.file), source.tensor.offset + source.offset


def region(source: Source) -> tuple[int, int]:
    """First and last byte (exclusive) of `tensor.data` that a source reads."""
    storage = TENSOR_TYPES[source.tensor.type]
    if storage.block_size > 1:
        row = (source.columns // storage.block_size) * storage.block_bytes
    else:
        row = (source.columns - 1) * source.column_stride + storage.block_bytes
    return source.offset, source.offset + (source.rows - 1) * source.row_stride + row
