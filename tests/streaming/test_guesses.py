"""Guessed reads change no bit, are counted, and stop when they do not pay."""

from __future__ import annotations

from pathlib import Path

import pytest
from streaming_models import SHARES, Failing, Mixture, Shuffled, applied, mixture, rows, streamed, write

from shoestring.streaming.experts import FEW_ROWS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    return mixture(write("qwen3_5", "Q4_K_M", Path(tmp_path_factory.mktemp("guesses")) / "model.gguf"))


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("share", SHARES)
def test_the_bits_of_resident_experts(share: float, right: bool, model: Mixture) -> None:
    """Right and wrong guesses, steps of one row and of some, arrivals in any order; each miss is read once."""
    with streamed(model, share, wrap=lambda reader: Shuffled(reader, 3)) as experts:
        for seed in range(30):
            for layer in range(3):
                r = rows(model, 1 + seed % 3, seed)
                guess = r.ids if right else rows(model, 1, seed + 1000).ids
                expected = applied(model.resident, layer, r, scale_input=False)
                experts.guess(layer, guess)
                assert applied(experts, layer, r, scale_input=False) == expected
        done = experts.totals()
        assert done.hits + done.reads - done.wasted == done.asked
        assert done.useful > 0
        assert done.late <= done.useful
        assert (done.wasted == 0) == right
        assert done.missed_bytes == done.read_bytes - done.wasted_bytes
        assert (done.wasted_bytes == 0) == (done.wasted == 0)


def test_at_most_four_and_not_beside_other_reads(model: Mixture) -> None:
    with streamed(model, 0.5) as experts:
        ids = rows(model, 8, 1).ids
        assert len(set(ids.ravel().tolist())) > 4
        experts.guess(0, ids)
        assert experts.totals().reads == 4
        experts.guess(1, ids)  # the disk still reads, or the first four count as wasted
        assert experts.totals().wasted == 4
        assert applied(experts, 1, rows(model, 8, 1), scale_input=False)


def test_guesses_that_do_not_pay_stop_for_a_while(model: Mixture) -> None:
    with streamed(model, 0.2) as experts:
        assert experts.guesses(1)
        assert not experts.guesses(FEW_ROWS + 1)
        for seed in range(200):
            if not experts.guesses(1):
                break
            experts.guess(0, (rows(model, 1, seed).ids + 5) % 24)
            applied(experts, 0, rows(model, 1, seed), scale_input=False)
        assert not experts.guesses(1)
        assert any(experts.guesses(1) for _ in range(2000)), "they are tried again"


def test_a_guess_that_cannot_be_read_is_no_error(model: Mixture) -> None:
    with streamed(model, 0.5, wrap=lambda reader: Failing(reader, lambda part: False)) as experts:
        failing = experts._store.reader
        failing.broken = lambda part: True
        experts.guess(0, rows(model, 1, 7).ids)
        failing.broken = None
        r = rows(model, 1, 8)
        expected = applied(model.resident, 0, r, scale_input=False)
        assert applied(experts, 0, r, scale_input=False) == expected
        experts._cache.drain_all()  # a guess that still arrives when a row needs it is a read like any other
        r = rows(model, 1, 7)
        assert applied(experts, 0, r, scale_input=False) == applied(model.resident, 0, r, scale_input=False)
