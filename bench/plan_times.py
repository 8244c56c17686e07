"""Time plan, compare and --find-hardware as whole processes, with the imports: the median of five runs of each.

    python bench/plan_times.py

Beside each stands the processor's time, which other programs on a busy machine lengthen less, and at the end the load.
Ends with status 1 if the smaller of the two medians is above its limit. The first run of each command, which is not
counted, compiles what Python has not compiled yet and measures the memory of a new machine.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

RUNS = 5
#: commands, and the most seconds that their median may take
LIMITS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("plan",), 1.0),
    (("plan", "scout", "--hardware", "rtx-3090+64g"), 1.0),
    (("compare", "qwen3.5", "scout"), 1.0),
    (("compare", "qwen3.5", "scout", "--hardware", "8xh100", "--all"), 1.0),
    (("plan", "--find-hardware"), 5.0),
)


def seconds(words: Sequence[str]) -> tuple[float, float]:
    """Seconds of one process: of the clock, and of processors."""
    used, began = _used(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "shoestring", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began, _used() - used


def _used() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def table(runs: int = RUNS) -> tuple[list[str], bool]:
    """Lines of a table, and whether every median is within its limit."""
    lines, within = ["| command | median | slowest | processor | limit |", "|---|---:|---:|---:|---:|"], True
    for words, limit in LIMITS:
        seconds(words)
        times = [seconds(words) for _ in range(runs)]
        clock, processor = (statistics.median(each) for each in zip(*times, strict=True))
        within &= min(clock, processor) < limit
        figures = f"{clock:.2f} s | {max(times)[0]:.2f} s | {processor:.2f} s | {limit:g} s"
        lines.append(f"| `{' '.join(words)}` | {figures} |")
    return [*lines, "", f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"], within


if __name__ == "__main__":
    lines, within = table()
    print("\n".join(lines))
    sys.exit(0 if within else 1)
