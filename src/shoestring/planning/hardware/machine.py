"""A machine: its devices, memory and disk, and how much of them an engine may fill."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.catalogue.schema import Device

GIB = 2**30
#: operations per cycle and core with AVX2: two fused multiply-adds of eight floats
FLOPS_PER_CYCLE = 32
DEFAULT_CLOCK = 2.5e9
#: kept for the system of a server
SYSTEM_BYTES = 2 * GIB
#: kept for the programs of somebody who works at the machine: an eighth of the memory within these bounds
DESKTOP_BYTES = (4 * GIB, 8 * GIB)
#: share of a GPU's memory that engines use by default (vLLM's gpu-memory-utilization)
GPU_SHARE = 0.9
#: share of a Mac's memory that its GPU may hold, with its limit (iogpu.wired_limit_mb) raised from 75 %
UNIFIED_SHARE = 0.875
#: watts besides GPUs: of a desktop or server, of a laptop; and of a whole machine without GPUs
HOST_POWER, LAPTOP_HOST_POWER = 200.0, 50.0
SERVER_POWER, DESKTOP_POWER, LAPTOP_POWER = 350.0, 150.0, 65.0


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
    #: whether `disk_bandwidth` was measured by random reads; else it is that of sequential ones, as sold
    disk_measured: bool = False
    #: ids of the catalogue's disks that were named
    disks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: whether somebody works at it, so that other programs need memory
    desktop: bool = False
    laptop: bool = False
    #: watts of the machine without GPUs; 0: unknown
    processor_power: float = 0.0
    #: of the memory, 64 bits each; 0: unknown
    channels: int = 0
    #: what an engine may use of the RAM, if the user says so; 0: all but what others need
    budget_bytes: int = 0

    @property
    def gpu_usable(self) -> int:
        """Bytes that an engine may fill on all GPUs together."""
        if self.gpu is None:
            return 0
        if self.gpu.unified:
            memory = self.gpu.memory_bytes
            return int(min(memory * UNIFIED_SHARE, memory - reserved(memory)))
        return int(self.gpus * self.gpu.memory_bytes * GPU_SHARE)

    @property
    def ram_usable(self) -> int:
        free = max(0, self.ram_bytes - (reserved(self.ram_bytes) if self.desktop else SYSTEM_BYTES))
        return min(free, self.budget_bytes) if self.budget_bytes else free

    @property
    def power(self) -> float:
        """Watts of the devices at their limit and of the host around them."""
        if self.gpu is not None and self.gpu.unified:
            return self.gpu.power
        if self.gpu is not None:
            return self.gpus * self.gpu.power + (LAPTOP_HOST_POWER if self.gpu.laptop else HOST_POWER)
        kind = LAPTOP_POWER if self.laptop else DESKTOP_POWER if self.desktop else SERVER_POWER
        return self.processor_power or kind


def reserved(memory: int) -> int:
    """Bytes of a desktop's or laptop's memory that its other programs need."""
    low, high = DESKTOP_BYTES
    return min(max(low, memory // 8), high)
