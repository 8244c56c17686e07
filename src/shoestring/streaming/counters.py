"""What streaming did: counts of every layer, their sums, and the numbers of an answer's line and of /metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass
class LayerCounters:
    """Of one layer. An expert counts once a step, however many rows use it.

    asked: experts that steps needed. hits: of these, in memory. reads: those that were read from disk; read_bytes:
    their bytes in the file. useful, wasted: reads that were begun before the router had chosen, and that it did or did
    not choose; late: of the useful ones, those that had not arrived by then. wasted_bytes: a part of read_bytes.
    wait_seconds: time in which the engine had nothing else to do.
    """

    asked: int = 0
    hits: int = 0
    reads: int = 0
    read_bytes: int = 0
    useful: int = 0
    late: int = 0
    wasted: int = 0
    wasted_bytes: int = 0
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class Totals:
    """Sums over all layers. expert_seconds: from a router's choice to the sum of its experts, shared ones included,
    without the time of waiting.

    disk_bytes, disk_seconds: bytes that the reader's threads have read, alignment included, and the time with at least
    one read in flight.
    """

    asked: int = 0
    hits: int = 0
    reads: int = 0
    read_bytes: int = 0
    useful: int = 0
    late: int = 0
    wasted: int = 0
    wasted_bytes: int = 0
    wait_seconds: float = 0.0
    expert_seconds: float = 0.0
    disk_bytes: int = 0
    disk_seconds: float = 0.0

    def __sub__(self, earlier: Totals) -> Totals:
        """What happened since `earlier`."""
        return Totals(*(getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self)))

    def __add__(self, other: Totals) -> Totals:
        """What happened in both times."""
        return Totals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def hit_rate(self) -> float:
        """Share of the experts asked for that were in memory; 1 if none was asked for."""
        return self.hits / self.asked if self.asked else 1.0

    @property
    def missed_bytes(self) -> int:
        """Bytes of the experts that steps needed and that were not in memory."""
        return self.read_bytes - self.wasted_bytes

    @property
    def disk_rate(self) -> float:
        """Bytes a second that the disk gave while it was read; 0 if it was not."""
        return self.disk_bytes / self.disk_seconds if self.disk_seconds else 0.0


def short(done: Totals) -> str:
    """A few words for a log line."""
    return f"experts {done.hit_rate:.0%} in memory, {done.read_bytes / 1e9:.2f} GB read"


def totals(layers: Iterable[LayerCounters], *, expert_seconds: float, disk_bytes: int, disk_seconds: float) -> Totals:
    """The sums over `layers`."""
    every = list(layers)
    return Totals(
        sum(layer.asked for layer in every),
        sum(layer.hits for layer in every),
        sum(layer.reads for layer in every),
        sum(layer.read_bytes for layer in every),
        sum(layer.useful for layer in every),
        sum(layer.late for layer in every),
        sum(layer.wasted for layer in every),
        sum(layer.wasted_bytes for layer in every),
        sum(layer.wait_seconds for layer in every),
        expert_seconds,
        disk_bytes,
        disk_seconds,
    )
