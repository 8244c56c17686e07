"""Attention over pages: right, and the same bits however it is paged, stepped, split and threaded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_variants import bits, same_in_all_variants
from sequence_cases import AttentionCase, attention_float64, run_attention, with_garbage

from shoestring import _kernels, ops
from shoestring.kv_types import KV_TYPES, KVType
from shoestring.models.state import PAGE_TOKENS, AttentionPages, AttentionState
from shoestring.reference.functions import as_stored


def test_page_is_the_kernels_page() -> None:
    assert _kernels.PAGE_TOKENS == PAGE_TOKENS


#: lengths around every edge: one position, a vector's, a page's, a segment's
EDGES = [0, 1, 15, 16, 17, 62, 63, 64, 65, 127, 130, 511, 512, 513, 1030]

cases = st.builds(
    AttentionCase,
    spans=st.lists(
        st.tuples(st.sampled_from(EDGES), st.integers(1, 20), st.sampled_from([0, 0, 24, 100, 512])),
        min_size=1,
        max_size=3,
    ).map(tuple),
    heads=st.just(0),
    kv_heads=st.just(0),
    head_dim=st.sampled_from([1, 8, 16, 20, 64]),
    kv_type=st.sampled_from(KV_TYPES),
    seed=st.integers(0, 1000),
).flatmap(
    lambda case: st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3, 4, 5, 7, 8])).map(
        lambda heads: AttentionCase(case.spans, heads[0] * heads[1], heads[0], case.head_dim, case.kv_type, case.seed)
    )
)


@settings(max_examples=25, deadline=None)
@given(case=cases)
def test_same_in_all_variants_and_near_float64(case: AttentionCase) -> None:
    result = same_in_all_variants(run_attention, case)
    # Scores of D terms err by D · 2^-24 of ~2 sqrt(D), e^score by that much relatively; values are of size 1.
    assert np.abs(result - attention_float64(case)).max() < 3e-5


@settings(max_examples=15, deadline=None)
@given(case=cases, pieces=st.lists(st.integers(1, 20), min_size=1, max_size=3).map(tuple), threads=st.integers(1, 3))
def test_pieces_threads_and_pages_change_no_bit(case: AttentionCase, pieces: tuple[int, ...], threads: int) -> None:
    whole = run_attention(case)
    assert bits(run_attention(case, threads, pieces)) == bits(whole)
    in_order = AttentionCase(case.spans, case.heads, case.kv_heads, case.head_dim, case.kv_type, case.seed, False)
    assert bits(run_attention(in_order, threads)) == bits(whole)


@pytest.mark.parametrize("first", [0, 511, 512, 2000, 4096])
@pytest.mark.parametrize(("kv_heads", "kv_type"), [(1, "f16"), (2, "f16"), (2, "q8_0")])
def test_long_row_is_shared_out_without_a_bit_changing(first: int, kv_heads: int, kv_type: KVType) -> None:
    case = AttentionCase(((first, 1, 0),), 4, kv_heads, 32, kv_type)
    alone = same_in_all_variants(run_attention, case)
    for threads in (2, 3, 7):
        assert bits(run_attention(case, threads)) == bits(alone)


@pytest.mark.parametrize("lengths", [(2600, 1, 70, 1, 513, 64), (40_000, 3)])
def test_a_long_row_beside_short_ones(lengths: tuple[int, ...]) -> None:
    """Its segments are shared out, in rounds where they are many; a row alone on one thread has the same bits."""
    kv_heads, heads, dim, draw = 2, 6, 16, np.random.default_rng(1)
    entries = [-(-length // PAGE_TOKENS) for length in lengths]
    keys = draw.standard_normal((sum(entries), kv_heads, dim, PAGE_TOKENS), np.float32).astype(np.float16)
    values = draw.standard_normal((sum(entries), kv_heads, PAGE_TOKENS, dim), np.float32).astype(np.float16)
    q = draw.standard_normal((len(lengths), heads, dim), np.float32)
    pages = np.zeros((len(lengths), max(entries)), np.int32)
    for row, (count, begin) in enumerate(zip(entries, np.cumsum([0, *entries[:-1]]), strict=True)):
        pages[row, :count] = np.arange(begin, begin + count)
    index = np.array(lengths, np.int64) - 1

    def attend(rows: slice, threads: int) -> bytes:
        ops.set_num_threads(threads)
        count = len(index[rows])
        zeros = np.zeros(count, np.int64)
        past = ops.Past(keys, values, pages[rows], zeros, np.arange(count + 1, dtype=np.int32), index[rows], zeros)
        return ops.attention(ops.Workspace(), q[rows], past, 0.25).tobytes()

    alone = b"".join(attend(slice(row, row + 1), 1) for row in range(len(lengths)))
    for threads in (2, 3):
        assert attend(slice(None), threads) == alone
    ops.set_num_threads(2)


@pytest.mark.parametrize("garbage", [float("inf"), 3e38, -0.0, float("nan")])
def test_masked_positions_reach_nothing(garbage: float) -> None:
    """What unwritten positions hold is never multiplied, not even by zero."""
    for kv_type in KV_TYPES:
        case = AttentionCase(((70, 9, 0), (90, 20, 24), (200, 1, 100)), 6, 2, 20, kv_type)
        assert bits(run_attention(with_garbage(case, garbage))) == bits(run_attention(with_garbage(case, 1.0)))


def test_position_ten_million() -> None:
    """Rows beyond 10,000,000 see their chunk as the same rows of the first chunk do: nothing else may differ."""
    far, chunk = 10_000_000 // 8192 * 8192, 8192
    there = AttentionCase(((far + 70, 5, chunk),), 4, 2, 16, "f16")
    here = AttentionCase(((70, 5, chunk),), 4, 2, 16, "f16")
    assert bits(same_in_all_variants(run_attention, there)) == bits(run_attention(here))
    whole_past = AttentionCase(((10_000_000, 3, 0),), 4, 2, 16, "f16")
    assert np.abs(run_attention(whole_past, 2) - attention_float64(whole_past)).max() < 3e-5


def test_first_visible_inside_a_page_and_between_rows_of_a_unit() -> None:
    """Rows on both sides of a chunk's edge ride in one unit; positions of the old chunk are skipped for the new."""
    case = AttentionCase(((90, 30, 50),), 3, 1, 16, "f32")
    result = same_in_all_variants(run_attention, case)
    assert np.abs(result - attention_float64(case)).max() < 3e-5


def test_stored_numbers_are_rounded_to_nearest_even() -> None:
    rows, D = 3, 20
    v = np.random.default_rng(0).standard_normal((rows, 1, D)).astype(np.float32)
    v[0, 0, :8] = [65504, 65519.99, 65520, 1e-8, 2**-24, 2**-25, 2**-25 * 1.0001, -2e-7]
    keys = np.zeros((2, 1, D, PAGE_TOKENS), np.float16)
    values = np.zeros((2, 1, PAGE_TOKENS, D), np.float16)
    index = np.arange(62, 65, dtype=np.int64)
    pages, starts = np.array([[1, 0]], np.int32), np.array([0, 3], np.int32)
    past = ops.Past(keys, values, pages, np.zeros(1, np.int64), starts, index, np.zeros(rows, np.int64))
    ops.store_keys_values(past, v, v)
    with np.errstate(over="ignore"):
        wanted = v[:, 0].astype(np.float16)
    stored = np.stack([values[1, 0, 62], values[1, 0, 63], values[0, 0, 0]])
    assert stored.tobytes() == wanted.tobytes()
    assert np.stack([keys[1, 0, :, 62], keys[1, 0, :, 63], keys[0, 0, :, 0]]).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("head_dim", [1, 20, 32, 80])
def test_q8_0_stores_blocks_as_the_law_says(head_dim: int) -> None:
    """Int8 and scales of every page are those of numpy; attention over one position returns the stored values."""
    rows, heads = 70, 2
    v = np.random.default_rng(head_dim).standard_normal((rows, heads, head_dim)).astype(np.float32)
    for row, scale in enumerate([0, 2.0**-112, 1e-6, 5e-4, 300, 8e6]):
        v[row] *= np.float32(scale)
    v[6, 0, 0], v[7, 1, -1], v[8, 0, :] = np.nan, -np.inf, 9e6  # a scale of 9e6 / 127 is beyond float16
    pools = AttentionPages.empty(2, AttentionState(heads, head_dim), "q8_0")
    assert pools.keys.ctypes.data % 64 == pools.values.ctypes.data % 64 == 0
    index, starts = np.arange(rows, dtype=np.int64), np.array([0, rows], np.int32)
    table = (np.array([[1, 0]], np.int32), np.zeros(1, np.int64))
    ops.store_keys_values(ops.Past(pools.keys, pools.values, *table, starts, index, index), v, v)
    with np.errstate(all="ignore"):
        wanted = as_stored(v.astype(np.float64), "q8_0")
    for pool in (pools.keys, pools.values):
        blocks = pool.reshape(2, heads, -1)[::-1]
        quants = blocks[..., : head_dim * PAGE_TOKENS]
        if pool is pools.keys:  # [pages, heads, D, P]
            quants = quants.reshape(2, heads, head_dim, PAGE_TOKENS).swapaxes(2, 3)
        quants = quants.reshape(2, heads, PAGE_TOKENS, head_dim)
        scales = np.ascontiguousarray(blocks[..., head_dim * PAGE_TOKENS :]).view(np.float16)
        scales = scales.reshape(2, heads, -1, PAGE_TOKENS).repeat(32, axis=2)[:, :, :head_dim].swapaxes(2, 3)
        with np.errstate(all="ignore"):
            stored = (quants.astype(np.float64) * scales).swapaxes(1, 2).reshape(2 * PAGE_TOKENS, heads, head_dim)
        assert np.array_equal(stored[:rows], wanted, equal_nan=True)
    assert (wanted[:3] == 0).all(), "too small for a scale"
    assert np.isnan(wanted[6, 0]).any()
    only = ops.Past(pools.keys, pools.values, *table, starts, index, index)  # each row sees itself alone
    q = np.zeros((rows, heads, head_dim), np.float32)
    out = ops.attention(ops.Workspace(), q, only, 1.0)
    assert np.array_equal(out[9:], wanted[9:].astype(np.float32))
    relative = np.abs(wanted[9:] - v[9:]).max() / np.abs(v[9:]).max()
    assert relative < 1 / 254 + 1e-3


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_not_finite_do_no_harm(number: float) -> None:
    case = AttentionCase(((600, 5, 0),), 4, 2, 16, "f32")
    q = np.full((5, 4, 16), number, np.float32)
    pools = np.full((2, 10, 2, 16, 64), number, np.float32)
    pages, starts = np.arange(10, dtype=np.int32)[None], np.array([0, 5], np.int32)
    index = np.arange(600, 605, dtype=np.int64)
    values = pools[1].reshape(10, 2, 64, 16)
    past = ops.Past(pools[0], values, pages, np.zeros(1, np.int64), starts, index, np.zeros(5, np.int64))
    ops.attention(ops.Workspace(), q, past, 0.25)
    assert np.isfinite(run_attention(case)).all()


def test_what_does_not_fit_is_refused() -> None:
    def attend(**changed: object) -> None:
        arguments: dict[str, object] = {
            "q": np.zeros((2, 4, 16), np.float32),
            "keys": np.zeros((3, 2, 16, PAGE_TOKENS), np.float16),
            "values": np.zeros((3, 2, PAGE_TOKENS, 16), np.float16),
            "pages": np.zeros((1, 2), np.int32),
            "first_page": np.zeros(1, np.int64),
            "span_starts": np.array([0, 2], np.int32),
            "index": np.array([63, 64], np.int64),
            "first_visible": np.zeros(2, np.int64),
        }
        arguments |= changed
        q = arguments.pop("q")
        ops.attention(ops.Workspace(), q, ops.Past(**arguments), 1.0)  # type: ignore[arg-type]

    attend()
    attend(keys=np.zeros((3, 2, 18, PAGE_TOKENS), np.int8), values=np.zeros((3, 2, PAGE_TOKENS, 18), np.int8))
    wrong: list[dict[str, object]] = [
        {"pages": np.full((1, 2), 3, np.int32)},
        {"pages": np.full((1, 2), -1, np.int32)},
        {"pages": np.zeros((1, 1), np.int32)},
        {"first_page": np.ones(1, np.int64)},
        {"index": np.array([63, 65], np.int64)},
        {"index": np.array([-1, 0], np.int64)},
        {"first_visible": np.array([0, 65], np.int64)},
        {"first_visible": np.array([-1, 0], np.int64)},
        {"span_starts": np.array([0, 1], np.int32)},
        {"span_starts": np.array([1, 2], np.int32)},
        {"q": np.zeros((2, 3, 16), np.float32)},
        {"q": np.zeros((2, 4, 8), np.float32)},
        {"values": np.zeros((3, 2, PAGE_TOKENS, 16), np.float32)},
        {"keys": np.zeros((3, 2, PAGE_TOKENS, 16), np.float16)},
        {"keys": np.zeros((3, 2, 18, PAGE_TOKENS), np.int8)},
        {"keys": np.zeros((3, 2, 16, PAGE_TOKENS), np.int8), "values": np.zeros((3, 2, PAGE_TOKENS, 16), np.int8)},
        {"keys": np.zeros((3, 2, 18, PAGE_TOKENS), np.uint8), "values": np.zeros((3, 2, PAGE_TOKENS, 18), np.uint8)},
    ]
    for changed in wrong:
        with pytest.raises(ValueError):
            attend(**changed)
