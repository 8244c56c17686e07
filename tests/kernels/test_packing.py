"""Packing: every type's bytes are those of the drawings in kernels/types, in every variant, whatever the region."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_cases import MatrixCase, blocks, numbers
from other_variants import same_in_all_variants
from packed_layout import packed

from shoestring import ops
from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES

Bytes = npt.NDArray[np.uint8]
FLOATS = ("F32", "F16", "BF16")


def random_rows(weight_type: str, rows: int, columns: int, seed: int) -> Bytes:
    """Any bytes: packing moves bits, whatever they stand for."""
    kind = TENSOR_TYPES[weight_type]
    size = columns // kind.block_size * kind.block_bytes
    return np.random.default_rng(seed).integers(0, 256, (rows, size), dtype=np.uint8)


def by_reader(
    weight_type: str, rows: int, columns: int, seed: int, before: int, gap: int, transposed: bool, threads: int
) -> Bytes:
    """The arena, of 64 bytes 0xAA, the packed matrix and again 64; the file has `before` bytes in front.

    gap: bytes between the rows of the file, or between its columns where it is transposed.
    """
    kind, data = TENSOR_TYPES[weight_type], random_rows(weight_type, rows, columns, seed)
    item = kind.block_bytes
    row_stride, column_stride = data.shape[1] + gap, item if kind.block_size == 1 else 0
    lines = data
    if transposed:
        lines = data.reshape(rows, columns, item).swapaxes(0, 1).reshape(columns, -1)
        row_stride, column_stride = item, lines.shape[1] + gap
    size = ops.packed_bytes(weight_type, rows, columns)
    arena = np.full(size + 128, 0xAA, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        filler = bytes([0x55])
        path.write_bytes(filler * before + b"".join(line.tobytes() + filler * gap for line in lines))
        file = ops.File(path)
        target = ops.Target(weight_type, rows, columns, 0, row_stride, column_stride, 64)
        with ops.Reader(arena, threads, 256 << 10) as reader:
            reader.wait([reader.submit([ops.Part(file, before, file.size, (target,))], "now")])
    return arena


def check(*case: int | str | bool) -> None:
    weight_type, rows, columns, seed = case[:4]
    arena = same_in_all_variants(by_reader, *case)
    expected = packed(weight_type, random_rows(weight_type, rows, columns, seed), columns)  # type: ignore[arg-type]
    assert len(expected) == ops.packed_bytes(weight_type, rows, columns)  # type: ignore[arg-type]
    assert arena[64:-64].tobytes() == expected.tobytes()
    assert (arena[:64] == 0xAA).all()
    assert (arena[-64:] == 0xAA).all()


@pytest.mark.parametrize("weight_type", WEIGHT_TYPES)
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 400])
def test_every_type_in_every_variant(weight_type: str, rows: int) -> None:
    columns = 768 if weight_type not in FLOATS else 65
    check(weight_type, rows, columns, rows, 3, 0, False, 2)
    if weight_type in FLOATS:
        check(weight_type, rows, columns, rows, 3, 0, True, 2)


@given(
    weight_type=st.sampled_from(WEIGHT_TYPES),
    rows=st.integers(1, 70),
    size=st.integers(1, 150),
    before=st.integers(0, 5000),
    gap=st.sampled_from([0, 0, 2, 100, 4096]),
    transposed=st.booleans(),
    threads=st.integers(1, 3),
)
@settings(max_examples=150)
def test_any_region(
    weight_type: str, rows: int, size: int, before: int, gap: int, transposed: bool, threads: int
) -> None:
    block = TENSOR_TYPES[weight_type].block_size
    columns = size if block == 1 else -(-size // 30) * block
    check(weight_type, rows, columns, size, before, gap, transposed and block == 1, threads)


@pytest.mark.parametrize("weight_type", WEIGHT_TYPES)
def test_a_packed_matrix_reads_back(weight_type: str) -> None:
    """`ops.pack` uses the same packing."""
    case = MatrixCase(weight_type, 37, 768)
    ids = np.arange(case.rows, dtype=np.int32)
    kind = TENSOR_TYPES[weight_type]
    stride = blocks(case).shape[1]
    spaced = np.zeros((case.rows, stride + 64), np.uint8)
    spaced[:, :stride] = blocks(case)
    matrix = ops.pack(
        spaced.reshape(-1),
        weight_type,
        case.rows,
        case.columns,
        offset=0,
        row_stride=stride + 64,
        column_stride=kind.block_bytes if kind.block_size == 1 else 0,
    )
    assert ops.embed(ops.Workspace(), matrix, ids).tobytes() == numbers(case).tobytes()
