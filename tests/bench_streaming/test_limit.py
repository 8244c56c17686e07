"""The limit and its share."""

from __future__ import annotations

import pytest
from streaming.limit import Limit, limit_of
from streaming.rows import estimate


def test_reading_hides_behind_experts_alone() -> None:
    reads = Limit(D=0.02, E=0.03, M=2e8, R=2e9, measured=0.15)
    assert reads.seconds == pytest.approx(0.12)
    assert reads.foresight == pytest.approx(0.10)
    assert reads.share == pytest.approx(0.8)
    computes = Limit(D=0.02, E=0.03, M=1e7, R=2e9, measured=0.05)
    assert computes.seconds == computes.foresight == pytest.approx(0.05)


def test_a_run_gives_means() -> None:
    facts = {"D": 0.01, "E": 0.02, "step_read_bytes": [0, 4e7], "step_seconds": [0.03, 0.05]}
    assert limit_of(facts, 1e9) == Limit(0.01, 0.02, 2e7, 1e9, pytest.approx(0.04))


def test_the_head_of_a_whole_model_runs_once() -> None:
    text = estimate(Limit(D=0.05, E=0.01, M=1e8, R=1e9, measured=0.2), head=0.03, layers=4, whole=60)
    assert text.startswith(f"{1 / (0.03 + 15 * (0.02 + 0.1)):.2f} tokens/s")
