"""The limit of a token whose experts stream, and the share of it that a run reaches.

streaming/limit.py has the formula. R is measured by random reads of one expert's part from the very file, in the same
minute.

D and E come from steps that repeat one token (of every sequence), after some that have loaded its experts: the same
file, budget, process and code as the measured run, but nothing to read. E is the time from a router's choice to the sum
of its experts; D is the rest. An alternative, all experts' views on a few resident slots, would need a second way to
build a model and would still not be the measured code.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from shoestring.streaming.limit import Costs


@dataclass(frozen=True)
class Limit:
    """D, E, M and R of one step, and the seconds that were measured."""

    costs: Costs
    measured: float

    @property
    def share(self) -> float:
        return self.costs.share(self.measured)

    def __str__(self) -> str:
        c = self.costs
        return (
            f"D {1e3 * c.rest_seconds:.1f} ms, E {1e3 * c.expert_seconds:.1f} ms, M {c.missed_bytes / 1e6:.0f} MB, "
            f"R {c.disk_rate / 1e9:.2f} GB/s, t = {1e3 * c.limit_seconds:.1f} ms "
            f"(with foresight {1e3 * c.foresight_seconds:.1f}), measured {1e3 * self.measured:.1f} ms"
        )


def limit_of(facts: dict[str, Any], rate: float) -> Limit:
    """The limit of a run of ours.py with D and E (streaming/limit.py)."""
    return Limit(
        Costs(facts["D"], facts["E"], statistics.mean(facts["step_read_bytes"]), rate),
        statistics.mean(facts["step_seconds"]),
    )
