"""The lines that a row prints, and the table of them all."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One measure of one case. met: None: reported without a bar."""

    case: str
    measure: str
    value: str
    bar: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        return f"| {self.case} | {self.measure} | {self.value} | {self.bar} | {MARKS[self.met]} |"


MARKS = {True: "yes", False: "**no**", None: ""}
HEADER = "| case | measure | measured | bar | met |\n|---|---|---|---|---|"


def at_least(case: str, measure: str, value: float, bar: float, text: str) -> Line:
    """A value with a lower bar. text: how to write both, "{:.2f} ×"."""
    return Line(case, measure, text.format(value), f"≥ {text.format(bar)}", value >= bar)


def at_most(case: str, measure: str, value: float, bar: float, text: str) -> Line:
    return Line(case, measure, text.format(value), f"≤ {text.format(bar)}", value <= bar)


def skipped(case: str, why: str) -> Line:
    return Line(case, "left out", why)


def machine(folder: Path, llama: str) -> str:
    """Machine, date, read-ahead of the disk, and load."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    ahead = read_ahead_kb(folder)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} CPUs, {total / 2**30:.0f} GiB; "
        f"{time.strftime('%Y-%m-%d %H:%M')}; read_ahead_kb {ahead or 'unknown'}; load {load}; {llama}"
    )


def read_ahead_kb(folder: Path) -> int | None:
    """Read-ahead of the disk that a folder is on; None: unknown."""
    device = folder.stat().st_dev
    place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    for queue in (place / "queue", place.resolve().parent / "queue"):  # of a disk; of a partition's disk
        try:
            return int((queue / "read_ahead_kb").read_text())
        except (OSError, ValueError):
            continue
    return None
