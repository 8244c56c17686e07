"""Gated delta rule and short convolution: right, and the same bits whatever the pieces, snapshots and threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_variants import bits, same_in_all_variants
from sequence_cases import NO_SNAPSHOTS, Array, DeltaCase, delta_operands, numbers, run_delta, run_delta_in_pieces

from shoestring import ops

cases = st.builds(
    DeltaCase,
    rows=st.lists(st.sampled_from([1, 2, 3, 5, 63, 64, 65, 130]), min_size=1, max_size=4).map(tuple),
    key_heads=st.integers(1, 3),
    value_heads=st.integers(1, 5),
    key_dim=st.sampled_from([1, 3, 16, 20, 33]),
    value_dim=st.sampled_from([1, 7, 16, 24, 32, 33, 48, 79, 80, 100]),
    channels=st.integers(1, 40),
    width=st.integers(1, 8),
    seed=st.integers(0, 1000),
)


def delta_float64(case: DeltaCase) -> tuple[Array, Array]:
    """The definition (arXiv 2412.06464) → outputs and the last state of every span."""
    c = {name: array.astype(np.float64) for name, array in delta_operands(case).items()}
    KH, VH, DK, DV = case.key_heads, case.value_heads, case.key_dim, case.value_dim
    out, last = np.zeros((sum(case.rows), VH, DV)), np.zeros((len(case.rows), VH, DK, DV))
    starts = np.cumsum([0, *case.rows])
    for s in range(len(case.rows)):
        for h in range(VH):
            S = c["memory"][s, h].copy() if s % 3 != 2 else np.zeros((DK, DV))
            for r in range(starts[s], starts[s + 1]):
                q, k, v = np.split(c["qkv"][r], [KH * DK, 2 * KH * DK])
                q, k, v = q.reshape(KH, DK)[h % KH], k.reshape(KH, DK)[h % KH], v.reshape(VH, DV)[h]
                q, k = q / np.sqrt((q * q).sum() + 1e-6) / np.sqrt(DK), k / np.sqrt((k * k).sum() + 1e-6)
                S *= np.exp(c["decay"][h] * np.log1p(np.exp(c["a"][r, h] + c["dt_bias"][h])))
                delta = (v - S.T @ k) / (1 + np.exp(-c["b"][r, h]))
                S += np.outer(k, delta)
                out[r, h] = S.T @ q
            last[s, h] = S
    return out, last


def convolution_float64(case: DeltaCase) -> Array:
    c = {name: array.astype(np.float64) for name, array in delta_operands(case).items()}
    out = []
    starts = np.cumsum([0, *case.rows])
    for s in range(len(case.rows)):
        before = c["past"][s] if s % 3 != 2 else np.zeros_like(c["past"][s])
        x = np.concatenate([before, c["x"][starts[s] : starts[s + 1]]])
        for r in range(case.rows[s]):
            y = (c["weight"].T * x[r : r + case.width]).sum(0)
            out.append(y / (1 + np.exp(-y)))
    return np.array(out)


@settings(max_examples=20, deadline=None)
@given(case=cases)
def test_same_in_all_variants_and_near_float64(case: DeltaCase) -> None:
    out, memory, convolved, past = same_in_all_variants(run_delta, case)
    wanted, last = delta_float64(case)
    # State and outputs are of size 1 … 10, errors shrink with the decay: a few dozen ulp.
    assert np.abs(out - wanted).max() < 1e-5 * max(1.0, np.abs(wanted).max())
    count = len(case.rows)
    assert np.abs(memory[count : 2 * count] - last).max() < 1e-5 * max(1.0, np.abs(last).max())
    assert np.abs(convolved - convolution_float64(case)).max() < 1e-5
    # Slots that are only read stay as they were.
    assert bits(memory[:count]) == bits(delta_operands(case)["memory"][:count])
    assert bits(past[:count]) == bits(delta_operands(case)["past"][:count])


@settings(max_examples=20, deadline=None)
@given(case=cases, threads=st.integers(2, 3))
def test_threads_change_no_bit(case: DeltaCase, threads: int) -> None:
    assert bits(run_delta(case, threads)) == bits(run_delta(case))


@settings(max_examples=20, deadline=None)
@given(case=cases, pieces=st.lists(st.integers(1, 70), min_size=1, max_size=3).map(tuple))
def test_pieces_change_no_bit(case: DeltaCase, pieces: tuple[int, ...]) -> None:
    one = DeltaCase(case.rows[:1], *[getattr(case, name) for name in list(case.__dataclass_fields__)[1:8]])
    assert bits(run_delta_in_pieces(one, pieces)) == bits(run_delta(one))


@settings(max_examples=20, deadline=None)
@given(case=cases, row=st.integers(0, 500))
def test_snapshot_is_the_state_after_its_row(case: DeltaCase, row: int) -> None:
    rows = case.rows[0]
    row %= rows
    fields = [getattr(case, name) for name in list(case.__dataclass_fields__)[1:8]]
    cut = run_delta(DeltaCase((row + 1,), *fields))
    snapped = run_delta(DeltaCase((rows,), *fields, snapshots=((row, 2),)))
    plain = run_delta(DeltaCase((rows,), *fields))
    first, every = delta_operands(DeltaCase((row + 1,), *fields)), delta_operands(DeltaCase((rows,), *fields))
    for name in ("qkv", "a", "b", "x"):
        assert bits(first[name]) == bits(every[name][: row + 1])
    assert bits(snapped[1][2]) == bits(cut[1][1])
    assert bits(snapped[3][2]) == bits(cut[3][1])
    assert bits(snapped[0]) == bits(plain[0])
    assert bits(snapped[1][:2]) == bits(plain[1][:2])


def test_a_slot_may_be_read_and_written_in_place() -> None:
    case = DeltaCase((70,), 1, 2, 16, 32)
    apart = run_delta(case)
    c = delta_operands(case)
    zero = np.zeros(1, np.int32)
    spans = (c["span_starts"], zero, zero, NO_SNAPSHOTS)
    ws = ops.Workspace()
    out = ops.delta_rule(
        ws, c["qkv"], c["a"], c["b"], c["decay"], c["dt_bias"], c["key_head_index"], 1, c["memory"], *spans
    )
    convolved = ops.causal_convolution(ws, c["x"], c["weight"], c["past"], *spans)
    assert bits(out) == bits(apart[0])
    assert bits(convolved) == bits(apart[2])
    assert bits(c["memory"][0]) == bits(apart[1][1])
    assert bits(c["past"][0]) == bits(apart[3][1])


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_numbers_that_are_not_finite_do_no_harm(number: float) -> None:
    """Neither to the other span of the call, nor to what is only read, nor to the next call in the same workspace."""
    case = DeltaCase((70, 5), 1, 2, 16, 32)
    clean, clean_memory, _, _ = run_delta(case)
    c = delta_operands(case)
    spans = (c["span_starts"], c["read_slots"], c["write_slots"], c["snapshots"])
    gates = (c["decay"], c["dt_bias"], c["key_head_index"], 1)
    filled = {name: c[name].copy() for name in ("qkv", "a", "b")}
    for operand in filled.values():
        operand[:70] = number
    ws = ops.Workspace()
    with ws:
        memory = c["memory"].copy()
        out = ops.delta_rule(ws, *filled.values(), *gates, memory, *spans)
        assert bits(out[70:]) == bits(clean[70:])
        assert bits(memory[:2]) == bits(c["memory"][:2])
        assert bits(memory[3]) == bits(clean_memory[3])
    with ws:
        memory = c["memory"].copy()
        out = ops.delta_rule(ws, c["qkv"], c["a"], c["b"], *gates, memory, *spans)
        assert bits(out) == bits(clean)
        assert bits(memory) == bits(clean_memory)


def test_what_does_not_fit_is_refused() -> None:
    case = DeltaCase((5, 2), 1, 2, 16, 32)
    c = delta_operands(case)

    def step(**changed: Array) -> None:
        d = {**c, **changed}
        spans = (d["span_starts"], d["read_slots"], d["write_slots"], d["snapshots"])
        ops.causal_convolution(ops.Workspace(), d["x"], d["weight"], d["past"], *spans)
        ops.delta_rule(
            ops.Workspace(), d["qkv"], d["a"], d["b"], d["decay"], d["dt_bias"], d["key_head_index"], 1, d["memory"],
            *spans,
        )  # fmt: skip

    step()
    wrong: list[dict[str, Array]] = [
        {"read_slots": np.array([0, 4], np.int32)},
        {"read_slots": np.array([0, -2], np.int32)},
        {"write_slots": np.array([0, -1], np.int32)},
        {"write_slots": np.array([0], np.int32)},
        {"snapshots": np.array([[7, 0]], np.int32)},
        {"snapshots": np.array([[3, 0], [2, 0]], np.int32)},
        {"snapshots": np.array([[3, 4]], np.int32)},
        {"key_head_index": np.array([0, 1], np.int32)},
        {"span_starts": np.array([0, 5, 6], np.int32)},
        {"a": numbers(0, 7, 3)},
        {"qkv": numbers(0, 7, 95)},
        {"weight": numbers(0, 5, 9)},
        {"memory": numbers(0, 4, 2, 16, 31)},
    ]
    for changed in wrong:
        with pytest.raises(ValueError):
            step(**changed)
