"""A machine: its devices, memory and disk, and how much of them an engine may fill."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from shoestring.catalogue.schema import Catalogue, Device

GIB = 2**30
#: operations per cycle and core with AVX2: two fused multiply-adds of eight floats
FLOPS_PER_CYCLE = 32
DEFAULT_CLOCK = 2.5e9
#: reserved for the system
SYSTEM_BYTES = 2 * GIB
#: share of a GPU's memory that engines use by default (vLLM's gpu-memory-utilization)
GPU_SHARE = 0.9
#: share of a Mac's memory that its GPU may hold, with its limit (iogpu.wired_limit_mb) raised from 75 %
UNIFIED_SHARE = 0.875


@dataclass(frozen=True)
class Hardware:
    """One machine, in bytes, bytes per second and operations per second."""

    name: str
    gpu: Device | None = None
    gpus: int = 0
    ram_bytes: int = 0
    ram_bandwidth: float = 0.0
    cores: int = 0
    cpu_flops: float = 0.0
    disk_bandwidth: float = 0.0
    disk_bytes: int = 0
    disk_known: bool = False
    notes: tuple[str, ...] = ()
    #: whether `ram_bandwidth` was measured here by copying, not taken from a name or file
    ram_reached: bool = False

    @property
    def gpu_usable(self) -> int:
        """Bytes that an engine may fill on all GPUs together."""
        if self.gpu is None:
            return 0
        share = UNIFIED_SHARE if self.gpu.unified else GPU_SHARE
        return int(self.gpus * self.gpu.memory_bytes * share)

    @property
    def ram_usable(self) -> int:
        return max(0, self.ram_bytes - SYSTEM_BYTES)

    @property
    def power(self) -> float:
        """Watts of the devices at their limit, plus 200 for the host of GPUs; 350 without GPUs."""
        if self.gpu is not None and self.gpu.unified:
            return self.gpu.power
        return self.gpus * self.gpu.power + 200 if self.gpu is not None else 350.0


def find_device(name: str, catalogue: Catalogue) -> Device | None:
    """A device by id or alias; the name of a unified one may include its memory: mac-m3-max-48g."""
    for device in catalogue.devices.values():
        if name == device.id or name in device.aliases:
            return device
    if match := re.fullmatch(r"(.+)-(\d+)gb?", name):
        base = find_device(match[1], catalogue)
        if base is not None:
            memory = int(match[2]) * GIB
            if base.unified and memory:
                return replace(base, memory_bytes=memory, name=f"{base.name} {match[2]} GB")
            if abs(memory - base.memory_bytes) < 0.1 * memory:
                return base
    return None
