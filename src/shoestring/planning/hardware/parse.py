"""Parse machines: detected, named in one word, or described in a TOML file.

    8xh100 · 2xa100-80g · rtx-5090+64g · mac-m3-max-128g · cpu:64c-12ch-ddr5+256g+nvme7 · machine.toml

Parts are joined by +: devices with a count, memory (64g, 1t), a processor, a disk. Assumptions fill what a name leaves
open; `notes` lists them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from shoestring.catalogue.load import read_toml
from shoestring.catalogue.schema import Catalogue
from shoestring.errors import RequestError
from shoestring.planning.hardware.detect import detect
from shoestring.planning.hardware.machine import DEFAULT_CLOCK, FLOPS_PER_CYCLE, GIB, Hardware, find_device

#: mega-transfers per second; a channel moves 8 bytes per transfer
DDR_RATES = {"ddr4": 3200, "ddr5": 4800}
#: of a desktop without further details: two channels of DDR5-5600, eight cores
DESKTOP_BANDWIDTH, DESKTOP_CORES = 2 * 8 * 5600e6, 8


def parse_hardware(text: str | None, catalogue: Catalogue) -> Hardware:
    """The machine that a user names; None or "here": this machine.

    Raises RequestError that suggests similar names, or names the file, line and field.
    """
    if text is None or text == "here":
        return detect(catalogue)
    if text.endswith(".toml"):
        return from_file(Path(text).expanduser(), catalogue)
    machine, notes = Hardware(text), []
    for piece in text.casefold().split("+"):
        machine, note = _add(machine, piece.strip(), text, catalogue)
        notes += note
    if machine.gpu is None and not machine.ram_bytes:
        raise RequestError(f"--hardware {text}: memory is missing: add it, as in {text}+64g")
    if machine.gpu is not None and machine.gpu.unified and machine.ram_bytes:
        raise RequestError(
            f"--hardware {text}: {machine.gpu.name} has unified memory: write it as {machine.gpu.id}-128g"
        )
    if machine.ram_bytes and not machine.ram_bandwidth:
        machine = replace(machine, ram_bandwidth=DESKTOP_BANDWIDTH)
        notes.append("memory is assumed to be two channels of DDR5-5600: write cpu:16c-12ch-ddr5 for more")
    if machine.ram_bytes and not machine.cores:
        machine = replace(machine, cores=DESKTOP_CORES, cpu_flops=DESKTOP_CORES * DEFAULT_CLOCK * FLOPS_PER_CYCLE)
    if machine.gpu is not None and not machine.gpu.unified and not machine.ram_bytes:
        notes.append("the host's memory is not given, so nothing is placed there")
    return replace(machine, notes=tuple(notes))


def _add(machine: Hardware, piece: str, text: str, catalogue: Catalogue) -> tuple[Hardware, list[str]]:
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([gt])(?:i?b)?", piece):
        size = int(float(match[1]) * (GIB if match[2] == "g" else 1024 * GIB))
        if not size or machine.ram_bytes:
            raise RequestError(f"--hardware {text}: {piece}: give memory once, above 0")
        return replace(machine, ram_bytes=size), []
    if piece.startswith("cpu:"):
        return _processor(machine, piece, text)
    if piece in catalogue.disks:
        return replace(machine, disk_bandwidth=catalogue.disks[piece].bandwidth, disk_known=True), []
    match = re.fullmatch(r"(?:(\d+)\s*[x×*])?\s*(.+)", piece)
    count, name = (int(match[1] or 1), match[2]) if match else (1, piece)
    device = find_device(name, catalogue)
    if device is None:
        known = [n for d in catalogue.devices.values() for n in (d.id, *d.aliases)] + list(catalogue.disks)
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(catalogue.devices)}"
        raise RequestError(f"--hardware {text}: device {piece!r} is unknown: {hint}")
    if count < 1 or machine.gpu is not None:
        raise RequestError(f"--hardware {text}: give one kind of device, at least once")
    return replace(machine, gpu=device, gpus=1 if device.unified else count), []


def _processor(machine: Hardware, piece: str, text: str) -> tuple[Hardware, list[str]]:
    match = re.fullmatch(r"cpu:(\d+)c(?:-(\d+)ch)?(?:-(ddr[45])(?:-(\d+))?)?(?:-(\d+(?:\.\d+)?)ghz)?", piece)
    if match is None or int(match[1]) < 1 or match[2] == "0" or match[4] == "0":
        raise RequestError(f"--hardware {text}: {piece!r} is not a processor: write cpu:64c-12ch-ddr5 or …-ddr5-6400")
    cores, channels = int(match[1]), int(match[2] or 2)
    kind = match[3] or "ddr5"
    rate = int(match[4]) if match[4] else DDR_RATES[kind]
    clock = float(match[5]) * 1e9 if match[5] else DEFAULT_CLOCK
    notes = [] if match[4] else [f"{kind.upper()} is assumed to run at {rate} MT/s"]
    if not match[5]:
        notes.append(f"cores are assumed to run at {clock / 1e9:g} GHz with AVX2")
    return replace(
        machine, cores=cores, cpu_flops=cores * clock * FLOPS_PER_CYCLE, ram_bandwidth=channels * 8 * rate * 1e6
    ), notes


#: field of [hardware] in a TOML file → (type, unit)
FIELDS: dict[str, type[Any]] = {
    "name": str, "gpu": str, "gpus": int, "ram_gb": float, "ram_bandwidth_gbs": float, "cores": int,
    "clock_ghz": float, "disk_bandwidth_gbs": float, "disk_gb": float,
}  # fmt: skip


def from_file(path: Path, catalogue: Catalogue) -> Hardware:
    """A machine from the table [hardware] of a TOML file. Raises RequestError naming file, line and field."""
    values, text = read_toml(path)
    table = values.get("hardware")
    if not isinstance(table, dict) or len(values) != 1:
        raise RequestError(f"{path}: line 1: write one table [hardware] with {', '.join(FIELDS)}")

    def error(key: str, what: str) -> RequestError:
        lines = [i for i, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*{re.escape(key)}\s*=", line)]
        return RequestError(f"{path}: line {lines[0] if lines else 1}: hardware.{key} {what}")

    for key, value in table.items():
        if key not in FIELDS:
            raise error(key, f"is unknown: the fields are {', '.join(FIELDS)}")
        field_type = FIELDS[key]
        if isinstance(value, bool) or not isinstance(value, (int, float) if field_type is float else field_type):
            raise error(key, f"is {value!r}: write a value of type {field_type.__name__}")
        if field_type is not str and value <= 0:
            raise error(key, f"is {value}: write a number above 0")
    gpu = None
    if "gpu" in table:
        gpu = find_device(table["gpu"], catalogue)
        if gpu is None:
            near = get_close_matches(table["gpu"], list(catalogue.devices), n=3, cutoff=0.4)
            raise error("gpu", f"is {table['gpu']!r}, an unknown device: choose {', '.join(near or catalogue.devices)}")
    cores = table.get("cores", DESKTOP_CORES)
    machine = Hardware(
        name=table.get("name", path.stem),
        gpu=gpu,
        gpus=table.get("gpus", 1) if gpu else 0,
        ram_bytes=int(table.get("ram_gb", 0) * GIB),
        ram_bandwidth=table.get("ram_bandwidth_gbs", DESKTOP_BANDWIDTH / 1e9) * 1e9,
        cores=cores,
        cpu_flops=cores * table.get("clock_ghz", DEFAULT_CLOCK / 1e9) * 1e9 * FLOPS_PER_CYCLE,
        disk_bandwidth=table.get("disk_bandwidth_gbs", 0) * 1e9,
        disk_bytes=int(table.get("disk_gb", 0) * GIB),
        disk_known="disk_bandwidth_gbs" in table,
    )
    if machine.gpu is None and not machine.ram_bytes:
        raise error("ram_gb", "is missing: a machine without a GPU needs memory")
    return machine
