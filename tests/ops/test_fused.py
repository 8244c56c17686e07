"""Fused ops: the bits of the ops one by one, for few rows and many, whatever the threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from shoestring import _kernels, ops
from shoestring.ops import Float32

EPS = 1e-6


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    ops.set_num_threads(2)


def numbers(seed: int, *shape: int) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def matrix(kind: str, rows: int, columns: int, seed: int) -> _kernels.Matrix:
    formats = {name: (block, nbytes) for name, block, nbytes, _, _ in _kernels.weight_formats()}
    block, nbytes = formats[kind]
    if kind == "F32":
        data = numbers(seed, rows * columns).view(np.uint8)
        return ops.pack(data, kind, rows, columns, offset=0, row_stride=4 * columns, column_stride=4)
    stride = columns // block * nbytes
    data = np.random.default_rng(seed).integers(0, 60, rows * stride, dtype=np.uint8)
    return ops.pack(data, kind, rows, columns, offset=0, row_stride=stride, column_stride=0)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rows", [1, 2, 7, 16, 17])
@pytest.mark.parametrize("kinds", [("Q8_0", "Q8_0", "Q8_0"), ("Q4_K", "Q6_K", "F32")])
def test_the_bits_of_the_ops_one_by_one(kinds: tuple[str, str, str], rows: int, threads: int) -> None:
    ops.set_num_threads(threads)
    ws, H, I = ops.Workspace(), 256, 1280  # noqa: E741
    gate, up, down = matrix(kinds[0], I, H, 1), matrix(kinds[1], I, H, 2), matrix(kinds[2], H, I, 3)
    x, norm = numbers(4, rows, H), numbers(5, H)
    h = ops.rms_norm(ws, x, norm, EPS)
    gates, ups = (_product(ws, h, w) for w in (gate, up))
    for ours, expected in zip(ops.norm_matmuls(ws, x, norm, EPS, (gate, up)), (gates, ups), strict=True):
        assert np.array_equal(ours, expected)
    hidden = ops.swiglu(ws, gates, ups)
    y = _product(ws, hidden, down)
    assert np.array_equal(ops.feed_forward(ws, h, gate, up, down), y)
    expected = x + y
    for add in (
        lambda to: ops.add_matmul(ws, to, hidden, down),
        lambda to: ops.add_feed_forward(ws, to, norm, EPS, gate, up, down),
    ):
        to = x.copy()
        add(to)
        assert np.array_equal(to, expected)


def _product(ws: ops.Workspace, x: Float32, weight: _kernels.Matrix) -> Float32:
    """Among more rows than are fused."""
    many = np.concatenate([x, np.zeros((_kernels.FEW_ROWS, x.shape[1]), np.float32)])
    return ops.matmul(ws, many, weight)[: len(x)]


@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (70, 1, 3)])
def test_a_delta_net_is_its_ops_in_turn(lengths: tuple[int, ...]) -> None:
    ws, rows, KH, VH, D, width = ops.Workspace(), sum(lengths), 2, 4, 32, 4
    channels = (2 * KH + VH) * D
    x, z = numbers(1, rows, channels), numbers(2, rows, VH * D)
    a, b, weight = numbers(3, rows, VH), numbers(4, rows, VH), numbers(5, channels, width)
    decay, dt_bias, norm = -np.abs(numbers(6, VH)), numbers(7, VH), numbers(8, D)
    heads = np.arange(VH, dtype=np.int32) // 2
    slots = len(lengths)
    spans = (
        np.cumsum([0, *lengths]).astype(np.int32),
        np.arange(slots, dtype=np.int32),
        np.arange(slots, dtype=np.int32)[::-1].copy(),
        np.array([[0, slots]], np.int32),
    )
    spans = (spans[0], spans[1], spans[1] + slots + 1, spans[3])
    states = [(numbers(9, 2 * slots + 1, width - 1, channels), numbers(10, 2 * slots + 1, VH, D, D)) for _ in range(2)]
    (past, memory), (past_too, memory_too) = states
    qkv = ops.causal_convolution(ws, x, weight, past, *spans)
    o = ops.delta_rule(ws, qkv, a, b, decay, dt_bias, heads, KH, memory, *spans)
    expected = ops.gated_rms_norm(ws, o, norm, z, EPS)
    ours = ops.delta_net(
        ws, x, z, a, b, weight, decay, dt_bias, norm, EPS, heads, KH, past_too, memory_too, *spans
    )  # fmt: skip
    assert np.array_equal(ours, expected)
    assert np.array_equal(past_too, past)
    assert np.array_equal(memory_too, memory)


def test_wrong_shapes_are_refused() -> None:
    ws, w = ops.Workspace(), matrix("F32", 8, 16, 1)
    x, norm = numbers(1, 2, 16), numbers(2, 16)
    with pytest.raises(ValueError, match="another number of columns"):
        ops.add_matmul(ws, numbers(1, 2, 8), numbers(1, 2, 12), w)
    with pytest.raises(ValueError, match="rows of weight"):
        ops.add_matmul(ws, numbers(1, 2, 9), x, w)
    with pytest.raises(ValueError, match="norm: as long"):
        ops.norm_matmuls(ws, x, norm[:8], EPS, (w,))
    with pytest.raises(ValueError, match=r"gate and up are \[width"):
        ops.feed_forward(ws, x, w, matrix("F32", 9, 16, 2), matrix("F32", 16, 8, 3))
    with pytest.raises(ValueError, match="down has as many columns"):
        ops.feed_forward(ws, x, w, w, matrix("F32", 16, 9, 3))
