"""Ops of loading: pack matrices from the bytes of a file, convert vectors, compute rotary constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shoestring.checkpoint.formats.mapping import mapping_of
from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES
from shoestring.errors import CheckpointError
from shoestring.ops import extension
from shoestring.ops.extension import Bytes, Float32, Float64

if TYPE_CHECKING:
    from shoestring import _kernels
    from shoestring._kernels import Matrix
else:
    _kernels = extension.Unloaded(globals())


#: Rows that are packed together; a matrix occupies whole groups.
GROUP_ROWS = 16


def packed_bytes(tensor_type: str, rows: int, columns: int) -> int:
    """`Matrix.nbytes` of a matrix that `pack` returns. Needs no compiled code.

    Raises CheckpointError for a type that the kernels do not support.
    """
    block_size = _block_size(tensor_type)
    if tensor_type == "BF16":
        columns += columns % 2  # packed in pairs of columns
    return -(-rows // GROUP_ROWS) * (columns // block_size) * TENSOR_TYPES[tensor_type].packed_bytes


def pack(
    data: Bytes, tensor_type: str, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Matrix:
    """Pack weights in the kernels' 16-row interleaved form, from the bytes of a file (see names.Source).

    Drops the pages of a mapped file from memory. Raises CheckpointError for a type that the kernels do not support,
    rows that are not whole blocks, or a region outside the data.
    """
    _block_size(tensor_type, columns)
    try:
        drop_pages = mapping_of(data) is not None
        return _kernels.pack(data, tensor_type, rows, columns, offset, row_stride, column_stride, drop_pages)
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type {tensor_type}: {error}") from None


def matrix_at(arena: Bytes, offset: int, tensor_type: str, rows: int, columns: int) -> Matrix:
    """The matrix whose `packed_bytes` begin at `offset` in an arena. Copies nothing; the bytes may still be arriving.

    It keeps the arena alive. Raises ValueError for a place that is not aligned to 64 bytes or not inside the arena.
    """
    return _kernels.matrix_at(arena, offset, tensor_type, rows, columns)


def to_float32(
    data: Bytes, tensor_type: str, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Float32:
    """The numbers of any weight type, [rows, columns]. Raises as `pack` does."""
    _block_size(tensor_type, columns)
    try:
        out = np.empty((rows, columns), np.float32)
        _kernels.to_float32(data, tensor_type, offset, row_stride, column_stride, out)
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type {tensor_type}: {error}") from None
    return out


def widen_fp8(
    data: Bytes, scale: Float32, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Float32:
    """e4m3 numbers × the scale of their 128 × 128 block, rounded once, [rows, columns].

    scale [⌈rows / 128⌉, ⌈columns / 128⌉]. Raises CheckpointError for a region outside the data.
    """
    try:
        out = np.empty((rows, columns), np.float32)
        _kernels.widen_fp8(data, scale, offset, row_stride, column_stride, out)
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type F8_E4M3: {error}") from None
    return out


def _block_size(tensor_type: str, columns: int = 0) -> int:
    """Raises CheckpointError for an unsupported type, and for columns that are not whole blocks."""
    if tensor_type not in WEIGHT_TYPES:
        raise CheckpointError(f"type {tensor_type}: the kernels compute with {', '.join(WEIGHT_TYPES)}")
    size = TENSOR_TYPES[tensor_type].block_size
    if columns % size:
        raise CheckpointError(f"{columns} columns of type {tensor_type}: not a multiple of its block of {size}")
    return size


def add_one(vector: Float32) -> Float32:
    """x + 1."""
    out = np.empty_like(vector)
    _kernels.add_one(vector, out)
    return out


def negative_exp(vector: Float32) -> Float32:
    """−exp(x)."""
    out = np.empty_like(vector)
    _kernels.negative_exp(vector, out)
    return out


def rope_frequencies(dims: int, theta: float) -> Float64:
    """theta^(−2i/dims), [dims/2]."""
    out = np.empty(dims // 2, np.float64)
    _kernels.rope_frequencies(theta, out)
    return out


def rope_frequencies_llama3(frequencies: Float64, factor: float, low: float, high: float, original: int) -> Float64:
    """Frequencies with Llama 3 scaling; with low = high, none uses the smooth term."""
    out: Float64 = frequencies.copy()
    _kernels.rope_frequencies_llama3(out, factor, low, high, original)
    return out


def rope_frequencies_yarn(
    dims: int, theta: float, factor: float, original: int, beta_fast: float, beta_slow: float
) -> Float64:
    """Frequencies with YaRN (arXiv 2309.00071), bounds floored, ceiled and clamped as transformers does."""
    out = np.empty(dims // 2, np.float64)
    _kernels.rope_frequencies_yarn(theta, factor, original, beta_fast, beta_slow, out)
    return out


def yarn_attention_factor(factor: float) -> float:
    """0.1 · ln(factor) + 1."""
    return _kernels.yarn_attention_factor(factor)
