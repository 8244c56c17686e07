"""The line after an answer: rates and shares of known counts."""

from __future__ import annotations

import pytest

from shoestring.streaming.counters import LayerCounters, Totals, totals
from shoestring.streaming.predict import HitCurve
from shoestring.streaming.report import report, sentence
from shoestring.streaming.slots import ExpertBytes, all_bytes, plan_slots

GB = 10**9
LAYERS = tuple(ExpertBytes(n, 100, GB // 10, GB // 10) for n in range(4))  # 40 GB
CURVE = HitCurve(((0.25, 0.5), (0.5, 0.75)), "a test", True)


def test_sums_and_differences() -> None:
    counters = [LayerCounters(10, 4, 6, 600, 2, 1, 1, 100, 0.5), LayerCounters(1, 1, wait_seconds=0.25)]
    now = totals(counters, expert_seconds=2.0, disk_bytes=700, disk_seconds=0.5)
    assert now == Totals(11, 5, 6, 600, 2, 1, 1, 100, 0.75, 2.0, 700, 0.5)
    assert now.missed_bytes == 500
    earlier = Totals(1, 1, 1, 100, 0, 0, 1, 100, 0.25, 1.0, 200, 0.25)
    assert now - earlier == Totals(10, 4, 5, 500, 2, 1, 0, 0, 0.5, 1.0, 500, 0.25)
    assert (now.hit_rate, now.disk_rate) == (5 / 11, 1400)
    assert (Totals().hit_rate, Totals().disk_rate) == (1, 0)


def test_a_report() -> None:
    plan = plan_slots(LAYERS, 10, all_bytes(LAYERS) // 4)
    # 10 tokens in 20 s: 5 s of waiting, 5 s of experts; 20 GB at 2 GB/s.
    done = Totals(400, 200, 200, 20 * GB, 0, 0, 0, 0, 5.0, 5.0, 20 * GB, 10.0)
    r = report(done, 10, 20.0, plan, LAYERS, CURVE, disk_gives=2.5 * GB)
    assert (r.hit_rate, r.bytes_per_token, r.disk_rate, r.disk_gives) == (0.5, 2 * GB, 2 * GB, 2.5 * GB)
    assert r.share_of_limit == pytest.approx((10 + 8) / 20)
    assert r.bound == "rest"
    assert r.gain > 0
    assert sentence(r) == (
        "experts: 50 % in memory, 2 GB read a token at 2.0 of 2.5 GB/s, 90 % of the limit, "
        f"bound by computing everything but experts; +4 GB → {r.gain:+.1f} tokens/s, estimated"
    )


def test_nothing_read() -> None:
    plan = plan_slots(LAYERS, 10, all_bytes(LAYERS))
    r = report(Totals(400, 400, expert_seconds=5.0), 10, 20.0, plan, LAYERS, CURVE)
    assert (r.more_bytes, r.gain, r.disk_gives, r.share_of_limit) == (0, 0, 0, 1)
    assert sentence(r) == "experts: 100 % in memory, nothing read"


def test_no_more_memory_than_all_experts_need() -> None:
    plan = plan_slots(LAYERS, 10, all_bytes(LAYERS) - GB)
    done = Totals(400, 390, 10, GB, 0, 0, 0, 0, 1.0, 1.0, GB, 0.5)
    assert report(done, 10, 4.0, plan, LAYERS, CURVE).more_bytes == GB
