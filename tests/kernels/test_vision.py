"""Kernels of vision towers: near the truth by stated bounds, equal in all variants and with any threads."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from other_variants import same_in_all_variants

from shoestring import _kernels, ops
from shoestring.reference import vision_functions as reference
from shoestring.reference.functions import Array

Float32 = npt.NDArray[np.float32]


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Float32:
    return (scale * np.random.default_rng([seed, *shape]).standard_normal(shape)).astype(np.float32)


def activated(x: Float32, bias: Float32 | None, which: int) -> Float32:
    out = x.copy()
    _kernels.activate(out, bias, which)
    return out


def gelu_inputs() -> Float32:
    dense = np.linspace(-14, 14, 40_001)
    wide = np.random.default_rng(3).standard_normal(10_000) * 100
    return np.concatenate([dense, wide, [0.0, -0.0, 1e-30, -1e-30, 1e30, -1e30, 3e38, -3e38]]).astype(np.float32)[None]


@pytest.mark.parametrize(("which", "truth"), [(1, reference.gelu_tanh), (2, reference.gelu_erf)])
def test_gelu(which: int, truth: object) -> None:
    x = gelu_inputs()
    ours = same_in_all_variants(activated, x, None, which)
    with np.errstate(over="ignore"):
        wanted: Array = truth(x.astype(np.float64))  # type: ignore[operator]
    assert np.abs(ours - wanted).max(initial=0, where=np.abs(x) < 20) < 6e-7
    usual = (np.abs(wanted) > 1e-3) & np.isfinite(wanted)
    assert np.abs(ours / np.where(usual, wanted, 1) - 1)[usual].max() < 1.5e-6
    assert np.all(np.abs(ours) <= np.abs(x))
    assert np.all(ours[x > 20] == x[x > 20])
    assert np.isnan(activated(np.full((1, 3), np.nan, np.float32), None, which)).all()


def test_the_two_gelus_differ() -> None:
    x = gelu_inputs()
    assert 4e-4 < np.abs(activated(x, None, 1) - activated(x, None, 2)).max() < 6e-4


@pytest.mark.parametrize("n", [1, 15, 16, 17, 144, 1152])
def test_layer_norm(n: int) -> None:
    x, weight, bias = numbers(9, n, scale=3) + 5, numbers(n, seed=1), numbers(n, seed=2)
    ours = same_in_all_variants(normed, x, weight, bias)
    wanted = reference.layer_norm(x.astype(np.float64), weight.astype(np.float64), bias.astype(np.float64), 1e-6)
    assert np.abs(ours - wanted).max() < 2e-5


def normed(x: Float32, weight: Float32, bias: Float32) -> Float32:
    return ops.layer_norm(ops.Workspace(), x, weight, bias, 1e-6)


@pytest.mark.parametrize("n", [1, 17, 80])
def test_biases(n: int) -> None:
    x, y, bias = numbers(7, n), numbers(7, n, seed=1), numbers(n, seed=2)
    assert np.array_equal(activated(x, bias, 0), x + bias)
    assert np.array_equal(activated(x, bias, 2), activated(x + bias, None, 2))
    assert np.array_equal(added(x, y, bias), x + (y + bias))


def added(x: Float32, y: Float32, bias: Float32) -> Float32:
    out = x.copy()
    _kernels.add_biased(out, y, bias)
    return out


@pytest.mark.parametrize(("rows", "columns", "merge"), [(2, 2, 2), (4, 6, 2), (48, 48, 2), (64, 10, 2), (3, 5, 1)])
def test_grid_positions(rows: int, columns: int, merge: int) -> None:
    table, x = numbers(48 * 48, 20), numbers(rows * columns, 20, seed=1)
    ours = same_in_all_variants(placed, x, table, rows, columns, merge)
    places = reference.block_places(rows, columns, merge)
    if rows == columns == 48:  # on the table's own rows and columns
        assert np.array_equal(ours, x + table[places[:, 0] * 48 + places[:, 1]])
    corners = {(0, 0): 0, (0, columns - 1): 47, (rows - 1, 0): 47 * 48, (rows - 1, columns - 1): 48 * 48 - 1}
    for place, row in corners.items():
        patch = int(np.flatnonzero((places == place).all(axis=1))[0])
        assert np.array_equal(ours[patch], x[patch] + table[row])


def placed(x: Float32, table: Float32, rows: int, columns: int, merge: int) -> Float32:
    out = x.copy()
    ops.add_grid_positions(out, table, rows, columns, merge)
    return out


@pytest.mark.parametrize(
    ("rows", "heads", "dims"), [(1, 1, 4), (63, 2, 72), (64, 1, 64), (65, 2, 88), (193, 1, 72), (130, 3, 20)]
)
def test_part_attention(rows: int, heads: int, dims: int) -> None:
    q, k, v = (numbers(rows, heads, dims, seed=seed, scale=1.5) for seed in (1, 2, 3))
    ours = same_in_all_variants(attended, q, k, v)
    wanted = reference.attention(*(part.astype(np.float64) for part in (q, k, v)), dims**-0.5)
    assert np.abs(ours - wanted).max() < 2e-6 * max(1.0, np.abs(wanted).max())


def attended(q: Float32, k: Float32, v: Float32) -> Float32:
    return ops.part_attention(ops.Workspace(), q, k, v, q.shape[2] ** -0.5)


def test_attention_of_far_scores() -> None:
    """Scores whose exponentials would overflow, and rows that see one key alone."""
    q, k, v = (numbers(100, 1, 16, seed=seed, scale=scale) for seed, scale in ((1, 60), (2, 60), (3, 1)))
    ours = attended(q, k, v)
    wanted = reference.attention(*(part.astype(np.float64) for part in (q, k, v)), 0.25)
    assert np.isfinite(ours).all()
    assert np.abs(ours - wanted).max() < 1e-3


def test_any_threads() -> None:
    x, weight, bias = numbers(500, 144), numbers(144, seed=1), numbers(144, seed=2)
    q = numbers(500, 2, 72, seed=4)
    before, results = ops.num_threads(), []
    try:
        for threads in (1, 2, 5):
            ops.set_num_threads(threads)
            results.append((normed(x, weight, bias), attended(q, q, q), activated(x, bias, 2), added(x, x, bias)))
    finally:
        ops.set_num_threads(before)
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            assert np.array_equal(ours, theirs)


def test_wrong_shapes_are_refused() -> None:
    x = numbers(4, 8)
    for call in (
        lambda: _kernels.layer_norm(x, numbers(7), numbers(8), 1e-6, x.copy()),
        lambda: _kernels.activate(x, numbers(9), 1),
        lambda: _kernels.activate(x, None, 3),
        lambda: _kernels.add_biased(x, numbers(4, 9), numbers(8)),
        lambda: _kernels.grid_positions(x, numbers(5, 8), 2, 2, 2),
        lambda: _kernels.grid_positions(x, numbers(4, 8), 2, 3, 2),
        lambda: _kernels.grid_positions(x, numbers(4, 8), 1, 4, 2),
        lambda: _kernels.part_attention(numbers(2, 1, 4), numbers(3, 1, 4), numbers(2, 1, 4), 1.0, numbers(2, 1, 4)),
    ):
        with pytest.raises(ValueError, match=":"):
            call()
    assert math.isfinite(float(x.sum()))
