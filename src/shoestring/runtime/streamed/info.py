"""`Model.streaming`: how much of a model is in memory, and what was read from disk so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shoestring.streaming.counters import Totals
from shoestring.streaming.predict import HitCurve
from shoestring.streaming.report import Report, report
from shoestring.streaming.slots import ExpertBytes, SlotPlan


@dataclass(frozen=True)
class StreamingInfo:
    """A model whose experts stream from disk. pass_rows: the most rows of a prompt that share each expert's read.

    observe_reads: takes what to call with (layer, expert), in the thread that computes, whenever one begins to be
    read; None: nothing more. disk_gives: bytes a second that a probe of its disk has read; None: there was no probe.
    """

    pass_rows: int
    plan: SlotPlan = field(repr=False)
    layers: tuple[ExpertBytes, ...] = field(repr=False)
    curve: HitCurve = field(repr=False)
    count: Callable[[], Totals] = field(repr=False)
    observe_reads: Callable[[Callable[[tuple[int, int]], None] | None], None] = field(repr=False)
    disk_gives: float | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"StreamingInfo({self.slots} of {self.experts} experts in memory, {self.totals.hit_rate:.0%} hits)"

    @property
    def slots(self) -> int:
        """Experts that fit into memory."""
        return self.plan.slots

    @property
    def experts(self) -> int:
        """Experts of all layers."""
        return self.plan.experts

    @property
    def share(self) -> float:
        """Share of the experts that fit into memory."""
        return self.plan.share

    @property
    def totals(self) -> Totals:
        """Counts since the model was loaded; subtract earlier ones for what an answer did."""
        return self.count()

    def report(self, done: Totals, tokens: int, seconds: float) -> Report:
        """The numbers of `seconds` in which `tokens` (at least one) were computed. done: the counts of this time."""
        gives = max(self.disk_gives or 0.0, done.disk_rate) or None
        return report(done, tokens, seconds, self.plan, self.layers, self.curve, gives)
