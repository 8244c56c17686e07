"""Products: right, and the same bits in all variants, for any split into tokens and threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_cases import EXTREMES, MatrixCase, activations, magnitudes, numbers, pack, product, quantized
from other_variants import same_in_all_variants

from shoestring import _kernels, ops
from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES

types = st.sampled_from(WEIGHT_TYPES)


def case_of(weight_type: str, rows: int, blocks: int, seed: int, extreme: str = "") -> MatrixCase:
    block = TENSOR_TYPES[weight_type].block_size
    return MatrixCase(weight_type, rows, blocks * block if block > 1 else blocks * 37, seed, extreme)


@given(types, st.integers(1, 40), st.integers(1, 5), st.integers(1, 20), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_near_float64_and_equal_in_all_variants(
    weight_type: str, rows: int, blocks: int, tokens: int, seed: int
) -> None:
    case = case_of(weight_type, rows, blocks, seed)
    y = same_in_all_variants(product, case, tokens)
    x = activations(seed + 1, tokens, case.columns)
    block = TENSOR_TYPES[weight_type].block_size
    seen = quantized(x, block) if block > 1 else x.astype(np.float64)
    exact = seen @ numbers(case).astype(np.float64).T
    # A block's steps round at most 4 times: its integer, its scales' product, and two accumulations; every one
    # by 2^-24 of at most the sum of magnitudes. To first order; 1.01 for the rest.
    steps = case.columns if block == 1 else 5 * (case.columns // block)
    bound = 1.01 * steps * 2.0**-24 * (np.abs(seen) @ magnitudes(case).T)
    assert (np.abs(y - exact) <= bound + 1e-30).all()


@pytest.mark.parametrize("weight_type", [t for t in WEIGHT_TYPES if TENSOR_TYPES[t].block_size > 1])
@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("signs", ["positive", "signs"])
def test_no_extreme_saturates(weight_type: str, extreme: str, signs: str) -> None:
    case = case_of(weight_type, 19, 3, 5, extreme)
    for tokens in (1, 2, 6, 7):
        same_in_all_variants(product, case, tokens, 1, signs)


@given(types, st.integers(1, 40), st.integers(1, 20), st.integers(1, 3), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_one_token_and_many_threads_and_one(weight_type: str, rows: int, tokens: int, threads: int, seed: int) -> None:
    case = case_of(weight_type, 16 * rows + 3, 2, seed)
    _kernels.set_num_threads(threads)
    x, weight, ws = activations(seed, tokens, case.columns), pack(case), ops.Workspace()
    whole = ops.matmul(ws, x, weight)
    for cut in {0, 1, tokens // 2}:
        _kernels.set_num_threads(1 + cut % 3)
        parts = [ops.matmul(ws, part, weight) for part in (x[:cut], x[cut:])]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("weight_type", ["Q8_0", "Q4_K"])
@pytest.mark.parametrize("rest", [1, 2])
def test_the_last_tokens_of_many(weight_type: str, rest: int) -> None:
    # 96 tokens of so many columns are a part of a product, so the last part has very few.
    case = MatrixCase(weight_type, 5, 5632, 1)
    y = same_in_all_variants(product, case, 96 + rest)
    x, weight, ws = activations(case.seed + 1, 96 + rest, case.columns), pack(case), ops.Workspace()
    assert y[-1:].tobytes() == ops.matmul(ws, x[-1:], weight).tobytes()


@pytest.mark.parametrize("weight_type", WEIGHT_TYPES)
@pytest.mark.parametrize(("columns", "tokens"), [(2816, 290), (5632, 97), (5632, 193)])
def test_a_token_more_than_the_parts_of_wide_matrices(weight_type: str, columns: int, tokens: int) -> None:
    x, matrix, ws = activations(1, tokens, columns), pack(MatrixCase(weight_type, 17, columns)), ops.Workspace()
    whole = ops.matmul(ws, x, matrix)
    assert whole[-3:].tobytes() == ops.matmul(ws, x[-3:], matrix).tobytes()


@pytest.mark.parametrize("weight_type", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(
    ("tokens", "columns", "rows"), [(47, 48, 257), (48, 33, 256), (61, 513, 290), (300, 1025, 257)]
)
def test_floats_by_panels(weight_type: str, tokens: int, columns: int, rows: int) -> None:
    """Around the edges of tiles, groups, panels of columns and parts of the tokens: the bits of single tokens."""
    case = MatrixCase(weight_type, rows, columns)
    many = same_in_all_variants(product, case, tokens)
    x, matrix, ws = activations(1, tokens, columns), pack(case), ops.Workspace()
    for token in (0, tokens // 2, tokens - 1):
        assert many[token].tobytes() == ops.matmul(ws, x[token : token + 1], matrix).tobytes()


def test_more_floats_than_are_arranged_at_once() -> None:
    x, matrix, ws = activations(1, 700, 4096), pack(MatrixCase("BF16", 260, 4096)), ops.Workspace()
    whole = ops.matmul(ws, x, matrix)
    for token in (0, 336, 699):
        assert whole[token].tobytes() == ops.matmul(ws, x[token : token + 1], matrix).tobytes()


@given(st.lists(types, min_size=1, max_size=6), st.integers(1, 9), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_a_group_of_matrices_is_each_of_them(weight_types: list[str], tokens: int, threads: int) -> None:
    cases = [MatrixCase(t, 11 + 30 * i, 512, i) for i, t in enumerate(weight_types)]
    matrices, ws = [pack(case) for case in cases], ops.Workspace()
    x = activations(3, tokens, 512)
    _kernels.set_num_threads(threads)
    together = ops.matmuls(ws, x, matrices)
    for y, matrix in zip(together, matrices, strict=True):
        assert y.tobytes() == ops.matmul(ws, x, matrix).tobytes()


@pytest.mark.parametrize("weight_type", WEIGHT_TYPES)
@pytest.mark.parametrize("tokens", [1, 3, 9])
def test_zero_tiny_and_not_finite_activations(weight_type: str, tokens: int) -> None:
    matrix, ws = pack(MatrixCase(weight_type, 20, 512)), ops.Workspace()
    x = np.zeros((tokens, 512), np.float32)
    assert (ops.matmul(ws, x, matrix) == 0).all()
    x[:] = 1e-40
    assert np.isfinite(ops.matmul(ws, x, matrix)).all()
    for wrong in (np.nan, np.inf, -np.inf):
        x[:] = 1
        x[-1, 300] = wrong
        y = ops.matmul(ws, x, matrix)
        assert not np.isfinite(y[-1]).any()
        assert np.isfinite(y[:-1]).all()


def test_shapes_are_checked() -> None:
    matrix, ws = pack(MatrixCase("Q8_0", 20, 64)), ops.Workspace()
    with pytest.raises(ValueError, match="columns"):
        ops.matmul(ws, np.zeros((2, 32), np.float32), matrix)
    with pytest.raises(ValueError, match="out is"):
        _kernels.matmul(np.zeros((2, 64), np.float32), matrix, np.zeros((2, 19), np.float32))
    for wrong in (np.zeros((2, 64)), np.zeros((4, 128), np.float32)[:2, ::2], np.zeros(64, np.float32)):
        with pytest.raises(TypeError):
            ops.matmul(ws, wrong, matrix)
    read_only = np.zeros((2, 20), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(TypeError):
        _kernels.matmul(np.zeros((2, 64), np.float32), matrix, read_only)
