"""What plan keeps about this machine between runs: a folder named after it, its memory bandwidth, its disks' speeds.

No interface reports the bandwidth, so it is measured once by copying, the best of several runs, and kept in the user's
data folder. `shoestring bench --machine` measures it better, by reading as the kernels do, and the peaks of their
instructions; what it found replaces the copying. The speed of a disk is what `shoestring bench --disk` measured last.
Failures to read or save are not errors: plan then measures the bandwidth again, and does not know the disk.
"""

from __future__ import annotations

import datetime
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from shoestring import bounded_json
from shoestring.errors import RequestError, ShoestringError
from shoestring.files import read_bytes, read_text, write_whole
from shoestring.planning.hardware.disk import DiskSpeed

#: bytes of each copy: more than a processor caches
COPY_BYTES = 192 * 2**20
RUNS = 8
LARGEST_FILE = 2**16
FILE = "bandwidth.json"
DISKS_FILE = "disks.json"
LIMITS_FILE = "limits.json"
LEVEL_3 = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


def folder(machine: str) -> Path:
    """The folder of measurements of a machine, by its key."""
    import platformdirs

    return Path(platformdirs.user_data_dir("shoestring", appauthor=False)) / "measured" / machine


def machine_key(label: str, cores: int, memory: int) -> str:
    """A name for a machine from its processor, usable cores and bytes of memory."""
    return re.sub(r"[^a-z0-9]+", "-", f"{label} {cores}c {memory / 1e9:.0f}gb".casefold()).strip("-")


def bandwidth(machine: str, threads: int, again: bool = False) -> tuple[float, str]:
    """Bytes per second of this machine's memory, and the date of the measurement. `again`: measure even if kept."""
    known = None if again else known_bandwidth(machine)
    if known is not None:
        return known
    rate, date = measure(threads), datetime.date.today().isoformat()
    file = folder(machine) / FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(file, begins=b"{") as out:
            out.write(json.dumps({"bytes_per_second": rate, "date": date, "runs": RUNS}).encode())
    except (OSError, ShoestringError):
        pass
    return rate, date


def known_bandwidth(machine: str) -> tuple[float, str] | None:
    """What has been measured, and the date; None: nothing yet. Reading, by `bench --machine`, counts before copying."""
    limits = kept_limits(machine)
    if limits is not None:
        return limits.read_bandwidth, limits.date
    try:
        kept = json.loads(read_text(folder(machine) / FILE, LARGEST_FILE))
        rate, date = float(kept["bytes_per_second"]), str(kept["date"])
    except (OSError, RequestError, ValueError, KeyError, TypeError):
        return None
    return (rate, date) if rate > 0 else None


@dataclass(frozen=True)
class KeptLimits:
    """What `shoestring bench --machine` measured: bytes and operations per second, of all threads but for the first.

    The peaks are those of float32, of unsigned bytes and of the int8 weights of Q8_0 (`ops.limits.Peaks`).
    """

    isa: str
    threads: int
    read_bandwidth_one: float
    read_bandwidth: float
    float_peak: float
    dot_peak: float
    signed_dot_peak: float
    date: str


def remember_limits(machine: str, limits: KeptLimits) -> None:
    """Keep a machine's limits; newer ones replace them."""
    file = folder(machine) / LIMITS_FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(file, begins=b"{") as out:
            out.write(json.dumps(asdict(limits), indent=1).encode())
    except (OSError, ShoestringError):
        pass


def kept_limits(machine: str) -> KeptLimits | None:
    """The limits of a machine; None: not measured."""
    try:
        row = bounded_json.loads(read_bytes(folder(machine) / LIMITS_FILE, LARGEST_FILE))
        one, all_threads, fma, dot, signed_dot = rates = [float(row[name]) for name in _RATES]
        facts = str(row["isa"]), int(row["threads"]), one, all_threads, fma, dot, signed_dot, str(row["date"])
    except (OSError, ShoestringError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return KeptLimits(*facts) if all(0 < rate < 1e18 for rate in rates) else None


_RATES = ("read_bandwidth_one", "read_bandwidth", "float_peak", "dot_peak", "signed_dot_peak")


@dataclass(frozen=True)
class KeptDisk:
    """A disk's speed at random reads, and the date of the measurement."""

    mount_point: str
    bytes_per_second: float
    read_bytes: int
    in_flight: int
    date: str


def remember_disk(machine: str, mount_point: str, speed: DiskSpeed) -> None:
    """Keep a disk's speed; a newer one replaces it."""
    disk = KeptDisk(
        mount_point, speed.bytes_per_second, speed.read_bytes, speed.in_flight, datetime.date.today().isoformat()
    )
    disks = {d.mount_point: d for d in kept_disks(machine)} | {mount_point: disk}
    file = folder(machine) / DISKS_FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(file, begins=b"[") as out:
            out.write(json.dumps([asdict(d) for d in disks.values()], indent=1).encode("utf-8", "replace"))
    except (OSError, ShoestringError):
        pass


def kept_disks(machine: str) -> tuple[KeptDisk, ...]:
    """The disks of a machine whose speeds are known."""
    try:
        rows = bounded_json.loads(read_bytes(folder(machine) / DISKS_FILE, LARGEST_FILE))
        disks = [
            KeptDisk(
                str(row["mount_point"]), float(row["bytes_per_second"]), int(row["read_bytes"]),
                int(row["in_flight"]), str(row["date"]),
            )
            for row in rows
        ]  # fmt: skip
    except (OSError, ShoestringError, ValueError, KeyError, TypeError, OverflowError):
        return ()
    return tuple(disk for disk in disks if 0 < disk.bytes_per_second < 1e15)


def measure(threads: int, copy_bytes: int | None = None) -> float:
    """Bytes per second that `threads` cores read and write while copying; the best of several runs.

    copy_bytes: of a copy. Default: more than the processor caches.
    """
    import numpy as np

    count = min(threads, 16)
    size = (copy_bytes or max(COPY_BYTES, 2 * _cache_bytes())) // count
    pairs = [(np.zeros(size, dtype=np.uint8), np.ones(size, dtype=np.uint8)) for _ in range(count)]
    best = 0.0
    with ThreadPoolExecutor(count) as pool:
        for _ in range(RUNS + 1):  # the first run maps the pages
            begin = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(pair[0], pair[1]), pairs))
            best = max(best, 2 * size * count / (time.perf_counter() - begin))
    return best


def _cache_bytes() -> int:
    """Bytes of the last cache; 0: unknown."""
    try:
        text = LEVEL_3.read_text().strip().upper()
        return int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]]
    except (OSError, ValueError, KeyError, IndexError):
        return 0
