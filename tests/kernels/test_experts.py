"""Mixtures of experts: right, the same bits however tokens are chunked, and routing with ties."""

import numpy as np
import pytest
from matrix_cases import ExpertsCase, mixture, numbers
from other_variants import same_in_all_variants

from shoestring import ops

CASES = [
    ExpertsCase(weight_type, experts, slots, 256, 512, tokens, scale_input, down)
    for weight_type, down in (("F32", ""), ("BF16", ""), ("Q8_0", "Q6_K"), ("Q4_K", "Q6_K"), ("Q4_0", "Q5_0"))
    for experts, slots, tokens, scale_input in ((1, 1, 3, True), (4, 1, 31, True), (5, 3, 41, False), (5, 5, 2, False))
] + [  # enough rows an expert for panels of floats
    ExpertsCase("F32", 4, 1, 256, 260, 230, True, "BF16"),
    ExpertsCase("BF16", 3, 2, 257, 256, 90, False, "F16"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_bits_in_chunks_threads_and_variants(case: ExpertsCase) -> None:
    whole = same_in_all_variants(mixture, case)
    for threads, chunk in ((1, 1), (2, 0), (3, 7)):
        parts = mixture(case, threads, chunk)
        assert [part.tobytes() for part in parts] == [part.tobytes() for part in whole]


@pytest.mark.parametrize("case", [case for case in CASES if case.type == "F32"], ids=str)
def test_near_float64(case: ExpertsCase) -> None:
    y, ids, weights = mixture(case)
    x, scores = case.operands()
    order = np.argsort(-scores, axis=1, kind="stable")[:, : case.slots]
    np.testing.assert_array_equal(ids, order)
    chosen = np.take_along_axis(scores.astype(np.float64), order, 1)
    if case.scale_input:
        expected = 1 / (1 + np.exp(-chosen))
    else:
        expected = np.exp(chosen) / np.exp(chosen).sum(1, keepdims=True)
    # exp and sigmoid within 4 units in the last place, the sum and the division one rounding a step.
    np.testing.assert_allclose(weights, expected, rtol=(case.slots + 8) * 2.0**-23)
    for row in range(case.tokens):
        total, magnitude = np.zeros(case.hidden_size), 0.0
        for expert, weight in zip(ids[row], weights[row].astype(np.float64), strict=True):
            gate, up, down = (numbers(matrix).astype(np.float64) for matrix in case.matrices(int(expert)))
            x_row = x[row].astype(np.float64) * (weight if case.scale_input else 1)
            hidden = (a := gate @ x_row) / (1 + np.exp(-a)) * (up @ x_row)
            total += (down @ hidden) * (1 if case.scale_input else weight)
            magnitude += float(np.abs(down).max() * np.abs(hidden).sum())
        # Sums of 256, 256 and 512 terms; gate's and up's errors grow by at most the other's size (≤ 10).
        assert np.abs(y[row] - total).max() <= 1024 * 10 * 2.0**-24 * magnitude


def test_ties_go_to_the_lower_index() -> None:
    scores = np.array([[1, 3, 3, 0, 3], [0, 0, 0, 0, 0]], np.float32)
    ws = ops.Workspace()
    for route in (ops.route_softmax, ops.route_sigmoid):
        ids, _ = route(ws, scores, 2)
        assert ids.tolist() == [[1, 2], [0, 1]]


def test_router_weights_at_extremes() -> None:
    ws = ops.Workspace()
    _, weights = ops.route_softmax(ws, np.array([[200, -200, 100]], np.float32), 3)
    assert weights.tolist() == [[1, 0, 0]]
    _, weights = ops.route_sigmoid(ws, np.array([[20000, -20000]], np.float32), 2)
    assert weights.tolist() == [[1, 0]]


def test_what_does_not_fit_is_refused() -> None:
    case = CASES[5]
    table, ws = case.table(), ops.Workspace()
    x, _ = case.operands()
    with pytest.raises(ValueError, match="no such expert"):
        ops.experts(ws, x[:1], np.array([[9]], np.int32), np.ones((1, 1), np.float32), table, scale_input=False)
    with pytest.raises(ValueError, match="more experts"):
        ops.route_softmax(ws, np.zeros((1, 2), np.float32), 3)
