"""Ops of load time: bytes of a file → packed matrices, vectors, and the constants of rotary embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shoestring.checkpoint.formats.mapping import mapping_of
from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES
from shoestring.errors import CheckpointError
from shoestring.ops import extension
from shoestring.ops.extension import Bytes, Float32, Float64

if TYPE_CHECKING:
    from shoestring import _kernels
    from shoestring._kernels import ExpertTable, Matrix
else:
    _kernels = extension.Unloaded(globals())


#: Rows that are packed together; a matrix takes whole groups of them.
GROUP_ROWS = 16


def packed_bytes(tensor_type: str, rows: int, columns: int) -> int:
    """`Matrix.nbytes` of what pack returns; needs no compiled code.

    Raises CheckpointError for a type that the kernels lack.
    """
    block_size = _block_size(tensor_type)
    if tensor_type == "BF16":
        columns += columns % 2  # packed in pairs of columns
    return -(-rows // GROUP_ROWS) * (columns // block_size) * TENSOR_TYPES[tensor_type].packed_bytes


def pack(
    data: Bytes, tensor_type: str, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Matrix:
    """Weights in the kernels' 16-row interleaved form, from the bytes of a file (see names.Source).

    Pages of a mapped file are dropped behind it. Raises CheckpointError for a type that the kernels lack, rows
    that are no whole blocks, or a region outside the data.
    """
    block_size = _block_size(tensor_type)
    if columns % block_size:
        raise CheckpointError(f"{columns} columns of type {tensor_type}: not a multiple of its block of {block_size}")
    try:
        drop_pages = mapping_of(data) is not None
        return _kernels.pack(data, tensor_type, rows, columns, offset, row_stride, column_stride, drop_pages)
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type {tensor_type}: {error}") from None


def to_float32(
    data: Bytes, tensor_type: str, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Float32:
    """The numbers of any weight type, [rows, columns]; raises as pack does."""
    block_size = _block_size(tensor_type)
    if columns % block_size:
        raise CheckpointError(f"{columns} columns of type {tensor_type}: not a multiple of its block of {block_size}")
    try:
        out = np.empty((rows, columns), np.float32)
        _kernels.to_float32(data, tensor_type, offset, row_stride, column_stride, out)
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type {tensor_type}: {error}") from None
    return out


def widen_fp8(
    data: Bytes, scale: Float32, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Float32:
    """e4m3 × the scale of its 128 × 128 block, rounded once, [rows, columns]; scale [ceil(r/128), ceil(c/128)]."""
    try:
        out = np.empty((rows, columns), np.float32)
        _kernels.widen_fp8(data, scale, offset, row_stride, column_stride, out)
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type F8_E4M3: {error}") from None
    return out


def _block_size(tensor_type: str) -> int:
    if tensor_type not in WEIGHT_TYPES:
        raise CheckpointError(f"type {tensor_type}: the kernels compute with {', '.join(WEIGHT_TYPES)}")
    return TENSOR_TYPES[tensor_type].block_size


def add_one(vector: Float32) -> Float32:
    out = np.empty_like(vector)
    _kernels.add_one(vector, out)
    return out


def negative_exp(vector: Float32) -> Float32:
    """−exp(x)."""
    out = np.empty_like(vector)
    _kernels.negative_exp(vector, out)
    return out


def expert_table(gate: Sequence[Matrix], up: Sequence[Matrix], down: Sequence[Matrix]) -> ExpertTable:
    """The matrices of all experts of a layer: gate, up [width, hidden], down [hidden, width], expert by expert."""
    return _kernels.ExpertTable(gate, up, down)


def rope_frequencies(dims: int, theta: float) -> Float64:
    """theta^(−2i/dims), [dims/2]."""
    out = np.empty(dims // 2, np.float64)
    _kernels.rope_frequencies(theta, out)
    return out


def rope_frequencies_llama3(frequencies: Float64, factor: float, low: float, high: float, original: int) -> Float64:
    """Llama 3 scaling; with low = high no frequency uses the smooth term."""
    out: Float64 = frequencies.copy()
    _kernels.rope_frequencies_llama3(out, factor, low, high, original)
    return out


def rope_frequencies_yarn(
    dims: int, theta: float, factor: float, original: int, beta_fast: float, beta_slow: float
) -> Float64:
    """YaRN (arXiv 2309.00071) as transformers computes it: correction bounds floored, ceiled, clamped."""
    out = np.empty(dims // 2, np.float64)
    _kernels.rope_frequencies_yarn(theta, factor, original, beta_fast, beta_slow, out)
    return out


def yarn_attention_factor(factor: float) -> float:
    """0.1 · ln(factor) + 1."""
    return _kernels.yarn_attention_factor(factor)
