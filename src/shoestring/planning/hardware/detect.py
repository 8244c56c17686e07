"""Detect this machine: processor, memory and its bandwidth, disk, NVIDIA GPUs. Installs nothing, uses no network.

It measures memory bandwidth by copying for a few hundredths of a second, since no interface reports it.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shoestring.catalogue.schema import Catalogue, Device
from shoestring.planning.hardware.machine import DEFAULT_CLOCK, FLOPS_PER_CYCLE, Hardware, find_device

COPY_BYTES = 48 * 2**20


def detect(catalogue: Catalogue) -> Hardware:
    """The machine that this process runs on."""
    cores, clock, label = processor()
    available = _meminfo("MemAvailable") or total_bytes()
    notes = [f"{available / 1e9:.1f} GB of memory are free now"]
    gpu, gpus = _nvidia(catalogue)
    bandwidth = _measure_bandwidth(cores)
    notes.append(f"memory bandwidth of {bandwidth / 1e9:.0f} GB/s measured here by copying")
    usage = shutil.disk_usage(Path.home() if Path.home().exists() else Path("/"))
    notes.append(f"{usage.free / 1e9:.0f} GB of disk are free; its speed is unknown: add +nvme4 to --hardware")
    name = f"this machine ({label}, {cores} cores, {total_bytes() / 1e9:.0f} GB"
    name += f", {gpus}×{gpu.name})" if gpu else ")"
    return Hardware(
        name=name,
        gpu=gpu,
        gpus=gpus,
        ram_bytes=total_bytes(),
        ram_bandwidth=bandwidth,
        ram_reached=True,
        cores=cores,
        cpu_flops=cores * clock * FLOPS_PER_CYCLE,
        disk_bytes=usage.free,
        notes=tuple(notes),
    )


def processor() -> tuple[int, float, str]:
    """Cores that this process may use, cycles per second, and name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    clock, label = DEFAULT_CLOCK, platform.machine() or "processor"
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                label = value.strip()
            if key.strip() == "cpu MHz":
                clock = float(value) * 1e6
    except (OSError, ValueError):
        pass
    return cores, clock, label


def _meminfo(key: str) -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def total_bytes() -> int:
    """Memory of this machine in bytes; 0: unknown."""
    total = _meminfo("MemTotal")
    if not total and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return total


def _nvidia(catalogue: Catalogue) -> tuple[Device | None, int]:
    """The GPUs that nvidia-smi lists and the catalogue knows: (device, count)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, 0
    try:
        done = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=3,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None, 0
    names = [line.strip().casefold() for line in done.stdout.splitlines() if line.strip()]
    if not names:
        return None, 0
    words = names[0].replace("nvidia", "").replace("geforce", "").split()
    for length in range(len(words), 0, -1):
        device = find_device("-".join(words[:length]), catalogue)
        if device is not None:
            return device, names.count(names[0])
    return None, 0


def _measure_bandwidth(threads: int) -> float:
    """Bytes per second that all cores read and write while copying; the best of three runs."""
    import numpy as np

    count = min(threads, 16)
    size = max(COPY_BYTES // count, 2**22)
    pairs = [(np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.uint8)) for _ in range(count)]
    best = 0.0
    with ThreadPoolExecutor(count) as pool:
        for _ in range(3):
            begin = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))
            best = max(best, 2 * size * count / (time.perf_counter() - begin))
    return best
