"""The limit of a token whose experts stream, and the share of it that a run reaches.

D: seconds of everything but routed and shared experts, in memory. E: seconds of the experts, in memory. M: bytes that
were missed. R: bytes per second of random reads of one expert's part from the very file, in the same minute.

D and E come from steps that repeat one token (of every sequence), after some that have loaded its experts: the same
file, budget, process and code as the measured run, but nothing to read. E is the time from a router's choice to the sum
of its experts; D is the rest. An alternative, all experts' views on a few resident slots, would need a second way to
build a model and would still not be the measured code.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limit:
    """Seconds and bytes of one step."""

    D: float
    E: float
    M: float
    R: float
    measured: float

    @property
    def seconds(self) -> float:
        """A layer's reads are known only after its router, so that nothing of D overlaps them."""
        return self.D + max(self.E, self.M / self.R)

    @property
    def foresight(self) -> float:
        """The bound if reads were known before."""
        return max(self.D + self.E, self.M / self.R)

    @property
    def share(self) -> float:
        return self.seconds / self.measured

    def __str__(self) -> str:
        return (
            f"D {1e3 * self.D:.1f} ms, E {1e3 * self.E:.1f} ms, M {self.M / 1e6:.0f} MB, R {self.R / 1e9:.2f} GB/s, "
            f"t = {1e3 * self.seconds:.1f} ms (with foresight {1e3 * self.foresight:.1f}), "
            f"measured {1e3 * self.measured:.1f} ms"
        )


def limit_of(facts: dict[str, Any], rate: float) -> Limit:
    """The limit of a run of ours.py with D and E."""
    return Limit(
        facts["D"],
        facts["E"],
        statistics.mean(facts["step_read_bytes"]),
        rate,
        statistics.mean(facts["step_seconds"]),
    )
