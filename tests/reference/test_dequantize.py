"""The reference dequantizers are bit-equal to the `gguf` package's for random blocks."""

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType

from shoestring.checkpoint.tensors import TENSOR_TYPES
from shoestring.reference.dequantize import BLOCKS, dequantize, e4m3_numbers, widen_fp8


def random_rows(kind: str, rows: int, blocks: int, rng: np.random.Generator) -> np.ndarray:
    """Random bytes with finite float16 scales."""
    size = TENSOR_TYPES[kind].block_bytes
    data = rng.integers(0, 256, (rows * blocks, size), dtype=np.uint8)
    halves = {"Q4_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}.get(kind, (0,))
    for start in halves:
        scale = rng.normal(0, 0.1, len(data)).astype(np.float16)
        data[:, start : start + 2] = scale[:, None].view(np.uint8)
    return data.reshape(rows, blocks * size)


@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_blocks_equal_gguf(kind: str) -> None:
    rng = np.random.default_rng(sum(kind.encode()))
    data = random_rows(kind, 16, 24, rng)
    ours = dequantize(data, kind)
    theirs = gguf.quants.dequantize(data, GGMLQuantizationType[kind])
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.shape == (16, 24 * TENSOR_TYPES[kind].block_size)
    assert np.array_equal(ours.view(np.uint32), theirs.view(np.uint32))


@pytest.mark.parametrize("kind", sorted(BLOCKS))
@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF])
def test_extreme_quants_equal_gguf(kind: str, byte: int) -> None:
    data = random_rows(kind, 1, 1, np.random.default_rng(byte))
    scales = data.copy()
    data[:] = byte
    for start in {"Q4_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}.get(kind, (0,)):
        data[:, start : start + 2] = scales[:, start : start + 2]
    theirs = gguf.quants.dequantize(data, GGMLQuantizationType[kind])
    assert np.array_equal(dequantize(data, kind).view(np.uint32), theirs.view(np.uint32))


def test_sizes_are_those_of_the_table() -> None:
    for kind, (block_bytes, _) in BLOCKS.items():
        assert block_bytes == TENSOR_TYPES[kind].block_bytes


def test_e4m3_numbers() -> None:
    """The extreme values in the format's definition (OCP 8-bit floating point, e4m3)."""
    table = e4m3_numbers()
    assert table[0x01] == 2.0**-9
    assert table[0x08] == 2.0**-6
    assert table[0x38] == 1
    assert table[0x7E] == 448
    assert np.isnan(table[[0x7F, 0xFF]]).all()
    assert np.isfinite(np.delete(table, [0x7F, 0xFF])).all()
    assert np.array_equal(table[0x80:0xFF], -table[:0x7F])
    assert (np.diff(table[:0x7F]) > 0).all()


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (128, 128), (129, 127), (192, 320), (300, 130)])
def test_fp8_blocks_are_128_with_short_edges(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows * columns)
    codes = rng.integers(0, 0x7F, (rows, columns), dtype=np.uint8)
    scale = rng.uniform(0.5, 2, (-(-rows // 128), -(-columns // 128))).astype(np.float32)
    wide = widen_fp8(codes, scale)
    for r, c in [(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 2), (rows - 1, 0)]:
        assert wide[r, c] == np.float32(e4m3_numbers()[codes[r, c]]) * scale[r // 128, c // 128]
