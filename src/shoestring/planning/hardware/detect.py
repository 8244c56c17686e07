"""Detect this machine: processor, memory and its bandwidth, disk, NVIDIA GPUs. Installs nothing, uses no network."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from shoestring.catalogue.schema import Catalogue, Device
from shoestring.planning.hardware.disk import mount_point
from shoestring.planning.hardware.kept import KeptDisk, kept_disks, kept_limits, machine_key
from shoestring.planning.hardware.kept import bandwidth as kept_bandwidth
from shoestring.planning.hardware.machine import DEFAULT_CLOCK, FLOPS_PER_CYCLE, Hardware
from shoestring.planning.hardware.spelling import find_device


def detect(catalogue: Catalogue) -> Hardware:
    """The machine that this process runs on."""
    cores, clock, label = processor()
    available = _meminfo("MemAvailable") or total_bytes()
    notes = [f"{available / 1e9:.1f} GB of memory are free now"]
    gpu, gpus = _nvidia(catalogue)
    bandwidth, date = kept_bandwidth(this_key(), cores)
    limits = kept_limits(this_key())
    how = "copying" if limits is None else "reading"
    notes.append(f"memory bandwidth of {bandwidth / 1e9:.0f} GB/s measured here by {how} on {date}")
    home = Path.home() if Path.home().exists() else Path("/")
    usage = shutil.disk_usage(home)
    disk = disk_of(home)
    if disk is None:
        known = "its speed is unknown: `shoestring bench --disk FILE` measures it"
    else:
        known = f"it reads {disk.bytes_per_second / 1e9:.2g} GB/s at random, measured here on {disk.date}"
    notes.append(f"{usage.free / 1e9:.0f} GB of disk are free; {known}")
    name = f"this machine ({label}, {cores} cores, {total_bytes() / 1e9:.0f} GB"
    name += f", {gpus}×{gpu.name})" if gpu else ")"
    return Hardware(
        name=name,
        gpu=gpu,
        gpus=gpus,
        ram_bytes=total_bytes(),
        ram_bandwidth=bandwidth,
        cores=cores,
        cpu_flops=cores * clock * FLOPS_PER_CYCLE,
        disk_bandwidth=disk.bytes_per_second if disk else 0.0,
        disk_bytes=usage.free,
        disk_known=disk is not None,
        disk_measured=disk is not None,
        notes=tuple(notes),
        desktop=_has_screen(),
        laptop=_has_battery(),
    )


def disk_of(path: Path) -> KeptDisk | None:
    """What is known about the disk of a path; else about the disk that was measured last."""
    disks = kept_disks(this_key())
    here = [disk for disk in disks if disk.mount_point == mount_point(path)]
    return here[0] if here else max(disks, key=lambda disk: disk.date, default=None)


def this_key() -> str:
    """The name under which this machine's measurements are kept."""
    cores, _, label = processor()
    return machine_key(label, cores, total_bytes())


def _has_battery() -> bool:
    return any(Path("/sys/class/power_supply").glob("BAT*"))


def _has_screen() -> bool:
    """Whether somebody works at this machine, so that other programs need memory."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


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
