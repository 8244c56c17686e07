"""How fast a machine's disk serves random reads: measured here, a share of a named disk, or an assumption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.efficiency import DISK_BANDWIDTH_SHARE
from shoestring.planning.hardware.machine import Hardware

#: the slowest class of NVMe drives that is still sold: what a machine without a named disk is assumed to have
ASSUMED_DISK = "nvme3"


@dataclass(frozen=True)
class DiskRate:
    """Bytes per second, whether they are measured, of the disk that was named, or assumed, and how, in words."""

    bytes_per_second: float
    kind: Literal["measured", "named", "assumed"]
    basis: str
    rows: tuple[str, ...] = ()


def disk_rate(machine: Hardware) -> DiskRate:
    """The rate of the machine's record, else that of its disk by its class, else that of ASSUMED_DISK."""
    share = f"{DISK_BANDWIDTH_SHARE:.0%}"
    if machine.disk_bandwidth and machine.disk_measured:
        return DiskRate(machine.disk_bandwidth, "measured", "measured here")
    if machine.disk_bandwidth:
        full = f"{machine.disk_bandwidth / 1e9:.3g} GB/s"
        rows = tuple(d.id for d in builtin_catalogue().disks.values() if d.id in machine.disks)
        return DiskRate(
            DISK_BANDWIDTH_SHARE * machine.disk_bandwidth, "named", f"{share} of the {full} of its disk", rows
        )
    disk = builtin_catalogue().disks[ASSUMED_DISK]
    here = machine.name.startswith("this machine")
    other = "`shoestring bench --disk` measures it" if here else "+nvme4 or another disk names it"
    basis = f"assumed, {share} of {disk.name}: {other}"
    return DiskRate(DISK_BANDWIDTH_SHARE * disk.bandwidth, "assumed", basis, (disk.id,))
