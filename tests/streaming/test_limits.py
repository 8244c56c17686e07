"""The limit and the predictions: formulas at their corners, curves through the published points."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.streaming.limit import REACHED, Costs, expected_seconds
from shoestring.streaming.predict import HitCurve, gain, missed_bytes, predict, published_curve
from shoestring.streaming.replay import equal_layers
from shoestring.streaming.slots import all_bytes, plan_slots

seconds = st.floats(1e-6, 10)


@given(rest=seconds, experts=seconds, missed=st.floats(0, 1e11), rate=st.floats(1e8, 1e10))
def test_the_limit(rest: float, experts: float, missed: float, rate: float) -> None:
    costs = Costs(rest, experts, missed, rate)
    assert costs.limit_seconds == rest + max(experts, missed / rate)
    assert costs.foresight_seconds <= costs.limit_seconds
    assert costs.limit_seconds >= rest + experts
    assert costs.share(costs.limit_seconds) == 1
    assert costs.share(2 * costs.limit_seconds) == 0.5


def test_what_bounds_it() -> None:
    assert Costs(1, 2, 30, 10).bound == "disk"
    assert Costs(1, 2, 10, 10).bound == "experts"
    assert Costs(3, 2, 10, 10).bound == "rest"
    assert Costs(3, 2, 0, 0).limit_seconds == 5, "without misses no disk is needed"


@given(seconds, seconds, st.integers(1, 99), st.integers(1, 40), st.floats(0, 1), st.floats(1e-6, 1))
def test_uneven_misses_take_longer_than_even_ones(
    rest: float, experts: float, layers: int, chosen: int, hit_rate: float, one: float
) -> None:
    costs = Costs(rest, experts, layers * chosen * (1 - hit_rate) * 1e6, 1e6 / one)
    expected = expected_seconds(costs, layers, chosen, hit_rate) * REACHED
    assert expected >= costs.limit_seconds * (1 - 1e-9)
    assert expected <= (rest + experts + costs.disk_seconds) * (1 + 1e-9)


def test_the_spread_of_one_expert_a_token() -> None:
    """Half of the layers read for 4 s, and the others compute for 3 s."""
    costs = Costs(1.0, 2 * 3.0, missed_bytes=2 * 0.5 * 40, disk_rate=10)
    assert math.isclose(expected_seconds(costs, 2, 1, 0.5) * REACHED, 1 + 2 * (0.5 * 4 + 0.5 * 3))


def test_misses_as_many_as_drawn() -> None:
    """The mean of many draws of 8 experts a layer."""
    draws = random.Random(1)
    costs = Costs(0.5, 10 * 1.0, missed_bytes=10 * 8 * 0.1 * 9, disk_rate=10)
    layers = [max(1.0, 0.9 * sum(draws.random() < 0.1 for _ in range(8))) for _ in range(20000)]
    assert math.isclose(expected_seconds(costs, 10, 8, 0.9) * REACHED, 0.5 + 10 * statistics.mean(layers), rel_tol=0.01)


@pytest.mark.parametrize(
    ("experts", "active", "share", "hit"),
    [
        (256, 8, 0.08, 0.52), (256, 8, 0.12, 0.60), (256, 8, 0.25, 0.83), (256, 8, 0.37, 0.90),
        (512, 10, 0.125, 0.67), (512, 10, 0.25, 0.81), (512, 10, 0.37, 0.93),
        (16, 1, 0.14, 0.14), (128, 1, 0.5, 0.5),
    ],
)  # fmt: skip
def test_published_points(experts: int, active: int, share: float, hit: float) -> None:
    curve = published_curve(experts, active)
    assert math.isclose(curve.hit_rate(share), hit, abs_tol=1e-12)
    assert not curve.recorded
    assert curve.source


@given(
    experts=st.sampled_from([8, 16, 60, 64, 128, 256, 384, 512, 1024]),
    active=st.integers(1, 8),
    a=st.floats(0, 1),
    b=st.floats(0, 1),
)
def test_a_curve_rises_from_nothing_to_everything(experts: int, active: int, a: float, b: float) -> None:
    curve = published_curve(experts, active)
    low, high = sorted((a, b))
    assert 0 <= curve.hit_rate(low) <= curve.hit_rate(high) + 1e-12
    assert curve.hit_rate(high) <= 1
    assert (curve.hit_rate(0), curve.hit_rate(1)) == (0, 1)


def test_between_published_shapes() -> None:
    shares = (0.1, 0.2, 0.3)
    narrow, between, wide = published_curve(256, 8), published_curve(320, 8), published_curve(512, 10)
    for share in shares:
        low, high = sorted((narrow.hit_rate(share), wide.hit_rate(share)))
        assert low - 1e-12 <= between.hit_rate(share) <= high + 1e-12


def test_a_prediction() -> None:
    layers = equal_layers(16, 256)
    plan = plan_slots(layers, 8, all_bytes(layers) // 4)
    curve = HitCurve(((0.25, 0.75),), "a test", True)
    result = predict(layers, 8, plan, curve, rest_seconds=0.01, expert_seconds=0.02, disk_rate=1e5)
    assert (result.share, result.hit_rate) == (0.25, 0.75)
    assert result.costs.missed_bytes == missed_bytes(layers, 8, 0.75) == 0.25 * 8 * 16 * 64
    assert math.isclose(result.tokens_per_second, 1 / expected_seconds(result.costs, 16, 8, 0.75))
    assert (result.source, result.recorded) == ("a test", True)


def test_what_more_memory_brings() -> None:
    curve = HitCurve(((0.25, 0.5), (0.5, 0.75)), "a test", True)
    costs = Costs(0.1, 0.0, 1e9, 1e9)  # 1 s of reading
    measured = 2 * costs.limit_seconds
    # Half of the misses stay; the run stays twice as slow as its limit.
    assert math.isclose(gain(costs, measured, 0.25, 0.25, curve), 1 / (2 * 0.6) - 1 / 2.2)
    assert gain(costs, measured, 0.25, 0.0, curve) == 0
    assert math.isclose(gain(costs, measured, 0.25, 5.0, curve), 1 / (2 * 0.1) - 1 / 2.2)
