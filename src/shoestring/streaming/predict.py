"""Hit rate and tokens a second before a model is loaded, from a recorded route of the model or from published curves.

Pure functions of numbers: planning calls them without a file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from shoestring.streaming.limit import Costs, expected_seconds
from shoestring.streaming.replay import hit_rates
from shoestring.streaming.routes import Routes
from shoestring.streaming.slots import ExpertBytes, SlotPlan

#: Share of the experts in memory → share of the accesses that find theirs there, by (experts, experts a token).
#: Collected in September 2026; docs/streaming.md has measurements beside them, with addresses.
_PUBLISHED = {
    (256, 8): ((0.08, 0.52), (0.12, 0.60), (0.25, 0.83), (0.37, 0.90)),
    (512, 10): ((0.125, 0.67), (0.25, 0.81), (0.37, 0.93)),
}
CITED = "published measurements of models of this shape"
CITED_OTHERS = "estimated from published measurements of models of other shapes"
#: A rate below this is worth a warning: a sentence takes minutes.
SLOW_TOKENS_PER_SECOND = 0.2


@dataclass(frozen=True)
class HitCurve:
    """points: share of the experts in memory, hit rate; ascending. source: where they come from, for people."""

    points: tuple[tuple[float, float], ...]
    source: str
    recorded: bool

    def hit_rate(self, share: float) -> float:
        """Interpolated; nothing hits without memory, everything with all experts in memory."""
        points = ((0.0, 0.0), *self.points, (1.0, 1.0))
        index = min(max(bisect_left(points, (share, 0.0)), 1), len(points) - 1)
        (x0, y0), (x1, y1) = points[index - 1], points[index]
        if x1 <= x0:
            return y1
        return min(1.0, max(0.0, y0 + (y1 - y0) * (share - x0) / (x1 - x0)))


@dataclass(frozen=True)
class Prediction:
    """Of one answer alone, decoding. slots, share: of the experts; costs: of a token."""

    slots: int
    share: float
    hit_rate: float
    tokens_per_second: float
    costs: Costs
    source: str
    recorded: bool


def recorded_curve(routes: Routes) -> HitCurve:
    """The curve of a recording, by our policy. Takes seconds for a million accesses."""
    rows = hit_rates(routes)
    return HitCurve(tuple((row.share, row.frequency) for row in rows), f"routes recorded of {routes.model}", True)


def published_curve(num_experts: int, experts_per_token: int) -> HitCurve:
    """The curve of models of this shape; between published shapes, interpolated by experts ÷ experts a token.

    With one expert a token, the hit rate is the share in memory: the router balances them. So it is where a token uses
    all experts, the other end of the interpolation.
    """
    if experts_per_token == 1:
        return HitCurve((), "one expert a token: the share in memory", False)
    shapes = sorted((total / active, points) for (total, active), points in _PUBLISHED.items())
    curves = [(ratio, HitCurve(points, CITED, False)) for ratio, points in shapes]
    ratio = num_experts / experts_per_token
    source = CITED if curves[0][0] <= ratio <= curves[-1][0] else CITED_OTHERS
    if ratio < curves[0][0]:
        curves.insert(0, (1.0, HitCurve((), CITED_OTHERS, False)))
    (low, first), (high, last) = curves[0], curves[1]
    weight = (log(ratio) - log(low)) / (log(high) - log(low))
    weight = min(1.0, max(0.0, weight))
    shares = sorted({share for _, points in shapes for share, _ in points})
    points = tuple((s, (1 - weight) * first.hit_rate(s) + weight * last.hit_rate(s)) for s in shares)
    return HitCurve(points, source, False)


def missed_bytes(layers: Sequence[ExpertBytes], experts_per_token: int, hit_rate: float) -> float:
    """Bytes that a token reads on average."""
    return (1 - hit_rate) * experts_per_token * sum(layer.stored_bytes for layer in layers)


def predict(
    layers: Sequence[ExpertBytes],
    experts_per_token: int,
    plan: SlotPlan,
    curve: HitCurve,
    *,
    rest_seconds: float,
    expert_seconds: float,
    disk_rate: float,
) -> Prediction:
    """Tokens a second of one answer with these slots.

    rest_seconds, expert_seconds: of a token in memory (`limit`). disk_rate: bytes a second.
    """
    hit_rate = curve.hit_rate(plan.share)
    costs = Costs(rest_seconds, expert_seconds, missed_bytes(layers, experts_per_token, hit_rate), disk_rate)
    seconds = expected_seconds(costs, len(layers), experts_per_token, hit_rate)
    return Prediction(plan.slots, plan.share, hit_rate, 1 / seconds, costs, curve.source, curve.recorded)


def gain(costs: Costs, measured_seconds: float, share: float, more_share: float, curve: HitCurve) -> float:
    """Tokens a second more if `more_share` more of the experts were in memory.

    The misses that were measured shrink as the curve's do, and what was slower than the limit stays as slow.
    """
    now = 1 - curve.hit_rate(share)
    then = 1 - curve.hit_rate(min(1.0, share + more_share))
    missed = costs.missed_bytes * (then / now if now else 0.0)
    better = Costs(costs.rest_seconds, costs.expert_seconds, missed, costs.disk_rate)
    over_limit = measured_seconds / costs.limit_seconds
    return 1 / (better.limit_seconds * over_limit) - 1 / measured_seconds
