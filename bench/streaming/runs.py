"""Start the runs of a row: ours and llama.cpp's, each in a process and a control group of its own; probe the disk."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shoestring.planning.hardware.disk import read_speed
from streaming import group
from streaming.ours import Job
from streaming.shapes import forget

BENCH = Path(__file__).parents[1]
LLAMA = Path(__file__).parent / "llama.py"
#: Bytes by which our budget is smaller than the control group beside llama.cpp.
BESIDE = 100 * 10**6


@dataclass
class Settings:
    """Of one call of the benchmark. llama: an interpreter with llama-cpp-python; None: leave llama.cpp out."""

    folder: Path
    threads: int
    rounds: int
    llama: str | None
    #: source tree with a compiled extension of the version before, for the row of resident runs
    before: Path | None
    keep: bool
    quick: bool
    #: seconds of changing batches
    batches: float
    limited: bool = True
    #: peak of each limited run ÷ its budget
    peaks: list[float] = field(default_factory=list)


def ours(settings: Settings, job: Job, limit: int | None, source: Path | None = None) -> dict[str, Any]:
    """A run of our engine. limit: bytes of its control group; None: none. source: another version's source tree."""
    forget(Path(job.file))
    paths = [str(BENCH), *([str(source)] if source else []), os.environ.get("PYTHONPATH", "")]
    facts, peak = _run([sys.executable, "-m", "streaming.ours"], job, settings, limit, os.pathsep.join(paths))
    if job.memory is not None and peak:
        settings.peaks.append(peak / job.memory)
    return facts


def llama(settings: Settings, job: Job, limit: int | None) -> dict[str, Any]:
    """A run of llama.cpp."""
    assert settings.llama is not None
    forget(Path(job.file))
    return _run([settings.llama, str(LLAMA)], job, settings, limit, "")[0]


def _run(command: list[str], job: Job, settings: Settings, limit: int | None, path: str) -> tuple[dict[str, Any], int]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(asdict(job)))
        done = group.run([*command, str(file)], limit if settings.limited else None, {"PYTHONPATH": path})
    return json.loads(done.output.splitlines()[-1]), done.peak_bytes


def disk_rate(file: Path, part_bytes: int, in_flight: int, seconds: float = 2.0) -> float:
    """Bytes per second of random reads of one expert's part."""
    return read_speed(file, part_bytes, in_flight, seconds).bytes_per_second


def median(values: list[float]) -> float:
    return statistics.median(values)
