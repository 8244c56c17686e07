"""Parse machines: detected, named, or described in a TOML file.

    8xh100 · rtx-5090+64g · "RTX 3090, 64 GB" · mac studio 128 · epyc-9654+768g · gpu:24g@936 · machine.toml

Parts are joined by + or a comma: devices with a count, memory (64g, 1t), a processor, a disk. Assumptions fill what a
name leaves open; `notes` lists them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from shoestring.catalogue.load import misfit, read_table
from shoestring.catalogue.schema import Catalogue, Device, Processor
from shoestring.errors import RequestError
from shoestring.files import named_path
from shoestring.planning.hardware.common import common_devices
from shoestring.planning.hardware.detect import detect
from shoestring.planning.hardware.machine import DEFAULT_CLOCK, FLOPS_PER_CYCLE, GIB, Hardware
from shoestring.planning.hardware.spelling import find_device, find_machine, find_processor, is_product, near
from shoestring.spelling import option

#: mega-transfers per second; a channel moves 8 bytes per transfer
DDR_RATES = {"ddr4": 3200, "ddr5": 4800}
#: of a desktop without further details: two channels of DDR5-5600, eight cores
DESKTOP_BANDWIDTH, DESKTOP_CORES = 2 * 8 * 5600e6, 8
#: memory channels of desktops and laptops; servers have more
DESKTOP_CHANNELS = 2
#: watts of a described GPU, and of the rest of a machine around a processor
DESCRIBED_POWER, BOARD_POWER = 300.0, 60.0
#: devices that an error names
EXAMPLES = 12
OTHER_WAYS = "or describe it as gpu:24g@936 (memory, GB/s), cpu:16c-2ch-ddr5+64g, or in a TOML file with [hardware]"


def parse_hardware(text: str | None, catalogue: Catalogue) -> Hardware:
    """The machine that a user names; None or "here": this machine.

    Raises RequestError that suggests similar names, or names the file, line and field.
    """
    if text is None or text == "here":
        return detect(catalogue)
    if text.endswith(".toml"):
        return from_file(named_path(text), catalogue)
    whole = find_machine(text, catalogue)
    machine, notes = Hardware(text, desktop=True), []
    for piece in _pieces(whole.hardware if whole else text):
        machine, note = _add(machine, piece, text, catalogue)
        notes += note
    if machine.gpu is None and not machine.ram_bytes:
        raise RequestError(f"{option('hardware')} {text}: memory is missing: add it, as in {text}+64g")
    if machine.gpu is not None and machine.gpu.unified and machine.ram_bytes:
        raise RequestError(
            f"{option('hardware')} {text}: {machine.gpu.name} has unified memory: write it as {machine.gpu.id}-128g"
        )
    if machine.ram_bytes and not machine.ram_bandwidth:
        machine = replace(machine, ram_bandwidth=DESKTOP_BANDWIDTH)
        notes.append("memory is assumed to be two channels of DDR5-5600: write cpu:16c-12ch-ddr5 for more")
    if machine.ram_bytes and not machine.cores:
        machine = replace(machine, cores=DESKTOP_CORES, cpu_flops=DESKTOP_CORES * DEFAULT_CLOCK * FLOPS_PER_CYCLE)
    if machine.gpu is not None and not machine.gpu.unified and not machine.ram_bytes:
        notes.append("the host's memory is not given, so nothing is placed there")
    return replace(machine, notes=tuple(notes))


def _pieces(text: str) -> list[str]:
    """The parts of a description. A plus inside a name (Xeon 8480+, AI Max+ 395) joins nothing."""
    folded = re.sub(r"(?<=max)\+\s*(?=3\d\d\b)", "-", text.casefold().strip())
    folded = re.sub(r"(?<=\d{4})\+(?=\s*(?:[+,]|$))", "", folded)
    return [piece.strip() for piece in re.split(r"[+,]", folded)]


def _add(machine: Hardware, piece: str, text: str, catalogue: Catalogue) -> tuple[Hardware, list[str]]:
    memory = re.fullmatch(
        r"(\d+(?:\.\d+)?)\s*([gt])(?:i?b)?(?:\s+(?:of\s+)?(?:ram|memory))?(?:\s+(ddr[45])(?:[\s-]?(\d+))?)?", piece
    )
    if memory:
        size = int(float(memory[1]) * (GIB if memory[2] == "g" else 1024 * GIB))
        if not size or machine.ram_bytes:
            raise RequestError(f"{option('hardware')} {text}: {piece}: give memory once, above 0")
        rate = int(memory[4] or DDR_RATES[memory[3]]) if memory[3] else 0
        bandwidth = (machine.channels or DESKTOP_CHANNELS) * 8 * rate * 1e6 or machine.ram_bandwidth
        return replace(machine, ram_bytes=size, ram_bandwidth=bandwidth), []
    if piece.startswith("cpu:"):
        return _described_processor(machine, piece, text)
    if piece in catalogue.disks:
        return replace(machine, disk_bandwidth=catalogue.disks[piece].bandwidth, disk_known=True, disks=(piece,)), []
    count, name = _counted(piece)
    processor = find_processor(name, catalogue)
    if processor is not None:
        return _processor(machine, processor, count)
    notes: list[str] = []
    if name.startswith("gpu:"):
        device, notes = _described_gpu(name, text)
    else:
        found = find_device(name, catalogue)
        beside = re.fullmatch(r"(.+?)\s+(\d+\s*gb?(?:\s+ram)?)", name)
        if found is None and beside and not machine.ram_bytes and find_device(beside[1], catalogue) is not None:
            machine, notes = _add(machine, beside[2], text, catalogue)  # "rtx 4090 64gb": the host's memory
            found = find_device(beside[1], catalogue)
        if found is None:
            alike = near(name, catalogue)
            hint = f"did you mean {', '.join(alike)}?" if alike else _examples(catalogue)
            raise RequestError(f"{option('hardware')} {text}: device {piece!r} is unknown: {hint} {OTHER_WAYS}")
        device = found
        if is_product(name, catalogue):
            notes.append(f"{name} is taken as {device.name}: name the chip for another one")
    if count < 1 or machine.gpu is not None:
        raise RequestError(f"{option('hardware')} {text}: give one kind of device, at least once")
    return replace(machine, gpu=device, gpus=1 if device.unified else count, laptop=device.laptop), notes


def _examples(catalogue: Catalogue) -> str:
    """Common devices, and how many more there are."""
    named = common_devices(catalogue)[:EXAMPLES]
    return f"known are {', '.join(named)} and {len(catalogue.devices) - len(named)} more."


def _counted(piece: str) -> tuple[int, str]:
    """How many, and of what: 2x rtx 3090, or rtx 3090 x2."""
    if match := re.fullmatch(r"(\d{1,3})\s*[x×*]\s*(.+)", piece):
        return int(match[1]), match[2]
    if match := re.fullmatch(r"(.+?)\s+[x×*]\s*(\d)", piece):
        return int(match[2]), match[1]
    return 1, piece


def _described_gpu(piece: str, text: str) -> tuple[Device, list[str]]:
    """A GPU of gpu:24g@936 or gpu:24g@936@71: memory, GB/s, and TFLOPS in 16 bits."""
    match = re.fullmatch(r"gpu:(\d+(?:\.\d+)?)g(?:i?b)?@(\d+(?:\.\d+)?)(?:gb/s)?(?:@(\d+(?:\.\d+)?)t?)?", piece)
    if match is None or not float(match[1]) or not float(match[2]):
        raise RequestError(
            f"{option('hardware')} {text}: {piece!r} is not a GPU: write gpu:24g@936 (memory, GB/s) or gpu:24g@936@71 "
            "(TFLOPS)"
        )
    notes = [f"the GPU is assumed to draw {DESCRIBED_POWER:.0f} W"]
    if not match[3]:
        notes.append(f"its operations are not given, so prompts have no estimate: add TFLOPS, as in {piece}@71")
    name = f"GPU of {match[1]} GB at {match[2]} GB/s"
    device = Device(
        id="described", source="", date="", kind="computed", name=name, aliases=(),
        memory_bytes=int(float(match[1]) * GIB), bandwidth=float(match[2]) * 1e9,
        flops_16=float(match[3] or 0) * 1e12, host_bandwidth=32e9, link_bandwidth=32e9, power=DESCRIBED_POWER,
    )  # fmt: skip
    return device, notes


def _processor(machine: Hardware, processor: Processor, sockets: int) -> tuple[Hardware, list[str]]:
    """A processor of the catalogue, or several."""
    channels = sockets * processor.channels
    given = machine.ram_bandwidth / (8 * DESKTOP_CHANNELS)  # of memory that was named before the processor
    notes = (
        []
        if given
        else [f"memory is assumed to run at {processor.memory_rate / 1e6:.0f} MT/s in all {channels} channels"]
    )
    if sockets > 1:
        notes.append(f"{sockets} processors are assumed to read their own memory; engines often reach less")
    return replace(
        machine,
        cores=sockets * processor.cores,
        cpu_flops=sockets * processor.cores * processor.clock * processor.flops_per_cycle,
        ram_bandwidth=channels * 8 * (given or processor.memory_rate),
        channels=channels,
        desktop=processor.channels <= DESKTOP_CHANNELS,
        laptop=processor.laptop,
        processor_power=sockets * processor.power + (0.0 if processor.laptop else BOARD_POWER),
    ), notes


def _described_processor(machine: Hardware, piece: str, text: str) -> tuple[Hardware, list[str]]:
    match = re.fullmatch(r"cpu:(\d+)c(?:-(\d+)ch)?(?:-(ddr[45])(?:-(\d+))?)?(?:-(\d+(?:\.\d+)?)ghz)?", piece)
    if match is None or int(match[1]) < 1 or match[2] == "0" or match[4] == "0":
        raise RequestError(
            f"{option('hardware')} {text}: {piece!r} is not a processor: write cpu:64c-12ch-ddr5 or …-ddr5-6400"
        )
    cores, channels = int(match[1]), int(match[2] or DESKTOP_CHANNELS)
    kind = match[3] or "ddr5"
    rate = int(match[4]) if match[4] else DDR_RATES[kind]
    clock = float(match[5]) * 1e9 if match[5] else DEFAULT_CLOCK
    notes = [] if match[4] else [f"{kind.upper()} is assumed to run at {rate} MT/s"]
    if not match[5]:
        notes.append(f"cores are assumed to run at {clock / 1e9:g} GHz with AVX2")
    return replace(
        machine, cores=cores, cpu_flops=cores * clock * FLOPS_PER_CYCLE, ram_bandwidth=channels * 8 * rate * 1e6,
        channels=channels, desktop=channels <= DESKTOP_CHANNELS,
    ), notes  # fmt: skip


@dataclass(frozen=True)
class Described:
    """The table [hardware] of a file."""

    name: str = ""
    gpu: str = ""
    gpus: int = 1
    ram_gb: float = 0.0
    ram_bandwidth_gbs: float = DESKTOP_BANDWIDTH / 1e9
    cores: int = DESKTOP_CORES
    clock_ghz: float = DEFAULT_CLOCK / 1e9
    disk_bandwidth_gbs: float = 0.0
    disk_gb: float = 0.0
    power_watts: float = 0.0


def from_file(path: Path, catalogue: Catalogue) -> Hardware:
    """A machine from the table [hardware] of a TOML file. Raises RequestError naming file, line and field."""
    table = read_table(path, "hardware", Described)
    gpu = None
    if table.gpu:
        gpu = _described_gpu(table.gpu, str(path))[0] if table.gpu.startswith("gpu:") else None
        gpu = gpu or find_device(table.gpu, catalogue)
        if gpu is None:
            choice = ", ".join(near(table.gpu, catalogue) or common_devices(catalogue)[:EXAMPLES])
            raise misfit(path, "hardware", "gpu", f"is {table.gpu!r}, an unknown device: choose {choice}")
    if gpu is None and not table.ram_gb:
        raise misfit(path, "hardware", "ram_gb", "is missing: a machine without a GPU needs memory")
    return Hardware(
        name=table.name or path.stem,
        gpu=gpu,
        gpus=table.gpus if gpu else 0,
        ram_bytes=int(table.ram_gb * GIB),
        ram_bandwidth=table.ram_bandwidth_gbs * 1e9,
        cores=table.cores,
        cpu_flops=table.cores * table.clock_ghz * 1e9 * FLOPS_PER_CYCLE,
        disk_bandwidth=table.disk_bandwidth_gbs * 1e9,
        disk_bytes=int(table.disk_gb * GIB),
        disk_known=bool(table.disk_bandwidth_gbs),
        processor_power=table.power_watts,
    )
