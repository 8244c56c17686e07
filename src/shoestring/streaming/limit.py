"""The limit of streaming on a machine, and how near a run comes to it.

    t = D + max(E, M / R)

D: seconds a token in memory, of everything but the experts. E: those of the experts, shared ones included. M: bytes of
missed experts a token. R: bytes a second of the disk. A layer knows what it misses after its router alone, so reading
overlaps with its experts and not with D. With perfect foresight it could overlap with everything: max(D + E, M / R).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, comb
from typing import Literal

#: What a faster one of would help most.
Bound = Literal["disk", "experts", "rest"]
#: Share of what `expected_seconds` adds up that runs reach, from the rows of docs/benchmarks.md.
REACHED = 0.9


@dataclass(frozen=True)
class Costs:
    """Of a token, or of a step: D, E (seconds), M (bytes) and R (bytes a second)."""

    rest_seconds: float
    expert_seconds: float
    missed_bytes: float
    disk_rate: float

    @property
    def disk_seconds(self) -> float:
        """M / R; 0 where nothing is missed."""
        return self.missed_bytes / self.disk_rate if self.missed_bytes else 0.0

    @property
    def limit_seconds(self) -> float:
        """D + max(E, M / R)."""
        return self.rest_seconds + max(self.expert_seconds, self.disk_seconds)

    @property
    def foresight_seconds(self) -> float:
        """max(D + E, M / R)."""
        return max(self.rest_seconds + self.expert_seconds, self.disk_seconds)

    @property
    def bound(self) -> Bound:
        """What takes the largest part of the limit."""
        if self.disk_seconds > max(self.expert_seconds, self.rest_seconds):
            return "disk"
        return "experts" if self.expert_seconds > self.rest_seconds else "rest"

    def share(self, measured_seconds: float) -> float:
        """The limit divided by what was measured: 1 is the limit itself."""
        return self.limit_seconds / measured_seconds if measured_seconds else 1.0


def expected_seconds(costs: Costs, layers: int, chosen: int, hit_rate: float) -> float:
    """Seconds that a step is predicted to take. layers: those with experts; chosen: experts a layer that its rows use.

    A layer hides its reads behind its own experts and no others', and misses are spread unevenly: one layer waits while
    the next has nothing to read. With independent misses (a binomial spread) a layer takes the mean of
    max(E / layers, misses · M / R a miss), which is more than max(E, M / R) / layers.
    """
    experts, reads = costs.expert_seconds / layers, costs.disk_seconds / layers
    if not reads:
        return (costs.rest_seconds + costs.expert_seconds) / REACHED
    idle, one = 0.0, reads / (chosen * (1 - hit_rate))  # of the disk, a layer; of a miss
    for misses in range(min(chosen + 1, ceil(experts / one))):
        likely = comb(chosen, misses) * (1 - hit_rate) ** misses * hit_rate ** (chosen - misses)
        idle += likely * (experts - misses * one)
    return (costs.rest_seconds + layers * (reads + idle)) / REACHED
