"""Norms, rotary embedding and elementwise ops: right, the same bits in all variants, at any length and threads."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_variants import bits, same_in_all_variants

from shoestring import _kernels, ops

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

lengths = st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 129, 576, 1000, 2048]))
shapes = st.tuples(st.integers(1, 5), lengths)


def numbers(seed: int, *shape: int) -> Float32:
    """Starting at any multiple of 4 bytes."""
    count = int(np.prod(shape))
    block = np.random.default_rng(seed).standard_normal(count + 16).astype(np.float32)
    return block[seed % 16 : seed % 16 + count].reshape(shape)


def sigmoid(x: Float32) -> Float64:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def rms_norm_float64(x: Float32, eps: float) -> Float64:
    x64 = x.astype(np.float64)
    return x64 / np.sqrt((x64 * x64).mean(-1, keepdims=True) + eps)


def elementwise(seed: int, rows: int, n: int, threads: int) -> tuple[Float32, ...]:
    """Every op of [rows, n] operands."""
    _kernels.set_num_threads(threads)
    ws = ops.Workspace()
    x, y, gate, weight = (numbers(seed + i, *shape) for i, shape in enumerate([(rows, n)] * 3 + [(n,)]))
    added, gated, opened, scaled = x.copy(), x.copy(), x.copy(), x.copy()
    ops.add(added, y)
    ops.add_gated(gated, y, numbers(seed + 9, rows, 1))
    ops.sigmoid_gate(opened, gate)
    ops.scale_rows(scaled, numbers(seed + 9, rows))
    normed = ops.rms_norm(ws, x, weight, 1e-6)
    plain = ops.rms_norm(ws, x, None, 1e-5)
    both = ops.gated_rms_norm(ws, x, weight, gate, 1e-6)
    return added, gated, opened, scaled, normed, plain, both, ops.swiglu(ws, gate, y), ops.negative_exp(x)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), shape=shapes)
def test_elementwise_same_in_all_variants_and_near_float64(seed: int, shape: tuple[int, int]) -> None:
    rows, n = shape
    results = same_in_all_variants(elementwise, seed, rows, n, 1)
    x, y, gate, weight = (numbers(seed + i, *s).astype(np.float64) for i, s in enumerate([(rows, n)] * 3 + [(n,)]))
    column = numbers(seed + 9, rows, 1)
    x32 = numbers(seed, rows, n)
    wanted = (
        x + y,
        x + y * sigmoid(column),
        x * sigmoid(gate),
        x * column,
        rms_norm_float64(x32, 1e-6) * weight,
        rms_norm_float64(x32, 1e-5),
        rms_norm_float64(x32, 1e-6) * weight * gate * sigmoid(gate),
        gate * sigmoid(gate) * y,
        -np.exp(x),
    )
    # A handful of roundings each, and n / 16 + 4 in the sum of squares; all numbers are below 32.
    for result, truth in zip(results, wanted, strict=True):
        assert (np.abs(result - truth) <= 2.0**-21 * np.maximum(np.abs(truth), 1)).all()


@pytest.mark.parametrize("shape", [(1, 2048), (1, 40_000), (7, 6000), (300, 576), (2000, 33)])
def test_threads_change_no_bit(shape: tuple[int, int]) -> None:
    alone = elementwise(5, *shape, 1)
    for threads in (2, 3):
        assert bits(elementwise(5, *shape, threads)) == bits(alone)


def test_a_row_does_not_depend_on_its_batch() -> None:
    whole = elementwise(3, 9, 576, 2)
    x, weight = numbers(3, 9, 576), numbers(6, 576)
    for row in range(9):
        alone = ops.rms_norm(ops.Workspace(), x[row : row + 1], weight, 1e-6)
        assert bits(alone[0]) == bits(whole[4][row])


def rotated(seed: int, rows: int, heads: int, head_dim: int, dims: int, interleaved: bool) -> Float32:
    x = numbers(seed, rows, heads, head_dim).copy()
    ops.rotate(x, numbers(seed + 1, rows, dims // 2), numbers(seed + 2, rows, dims // 2), interleaved=interleaved)
    return x


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 4),
    heads=st.integers(1, 3),
    half=st.integers(1, 40),
    rest=st.integers(0, 20),
    interleaved=st.booleans(),
)
def test_rotation(seed: int, rows: int, heads: int, half: int, rest: int, interleaved: bool) -> None:
    result = same_in_all_variants(rotated, seed, rows, heads, 2 * half + rest, 2 * half, interleaved)
    x = numbers(seed, rows, heads, 2 * half + rest).astype(np.float64)
    cos, sin = numbers(seed + 1, rows, 1, half).astype(np.float64), numbers(seed + 2, rows, 1, half).astype(np.float64)
    wanted = x.copy()
    first = slice(0, 2 * half, 2) if interleaved else slice(0, half)
    second = slice(1, 2 * half, 2) if interleaved else slice(half, 2 * half)
    a, b = x[..., first], x[..., second]
    wanted[..., first], wanted[..., second] = a * cos - b * sin, b * cos + a * sin
    assert np.abs(result - wanted).max() < 2.0**-20
    assert (result[..., 2 * half :] == x[..., 2 * half :]).all()


def test_query_and_gate_are_told_apart() -> None:
    both = numbers(0, 3, 4 * 2 * 20)
    query, gate = ops.split_query_gate(ops.Workspace(), both, 4)
    parts = both.reshape(3, 4, 2, 20)
    assert bits(query) == bits(parts[:, :, 0].copy())
    assert bits(gate) == bits(parts[:, :, 1].copy())


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 15, 16, 40, 98])
def test_check_finite_finds_one_number(number: float, at: int) -> None:
    x = numbers(1, 99).copy()
    x[3] = 3.4028235e38
    assert ops.check_finite(x)
    x[at] = number
    assert not ops.check_finite(x)


def test_what_does_not_fit_is_refused() -> None:
    ws, x = ops.Workspace(), numbers(0, 3, 20).copy()
    wrong: list[Callable[[], object]] = [
        lambda: ops.rms_norm(ws, x, numbers(0, 19), 1e-6),
        lambda: ops.gated_rms_norm(ws, x, numbers(0, 20), numbers(0, 3, 19), 1e-6),
        lambda: ops.add(x, numbers(0, 2, 20)),
        lambda: ops.add_gated(x, numbers(0, 3, 20), numbers(0, 2, 1)),
        lambda: ops.swiglu(ws, x, numbers(0, 20, 3)),
        lambda: ops.sigmoid_gate(x, numbers(0, 59)),
        lambda: ops.scale_rows(x, numbers(0, 2)),
        lambda: ops.split_query_gate(ws, x, 3),
        lambda: ops.rotate(x.reshape(3, 1, 20), numbers(0, 3, 11), numbers(0, 3, 11), interleaved=True),
        lambda: ops.rotate(x.reshape(3, 1, 20), numbers(0, 2, 5), numbers(0, 2, 5), interleaved=False),
        lambda: ops.rotary_table(ws, np.zeros((2, 3), np.int64), np.ones(4), np.array([0, 1, 2, 3], np.int32), 1.0),
        lambda: ops.attention_temperature(ws, np.zeros(2, np.int64), 0, 0.1),
    ]
    for call in wrong:
        with pytest.raises(ValueError):
            call()
    for call in (
        lambda: ops.add(x, x.astype(np.float64)),  # type: ignore[arg-type]
        lambda: ops.add(x.T, numbers(0, 20, 3)),
        lambda: ops.add([1.0], x),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()
