"""Sampling: the filters as documented, the distribution as promised, the same token everywhere."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_variants import bits, same_in_all_variants

from shoestring import _kernels, ops
from shoestring.errors import RequestError
from shoestring.ops.sampling import Sampling

Float32 = npt.NDArray[np.float32]
NOTHING = np.zeros(0, np.int32)

PLAIN: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "context_ids": NOTHING,
    "generated_ids": NOTHING,
    "bias_ids": NOTHING,
    "bias_values": np.zeros(0, np.float32),
    "seed": 0,
    "sample_index": 0,
    "position": 0,
}


def draw(logits: Float32, *, top_logprobs: int = 0, **options: Any) -> tuple[int, float, Any, Any]:
    """The kernel's token, its log-probability, and the `top_logprobs` likeliest ids with theirs."""
    fields = {**PLAIN, "vocabulary_size": len(logits), **options}
    likeliest = min(top_logprobs, fields["vocabulary_size"])
    top_ids, top = np.empty(likeliest, np.int32), np.empty(likeliest, np.float64)
    token, logprob = _kernels.sample(logits, **fields, top_ids=top_ids, top_logprobs=top)
    return token, logprob, top_ids, top


def draws(logits: Float32, count: int, **options: Any) -> npt.NDArray[np.int64]:
    return np.array([draw(logits, position=i, **options)[0] for i in range(count)])


def some_logits(seed: int, n: int, scale: float = 3.0) -> Float32:
    return (np.random.default_rng(seed).standard_normal(n) * scale).astype(np.float32)


def probabilities(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return weights / weights.sum()


def test_philox_gives_its_published_numbers() -> None:
    """Known answers of Random123 (Salmon et al., SC 2011), philox4x32-10."""
    assert _kernels.philox(0, 0, 0, 0, 0, 0) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert _kernels.philox(ones, ones, ones, ones, ones, ones) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert _kernels.philox(0xA4093822, 0x299F31D0, *pi) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def test_uniform_numbers_are_uniform_and_differ_by_every_part_of_their_key() -> None:
    numbers = np.array([_kernels.uniform(seed, sample, position) for seed in range(10) for sample in range(10)
                        for position in range(50)])  # fmt: skip
    assert len(set(numbers)) == 5000
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, 10, (0, 1))[0]
    assert ((counts - 500) ** 2 / 500).sum() < 33  # chi², 9 degrees of freedom, p = 1e-4
    assert _kernels.uniform(2**63, 0, 0) != _kernels.uniform(0, 0, 0)


def test_draws_follow_the_softmax() -> None:
    logits = some_logits(0, 50, 1.5)
    for options in ({}, {"temperature": 0.7}, {"temperature": 2.0, "top_k": 30}, {"min_p": 0.02}, {"top_p": 0.999}):
        count = 4000
        shares = np.bincount(draws(logits, count, **options), minlength=50)
        p = probabilities(logits / options.get("temperature", 1.0))
        order = np.argsort(-p, kind="stable")
        if "top_k" in options:
            p[order[30:]] = 0
        if "min_p" in options:
            p[p < 0.02 * p.max()] = 0
        if "top_p" in options:
            p[order[np.searchsorted(np.cumsum(p[order]), 0.999) + 1 :]] = 0
        p /= p.sum()
        assert shares[p == 0].sum() == 0
        expected = count * p[p > 0]
        chi2 = ((shares[p > 0] - expected) ** 2 / expected).sum()
        freedom = len(expected) - 1
        assert chi2 < freedom + 5 * np.sqrt(2 * freedom)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 3000),
    scale=st.sampled_from([0.0, 0.1, 3.0, 30.0]),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    top_k=st.sampled_from([0, 1, 2, 20, 300, 5000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01, 0.0]),
    min_p=st.sampled_from([0.0, 0.05, 1.0]),
)
def test_a_token_passes_every_filter(
    seed: int, n: int, scale: float, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    logits = some_logits(seed, n, scale)
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    token, logprob, ids, logprobs = draw(logits, seed=seed, top_logprobs=5, **options)
    assert token == same_in_all_variants(token_of, logits, seed, options)
    assert 0 <= token < n
    p = probabilities(logits)
    assert abs(logprob - np.log(p[token])) < 1e-5
    order = np.argsort(-logits, kind="stable")
    assert ids.tolist() == order[:5].tolist()
    assert np.abs(logprobs - np.log(p[order[:5]])).max() < 1e-5
    rank = int(np.nonzero(order == token)[0][0])
    if temperature == 0:
        assert rank == 0
        return
    q = probabilities(logits / np.float32(temperature))
    assert q[token] >= min_p * q.max() * (1 - 1e-5)
    kept = order[:top_k] if top_k else order
    assert rank < len(kept)
    before = q[order[:rank]].sum() / q[kept].sum()
    assert rank == 0 or before < top_p + 1e-6


def token_of(logits: Float32, seed: int, options: dict[str, Any]) -> int:
    _kernels.set_num_threads(2)
    return draw(logits, seed=seed, **options)[0]


def test_ties_go_to_the_lower_id() -> None:
    logits = np.zeros(1000, np.float32)
    assert draw(logits, temperature=0.0)[0] == 0
    assert set(draws(logits, 200, top_k=3)) == {0, 1, 2}
    assert draw(logits, top_logprobs=4)[2].tolist() == [0, 1, 2, 3]


def test_penalties_as_documented() -> None:
    logits = np.array([2.0, -1.0, 1.5, 0.5, 0.0], np.float32)

    def best(**options: Any) -> int:
        return draw(logits, temperature=0.0, **options)[0]

    ids = np.array([0, 0, 0], np.int32)
    assert best(repetition_penalty=1.2, context_ids=ids) == 0  # 2 / 1.2 > 1.5: once for all three
    assert best(repetition_penalty=1.4, context_ids=ids) == 2
    assert best(repetition_penalty=1.4, generated_ids=ids) == 2
    assert best(presence_penalty=0.4, generated_ids=ids) == 0
    assert best(presence_penalty=0.6, generated_ids=ids) == 2
    assert best(presence_penalty=0.6, context_ids=ids) == 0  # only what was generated
    assert best(frequency_penalty=0.15, generated_ids=ids) == 0
    assert best(frequency_penalty=0.2, generated_ids=ids) == 2  # three times 0.2
    # A negative logit is multiplied, not divided.
    low = np.array([-1.0, -1.1], np.float32)
    assert draw(low, temperature=0.0, repetition_penalty=1.2, context_ids=np.zeros(1, np.int32))[0] == 1
    assert best(bias_ids=np.array([1], np.int32), bias_values=np.array([10], np.float32)) == 1
    banned = {"bias_ids": np.arange(4, dtype=np.int32), "bias_values": np.full(4, -np.inf, np.float32)}
    assert set(draws(logits, 50, **banned)) == {4}
    # Log-probabilities are those of the logits as they came.
    assert draw(logits, temperature=0.0, **banned)[1] == pytest.approx(np.log(probabilities(logits)[4]), abs=1e-6)


def test_penalties_look_back_at_their_window() -> None:
    """As in llama.cpp: 0 is off, and a window beyond all tokens is no window."""
    logits = np.array([2.0, 1.5, 1.0, 0.5], np.float32)

    def best(tokens: list[int], window: int | None, **penalty: float) -> int:
        sampling = Sampling(temperature=0, penalty_window=window, **penalty)
        return ops.sample(logits, sampling, tokens, prompt_length=2, index=0, vocabulary_size=4).id

    for penalty in ({"repetition_penalty": 9.0}, {"presence_penalty": 9.0}, {"frequency_penalty": 9.0}):
        tokens = [3, 3, 0, 1]
        assert [best(tokens, window, **penalty) for window in (None, 2, 1, 0, 100)] == [2, 2, 0, 0, 2]
    assert best([0, 3, 3, 3], None, repetition_penalty=9.0) == 1
    assert best([0, 3, 3, 3], 3, repetition_penalty=9.0) == 0
    assert best([0, 0, 3, 3], 4, presence_penalty=9.0) == 0  # only what was generated
    for wrong in (-1, 1 << 70, True, 1.5):
        with pytest.raises((RequestError, TypeError)):
            best([0], wrong, repetition_penalty=2.0)  # type: ignore[arg-type]


def test_ids_past_the_vocabulary_are_never_sampled() -> None:
    logits = some_logits(3, 100)
    logits[60:] = 50
    assert (draws(logits, 300, vocabulary_size=60, temperature=3.0) < 60).all()
    token, logprob, ids, _ = draw(logits, vocabulary_size=60, temperature=0.0, top_logprobs=60)
    assert token == logits[:60].argmax()
    assert logprob == pytest.approx(np.log(probabilities(logits[:60])[token]), abs=1e-6)
    assert ids.max() < 60
    outside = np.array([60, 99, 100, -1, 2**31 - 1], np.int32)
    changed = {"context_ids": outside, "generated_ids": outside, "bias_ids": outside}
    draw(logits, vocabulary_size=60, bias_values=np.ones(5, np.float32), repetition_penalty=2.0, **changed)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_do_no_harm(number: float) -> None:
    for logits in (np.full(300, number, np.float32), some_logits(0, 300)):
        logits[7] = number
        for options in ({"temperature": 0.0}, {}, {"top_k": 5}, {"top_p": 0.9}, {"min_p": 0.1, "top_p": 0.5}):
            assert 0 <= draw(logits, top_logprobs=3, **options)[0] < 300


def log_softmax(seed: int, rows: int, n: int, threads: int) -> npt.NDArray[np.float64]:
    _kernels.set_num_threads(threads)
    logits = np.concatenate([some_logits(seed + r, n) for r in range(rows)]).reshape(rows, n)
    out = np.empty(rows, np.float64)
    _kernels.log_softmax_at(logits, np.arange(rows, dtype=np.int32) * 7 % n, out)
    return out


@pytest.mark.parametrize("n", [1, 15, 16, 17, 1023, 1024, 1025, 5000])
def test_log_softmax(n: int) -> None:
    result = same_in_all_variants(log_softmax, 0, 5, n, 1)
    for threads in (2, 3):
        assert bits(log_softmax(0, 5, n, threads)) == bits(result)
    for r in range(5):
        assert abs(result[r] - np.log(probabilities(some_logits(r, n))[r * 7 % n])) < 1e-6
    with pytest.raises(ValueError):
        _kernels.log_softmax_at(some_logits(0, n).reshape(1, n), np.array([n], np.int32), np.empty(1))


def mask_of(ids: npt.ArrayLike, n: int) -> npt.NDArray[np.uint32]:
    bits = np.zeros(-(-n // 32) * 32, np.uint8)
    bits[np.asarray(ids, np.int64)] = 1
    return np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"top_k": 5},
    {"top_p": 0.9},
    {"min_p": 0.1, "top_p": 0.5},
    {"top_k": 1},
    {"presence_penalty": 1.0, "repetition_penalty": 1.3, "generated_ids": np.arange(40, dtype=np.int32)},
    {"bias_ids": np.arange(9, dtype=np.int32), "bias_values": np.full(9, 100, np.float32)},
]


@settings(max_examples=60, deadline=None)
@given(n=st.sampled_from([1, 31, 32, 33, 300, 9000]), data=st.data(), seed=st.integers(0, 99))
def test_only_what_is_allowed_is_sampled_as_if_nothing_else_were_there(n: int, data: st.DataObject, seed: int) -> None:
    allowed = data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=40))
    logits = some_logits(seed, n)
    banned = np.array([i for i in range(n) if i not in allowed], np.int32)
    for options in OPTIONS:
        if "bias_ids" in options and n < 9:
            continue
        token, logprob, ids, top = draw(logits, allowed=mask_of(sorted(allowed), n), top_logprobs=min(3, n), **options)
        assert token in allowed
        # The same as an infinite bias against all others, and the log-probabilities are the model's own.
        bias_ids = np.concatenate([options.get("bias_ids", NOTHING), banned])
        bias = np.full(len(bias_ids), -np.inf, np.float32)
        bias[: len(bias_ids) - len(banned)] = 100
        rest = {**options, "bias_ids": bias_ids, "bias_values": bias}
        assert draw(logits, top_logprobs=min(3, n), **rest)[0] == token
        free = draw(logits, top_logprobs=min(3, n), temperature=0.0)
        assert (bits(ids), bits(top)) == (bits(free[2]), bits(free[3]))
        assert logprob == pytest.approx(np.log(probabilities(logits)[token]), abs=1e-5)


def masked(n: int, seed: int) -> npt.NDArray[np.float64]:
    allowed = mask_of(np.flatnonzero(np.random.default_rng(seed).random(n) < 0.2), n)
    return np.array([draw(some_logits(seed, n), allowed=allowed, position=i, **o)[:2] for o in OPTIONS
                     for i in range(5)])  # fmt: skip


def test_a_mask_gives_the_same_tokens_in_all_variants() -> None:
    for n in (40, 1000, 20_000):
        same_in_all_variants(masked, n, n)


def test_a_mask_of_all_ones_changes_nothing() -> None:
    logits = some_logits(5, 1000)
    for options in OPTIONS:
        for allowed in (mask_of(range(1000), 1000), np.full(40, 2**32 - 1, np.uint32)):
            assert draw(logits, allowed=allowed, **options)[:2] == draw(logits, **options)[:2]


def test_a_mask_that_allows_nothing_is_an_error_and_a_short_one_is_refused() -> None:
    logits = some_logits(5, 100)
    for allowed in (mask_of([], 100), mask_of([60, 99], 100)):
        with pytest.raises(RequestError, match="no token is allowed"):
            ops.sample(logits, Sampling(), (), prompt_length=0, index=0, vocabulary_size=60, allowed=allowed)
    with pytest.raises(ValueError, match="a bit for each"):
        draw(logits, allowed=np.zeros(3, np.uint32))
    with pytest.raises(TypeError):
        draw(logits, allowed=np.zeros(4, np.int32))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_do_not_lead_past_a_mask(number: float) -> None:
    for logits in (np.full(300, number, np.float32), some_logits(0, 300)):
        logits[7] = number
        for options in OPTIONS:
            assert draw(logits, allowed=mask_of([8, 70], 300), **options)[0] in (8, 70)
