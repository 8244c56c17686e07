"""What an answer's line and /metrics say about streaming: hits, bytes, the limit, and what more memory would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.streaming.counters import Totals
from shoestring.streaming.limit import Bound, Costs
from shoestring.streaming.predict import HitCurve, gain
from shoestring.streaming.slots import ExpertBytes, SlotPlan, all_bytes

#: What a report looks at: this much more memory.
MORE_BYTES = 4 * 10**9
_BOUNDS: dict[Bound, str] = {
    "disk": "the disk",
    "experts": "computing experts",
    "rest": "computing everything but experts",
}


@dataclass(frozen=True)
class Report:
    """Of some tokens. disk_rate: bytes a second while it read; disk_gives: what it gives to a probe.

    share_of_limit: 1 is the limit (`limit`) with these misses. gain: tokens a second more with `more_bytes` more
    memory, an estimate.
    """

    hit_rate: float
    bytes_per_token: float
    disk_rate: float
    disk_gives: float
    share_of_limit: float
    bound: Bound
    more_bytes: int
    gain: float


def report(
    done: Totals,
    tokens: int,
    seconds: float,
    plan: SlotPlan,
    layers: Sequence[ExpertBytes],
    curve: HitCurve,
    disk_gives: float | None = None,
) -> Report:
    """done: the counts of the `seconds` in which `tokens` (at least one) were computed.

    disk_gives: None: what it gave in this time. More memory than all experts need brings nothing more.
    """
    costs = Costs(
        max(0.0, seconds - done.wait_seconds - done.expert_seconds) / tokens,
        done.expert_seconds / tokens,
        done.missed_bytes / tokens,
        disk_gives or done.disk_rate or float("inf"),
    )
    total = all_bytes(layers)
    more = min(MORE_BYTES, total - plan.arena_bytes)
    return Report(
        done.hit_rate,
        costs.missed_bytes,
        done.disk_rate,
        costs.disk_rate if done.reads else 0.0,
        min(1.0, costs.share(seconds / tokens)),
        costs.bound,
        more,
        gain(costs, seconds / tokens, plan.share, more / total, curve),
    )


def sentence(r: Report) -> str:
    """One line for people."""
    if not r.bytes_per_token:
        return f"experts: {_percent(r.hit_rate)} in memory, nothing read"
    text = (
        f"experts: {_percent(r.hit_rate)} in memory, {_size(r.bytes_per_token)} read a token "
        f"at {r.disk_rate / 1e9:.1f} of {r.disk_gives / 1e9:.1f} GB/s, {_percent(r.share_of_limit)} of the limit, "
        f"bound by {_BOUNDS[r.bound]}"
    )
    if r.more_bytes > 0:
        text += f"; +{_size(r.more_bytes)} → {r.gain:+.1f} tokens/s, estimated"
    return text


def _size(nbytes: float) -> str:
    """Bytes in the unit of disks, with two digits: 4 GB, 1.4 GB, 50 MB."""
    value, unit = (nbytes / 1e9, "GB") if nbytes >= 995e6 else (nbytes / 1e6, "MB")
    return f"{value:.0f} {unit}" if value >= 10 or f"{value:.1f}".endswith(".0") else f"{value:.1f} {unit}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
