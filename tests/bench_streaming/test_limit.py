"""The limit and its share."""

from __future__ import annotations

import pytest
from streaming.limit import Limit, limit_of
from streaming.rows import estimate

from shoestring.streaming.limit import Costs


def test_reading_hides_behind_experts_alone() -> None:
    reads = Limit(Costs(0.02, 0.03, 2e8, 2e9), measured=0.15)
    assert reads.costs.limit_seconds == pytest.approx(0.12)
    assert reads.costs.foresight_seconds == pytest.approx(0.10)
    assert reads.share == pytest.approx(0.8)
    computes = Limit(Costs(0.02, 0.03, 1e7, 2e9), measured=0.05)
    assert computes.costs.limit_seconds == computes.costs.foresight_seconds == pytest.approx(0.05)


def test_a_run_gives_means() -> None:
    facts = {"D": 0.01, "E": 0.02, "step_read_bytes": [0, 4e7], "step_seconds": [0.03, 0.05]}
    assert limit_of(facts, 1e9) == Limit(Costs(0.01, 0.02, 2e7, 1e9), pytest.approx(0.04))


def test_the_head_of_a_whole_model_runs_once() -> None:
    text = estimate(Limit(Costs(0.05, 0.01, 1e8, 1e9), measured=0.2), head=0.03, layers=4, whole=60)
    assert text.startswith(f"{1 / (0.03 + 15 * (0.02 + 0.1)):.2f} tokens/s")
