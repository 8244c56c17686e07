"""Free memory: what the system reports as available, limited by the control groups of this process."""

from __future__ import annotations

import os
from pathlib import Path


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still allocate."""
    limits = [_available(proc), *_group_limits(proc, groups)]
    return min(limit for limit in limits if limit is not None)


def own_memory(proc: Path = Path("/proc")) -> int:
    """Resident bytes of this process; 0 if the system does not report them."""
    for line in _read(proc / "self" / "status").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


def _available(proc: Path) -> int | None:
    text = _read(proc / "meminfo")
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # the system reports neither: let the allocation itself fail
        return 1 << 62


def _group_limits(proc: Path, groups: Path) -> list[int]:
    """Bytes that each control group above this process leaves, version 2 and 1. Page cache counts as free."""
    limits = []
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            root, names = groups, ("memory.max", "memory.current", "inactive_file", "active_file")
        elif "memory" in controllers.split(","):
            root = groups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file")
        else:
            continue
        inside = Path(path.lstrip("/"))
        # In a container the path is often the host's; our own group is then mounted at the root.
        for folder in dict.fromkeys([root / inside, *(root / parent for parent in inside.parents), root]):
            limit = _group_limit(folder, *names)
            if limit is not None:
                limits.append(limit)
    return limits


def _group_limit(folder: Path, most: str, current: str, *cached: str) -> int | None:
    limit, used = _read(folder / most).strip(), _read(folder / current).strip()
    if not limit.isdigit() or not used.isdigit():
        return None  # "max", or no such group
    statistics = dict(line.split()[:2] for line in _read(folder / "memory.stat").splitlines() if " " in line)
    reclaimable = sum(int(statistics.get(name, "0")) for name in cached)
    return max(0, int(limit) - max(0, int(used) - reclaimable))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
