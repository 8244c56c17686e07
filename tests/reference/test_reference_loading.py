"""Sources as numbers: any strides of float types, rows of block types, folds, and FP8 with its scales."""

from pathlib import Path

import numpy as np
import pytest

from shoestring.checkpoint.names.bind import Source
from shoestring.checkpoint.tensors import Tensor
from shoestring.errors import CheckpointError
from shoestring.reference.dequantize import dequantize
from shoestring.reference.loading import numbers, stored_numbers


def tensor(array: np.ndarray, kind: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor("t", kind, shape, Path("f"), 0, np.ascontiguousarray(array).reshape(-1).view(np.uint8))


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_a_transposed_slice(kind: str) -> None:
    """Columns 3, 4, 5 of expert 1 of a fused [E, H, 2I] tensor, as rows."""
    whole = np.random.default_rng(0).normal(size=(2, 7, 6)).astype(np.float32)
    stored = {"F32": whole, "F16": whole.astype(np.float16), "BF16": (whole.view(np.uint32) >> 16).astype(np.uint16)}[
        kind
    ]
    size = stored.itemsize
    source = Source(
        tensor(stored, kind, stored.shape), 3, 7, (7 * 6 + 3) * size, row_stride=size, column_stride=6 * size,
        part="routed_experts",
    )  # fmt: skip
    expected = stored.astype(np.uint32) << 16 if kind == "BF16" else stored.astype(np.float32)
    assert np.array_equal(stored_numbers(source), expected.view(np.float32)[1, :, 3:6].T)


@pytest.mark.parametrize(("kind", "size", "block"), [("Q8_0", 34, 32), ("Q4_K", 144, 256), ("Q6_K", 210, 256)])
def test_rows_of_blocks(kind: str, size: int, block: int) -> None:
    """Rows 2 and 3 of a stack."""
    data = np.random.default_rng(1).integers(0, 100, (5, 2 * size), dtype=np.uint8)
    source = Source(tensor(data, kind, (5, 2 * block)), 2, 2 * block, 2 * 2 * size, 2 * size, 0, "feed_forward")
    assert np.array_equal(stored_numbers(source), dequantize(data[2:4], kind))


def test_folds() -> None:
    vector = np.array([[-1.0, 0.5, 2.0]], np.float32)
    plain = tensor(vector, "F32", (3,))
    for fold, expected in (
        ("none", vector),
        ("add_one", vector + 1.0),
        ("negative_exp", -np.exp(vector.astype(float))),
    ):
        source = Source(plain, 1, 3, 0, 12, 4, "norms", fold=fold)  # type: ignore[arg-type]
        assert np.array_equal(numbers(source), expected)


@pytest.mark.parametrize("scale_kind", ["F32", "BF16"])
def test_fp8(scale_kind: str) -> None:
    codes = np.full((130, 200), 0x38, np.uint8)  # 1.0
    scale = np.array([[0.5, 1.0], [2.0, 4.0]], np.float32)
    stored = (scale.view(np.uint32) >> 16).astype(np.uint16) if scale_kind == "BF16" else scale
    source = Source(
        tensor(codes, "F8_E4M3", codes.shape), 130, 200, 0, 200, 1, "attention",
        scale=tensor(stored, scale_kind, scale.shape),
    )  # fmt: skip
    wide = stored_numbers(source)
    assert [wide[0, 0], wide[127, 128], wide[128, 127], wide[129, 199]] == [0.5, 1.0, 2.0, 4.0]


def test_fp8_without_scales_is_refused() -> None:
    source = Source(tensor(np.zeros((2, 2), np.uint8), "F8_E4M3", (2, 2)), 2, 2, 0, 2, 1, "attention")
    with pytest.raises(CheckpointError, match="weight_scale_inv"):
        stored_numbers(source)
