"""Prompts and answers of one file in our variants and every peer, in alternating starts; ratios beside their bars."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from machine import Failed
from streaming.table import Line

from speed import bars
from speed.engines import Ours, Peer, Speeds, Work


@dataclass
class Measured:
    """All starts of an engine; error: why it has no more of them."""

    engine: Ours | Peer
    starts: list[Speeds] = field(default_factory=list)
    error: str = ""

    def median(self, phase: str) -> float:
        return statistics.median(getattr(start, phase) for start in self.starts)

    @property
    def share(self) -> float | None:
        shares = [start.share for start in self.starts if start.share is not None]
        return statistics.median(shares) if shares else None

    def cell(self, phase: str) -> str:
        """The median, and the range of more than one start."""
        if not self.starts:
            return "none"
        values = [getattr(start, phase) for start in self.starts]
        span = f" ({min(values):.4g} … {max(values):.4g})" if len(values) > 1 else ""
        return f"{statistics.median(values):.4g}{span}"


def measure(file: Path, engines: list[Ours | Peer], work: Work, rounds: int) -> list[Measured]:
    """Start each engine once a round, every second round in the other order. One that fails is not started again."""
    results = [Measured(engine) for engine in engines]
    for number in range(rounds):
        for result in results if number % 2 == 0 else reversed(results):
            if result.error:
                continue
            try:
                result.starts.append(result.engine.start(file, work))
            except (Failed, OSError, KeyError, ValueError) as error:
                result.error = str(error)
                print(f"{result.engine.name}: {error}", file=sys.stderr)
        print(f"{file.name} round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results


def speeds_table(case: str, results: list[Measured]) -> Iterator[str]:
    """The rows of the table of speeds, whose header is SPEEDS."""
    for result in results:
        engine = result.engine
        name, variant = (engine.name, engine.isa) if isinstance(engine, Ours) else (engine.label, engine.build)
        share = "" if result.share is None else f"{result.share:.0%}"
        yield f"| {case} | {name} | {variant} | {result.cell('prefill')} | {result.cell('decode')} | {share} |"


SPEEDS = "| file | engine | variant, build | prefill, tokens/s | decode, tokens/s | of the roof |\n" + "|---" * 6 + "|"


def lines(case: str, letter: str, kind: str, results: list[Measured], work: Work) -> Iterator[Line]:
    """Each of our variants beside the peers of its build, of one peer's options the fastest; then its share."""
    for ours in results:
        if not isinstance(ours.engine, Ours):
            continue
        if not ours.starts:
            yield Line(case, f"{ours.engine.isa} failed", ours.error[-200:], "", False)
            continue
        build = ours.engine.build
        peers = [r for r in results if isinstance(r.engine, Peer) and r.engine.build == build]
        for name in dict.fromkeys(peer.engine.name for peer in peers):
            same = [peer for peer in peers if peer.engine.name == name]
            working = [peer for peer in same if peer.starts]
            if not working:
                yield Line(case, f"{name}, {build} build", f"does not run: {same[0].error[-200:]}")
                continue
            yield from _ratios(case, letter, kind, ours, name, working, work)
        if ours.share is not None:
            bar = None if letter == "c" else bars.roof(kind, build)
            met = None if bar is None else ours.share >= bar
            yield Line(case, f"decode, share of the roof, {ours.engine.isa}", f"{ours.share:.0%}",
                       "" if bar is None else f"≥ {bar:.0%}", met)  # fmt: skip


def _ratios(
    case: str, letter: str, kind: str, ours: Measured, name: str, peers: list[Measured], work: Work
) -> Iterator[Line]:
    assert isinstance(ours.engine, Ours)
    build = ours.engine.build
    for phase, count, bar in (
        ("prefill", work.prompt, bars.prefill(name, build, letter, kind)),
        ("decode", work.answer, bars.decode(name, build, kind)),
    ):
        best = max(peer.median(phase) for peer in peers)
        mine = ours.median(phase)
        met = None if bar is None else bar.met(mine / best, ours.share if phase == "decode" else None)
        yield Line(case, f"{phase} {count} ÷ {name}, {ours.engine.isa} beside {build}",
                   f"{mine:.4g} ÷ {best:.4g} = {mine / best:.2f}", "" if bar is None else str(bar), met)  # fmt: skip
