"""`shoestring bench --profile`: what each op of a prompt and of an answer takes, as a share of the machine's limit."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from shoestring.cli import options
from shoestring.cli.advise.timing import decode_seconds, prefill_seconds
from shoestring.cli.find import load_model

if TYPE_CHECKING:
    from shoestring.ops.limits import Peaks
    from shoestring.ops.recording import Work
    from shoestring.runtime.model import Model


@dataclass(frozen=True)
class Limits:
    """Of the same process: bytes per second that all threads read, and the peaks of the instructions."""

    read: float
    peaks: Peaks

    def share(self, name: str, work: Work) -> float | None:
        """The larger of an op's shares of the bandwidth and of its peak; None for an op whose work is not counted."""
        if not work.seconds or not work.operations:
            return None
        types = name.partition(" ")[2].split("+")
        peak = min(self.peaks.of(type_) for type_ in types) if types[0] else self.peaks.fma
        return max(work.nbytes / work.seconds / self.read, work.operations / work.seconds / peak)


@dataclass(frozen=True)
class Phase:
    """One phase of a model: its tokens and seconds, what its ops did, how often they woke the threads, and the limits
    of the machine right after it, in the same state.
    """

    name: str
    tokens: int
    seconds: float
    works: dict[str, Work]
    regions: int
    limits: Limits

    @property
    def python_seconds(self) -> float:
        """What is outside of the kernels."""
        return self.seconds - sum(work.seconds for work in self.works.values())


def bench_profile(name: str, prompt: int, generate: int, loading: options.Loading, json: bool) -> None:
    """Load a model, run a prompt and an answer once to warm up and once recorded, and print both."""
    from shoestring import ops

    phases = recorded_phases(load_model(name, loading=loading), prompt, generate)
    if json:
        rows = [facts(phase) for phase in phases]
        typer.echo(json_module.dumps({"isa": ops.isa(), "threads": ops.num_threads(), "phases": rows}))
        return
    typer.echo(f"{ops.isa()}, {ops.num_threads()} threads")
    for phase in phases:
        for line in table(phase):
            typer.echo(line)


def limits_now() -> Limits:
    """Measure them; takes about two seconds."""
    from shoestring.ops.limits import memory_to_read, peaks, read_bandwidth

    now = peaks()  # first: a unit that was busy rests while memory is read
    return Limits(read_bandwidth(memory_to_read(), 3), now)


def recorded_phases(model: Model, prompt: int, generate: int) -> tuple[Phase, Phase]:
    """Prefill and decode of a model."""
    return (
        recorded_phase("prefill", prompt, lambda repetition: prefill_seconds(model, prompt, repetition)),
        recorded_phase("decode", generate, lambda repetition: decode_seconds(model, generate, repetition)[0]),
    )


def recorded_phase(name: str, tokens: int, run: Callable[[int], float]) -> Phase:
    """`run(repetition)` gives seconds: the first is not counted, the second is recorded."""
    from shoestring import ops
    from shoestring.ops.recording import recorded

    run(0)
    before = ops.num_regions()
    with recorded() as works:
        seconds = run(1)
    regions = ops.num_regions() - before
    return Phase(name, tokens, max(seconds, sum(work.seconds for work in works.values())), works, regions, limits_now())


def facts(phase: Phase) -> dict[str, object]:
    """What --json prints of a phase."""
    ops_ = [
        {"op": name, **asdict(work), "share_of_limit": phase.limits.share(name, work)}
        for name, work in sorted(phase.works.items(), key=lambda item: -item[1].seconds)
    ]
    return {
        "phase": phase.name,
        "tokens": phase.tokens,
        "seconds": phase.seconds,
        "python_share": phase.python_seconds / phase.seconds,
        "parallel_regions": phase.regions,
        "ops": ops_,
    }


def table(phase: Phase) -> list[str]:
    """Lines of a phase: the ops by their time."""
    limits, peaks = phase.limits, phase.limits.peaks
    lines = [
        "",
        f"{phase.name}: {phase.tokens} tokens in {phase.seconds * 1e3:.1f} ms, "
        f"{phase.tokens / phase.seconds:.1f} tokens/s, Python {phase.python_seconds / phase.seconds:.1%}, "
        f"{phase.regions} parallel regions",
        f"limits right after: {limits.read / 1e9:.1f} GB/s, float32 {peaks.fma / 1e9:.0f}, "
        f"bytes {peaks.dot / 1e9:.0f}, int8 {peaks.signed_dot / 1e9:.0f} GOP/s",
        f"{'op':34}{'calls':>7}{'ms':>9}{'time':>7}{'MB':>9}{'GB/s':>7}{'GOP/s':>8}{'limit':>7}",
    ]
    for name, work in sorted(phase.works.items(), key=lambda item: -item[1].seconds):
        share = phase.limits.share(name, work)
        rate = work.operations / work.seconds / 1e9 if work.seconds else 0.0
        bandwidth = work.nbytes / work.seconds / 1e9 if work.seconds else 0.0
        lines.append(
            f"{name:34}{work.calls:7}{work.seconds * 1e3:9.2f}{work.seconds / phase.seconds:7.1%}"
            f"{work.nbytes / 1e6:9.1f}{bandwidth:7.1f}"
            f"{f'{rate:8.1f}' if rate else '':>8}{'' if share is None else f'{share:.0%}':>7}"
        )
    return lines
