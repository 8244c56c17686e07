"""What `plan` predicts for a budget, from this machine's record, beside what is measured in the same minute."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from shoestring.planning.hardware.detect import this_key
from shoestring.planning.hardware.disk import mount_point, read_speed
from shoestring.planning.hardware.kept import remember_disk
from shoestring.planning.plan import plan
from shoestring.samples.synthetic.routing import token_chain
from streaming.ours import Job
from streaming.rows import OVERHEAD, budget, free_bytes, in_flight, sizes
from streaming.runs import Settings, ours
from streaming.shapes import Shape
from streaming.table import Line, at_most, skipped

#: Share of the experts in memory of each budget, and how far a prediction may be from what is measured.
SHARES, OFF = (0.125, 0.25, 0.5), 15
CONTEXT = 512
#: Tokens whose routes are recorded: others than those that are timed.
RECORDED = 256


@contextmanager
def record_of_its_own() -> Iterator[Path]:
    """An empty record of this machine, which `bench` writes and `plan` reads."""
    before = os.environ.get("XDG_DATA_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["XDG_DATA_HOME"]
            else:
                os.environ["XDG_DATA_HOME"] = before


def predictions(settings: Settings, shape: Shape, file: Path, case: str, timed: int = 64) -> Iterator[Line]:
    """Plan's tokens/s for three budgets: with the disk's rate of that minute, recorded routes and, where the model fits
    into memory, the speed there that `shoestring bench` keeps."""
    size, settle = sizes(file), max(8, timed // 2)
    chain = token_chain(shape.routing, shape.config.vocab_size, 8 + settle + timed + 1).tolist()
    other = token_chain(shape.routing, shape.config.vocab_size, 8 + RECORDED + 1, seed=5).tolist()
    with record_of_its_own() as folder:
        routes = folder / "routes"
        job = Job(str(file), None, settings.threads, CONTEXT, [chain[:8]], [chain[8:]], settle=settle, usual=True)
        most = budget(settings, file, SHARES[-1], CONTEXT)
        ours(settings, replace(job, memory=most, prompts=[other[:8]], answers=[other[8:]], record=str(routes)), None)
        fits = size.experts + size.others + OVERHEAD < free_bytes()
        if not fits:
            yield skipped(case, "speed in memory: the file does not fit there; plan estimates it from the bandwidth")
        for share in SHARES:
            if fits:  # again for each budget, as the machine's speed drifts
                bench(settings, file)
            memory, flight = budget(settings, file, share, CONTEXT), size.chosen
            measured, predicted = [], []
            for _ in range(settings.rounds):
                before = read_speed(file, size.part, flight, 2.0)
                facts = ours(settings, replace(job, memory=memory), memory * 3 // 2)
                flight = in_flight(facts, size)
                after = read_speed(file, size.part, flight, 2.0)
                rate = (before.bytes_per_second + after.bytes_per_second) / 2
                remember_disk(this_key(), mount_point(file), replace(after, bytes_per_second=rate))
                (a,) = plan(str(file), memory=memory, context=CONTEXT, routes=routes).assessments
                if a.placement.streamed is None or a.speed.decode is None:
                    raise RuntimeError(f"plan does not stream {file} in {memory} bytes")
                measured.append(1 / statistics.mean(facts["step_seconds"]))
                predicted.append(a.speed.decode)
            ratios = [p / m for p, m in zip(predicted, measured, strict=True)]
            middle = sorted(range(len(ratios)), key=lambda i: ratios[i])[len(ratios) // 2]
            what = f"{memory / 1e9:.2f} GB, {facts['slots'] / size.count:.0%} of the experts"
            yield Line(case, f"{what}: predicted, measured",
                       f"{predicted[middle]:.2f}, {measured[middle]:.2f} tokens/s; {a.speed.formula[-3]}")  # fmt: skip
            yield at_most(case, f"{what}: off by", 100 * abs(ratios[middle] - 1), OFF, "{:.0f} %")


def bench(settings: Settings, file: Path) -> None:
    """Measure the model in memory as a user does, for the record."""
    command = ["bench", str(file), "--prompt", "64", "--generate", "32", "--repetitions", "2"]
    words = [sys.executable, "-m", "shoestring", *command, "--threads", str(settings.threads)]
    subprocess.run(words, check=True, capture_output=True)
