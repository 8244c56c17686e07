"""The limit of streaming on a machine, and how near a run comes to it.

    t = D + max(E, M / R)

D: seconds a token in memory, of everything but the experts. E: those of the experts, shared ones included. M: bytes of
missed experts a token. R: bytes a second of the disk. A layer knows what it misses after its router alone, so reading
overlaps with its experts and not with D. With perfect foresight it could overlap with everything: max(D + E, M / R).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What a faster one of would help most.
Bound = Literal["disk", "experts", "rest"]
#: Share of the limit that runs reach, from the rows of docs/benchmarks.md. Predictions assume it.
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
    def expected_seconds(self) -> float:
        """The limit ÷ REACHED: what a run is predicted to take."""
        return self.limit_seconds / REACHED

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
