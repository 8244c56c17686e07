"""Names of machines in any usual spelling; devices against their sources."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.catalogue.schema import Device, Reading
from shoestring.errors import RequestError
from shoestring.planning.hardware.common import common_devices
from shoestring.planning.hardware.machine import GIB, reserved
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.hardware.spelling import find_device, key

CATALOGUE = builtin_catalogue()

#: what people type, and the device that they mean
SPELLINGS = {
    "rtx3090": "rtx-3090",
    "RTX 3090": "rtx-3090",
    "3090": "rtx-3090",
    "GeForce RTX 3090": "rtx-3090",
    "NVIDIA GeForce RTX 3090": "rtx-3090",
    "rtx 3090 24gb": "rtx-3090",
    "RTX3090Ti": "rtx-3090-ti",
    "rtx_4090": "rtx-4090",
    "nvidia 4090": "rtx-4090",
    "RTX 4090 Laptop": "rtx-4090-laptop",
    "RTX 4090 Laptop GPU": "rtx-4090-laptop",
    "rtx4090 mobile": "rtx-4090-laptop",
    "4070 ti super": "rtx-4070-ti-super",
    "RTX 4070 Ti SUPER": "rtx-4070-ti-super",
    "rtx4060ti16gb": "rtx-4060-ti-16g",
    "RTX 4060 Ti 8GB": "rtx-4060-ti-8g",
    "RTX 4060 Ti": "rtx-4060-ti-16g",
    "rtx 3060": "rtx-3060-12g",
    "RTX 3060 12GB": "rtx-3060-12g",
    "rtx 3060 laptop": "rtx-3060-laptop",
    "5090": "rtx-5090",
    "rtx5070ti": "rtx-5070-ti",
    "GTX 1080 Ti": "gtx-1080-ti",
    "A6000": "rtx-a6000",
    "RTX A6000": "rtx-a6000",
    "RTX 6000 Ada": "rtx-6000-ada",
    "RTX 6000 Ada Generation": "rtx-6000-ada",
    "rtx pro 6000": "rtx-pro-6000",
    "RTX PRO 6000 Blackwell": "rtx-pro-6000",
    "RX 7900 XTX": "rx-7900-xtx",
    "rx7900xtx": "rx-7900-xtx",
    "7900 xtx": "rx-7900-xtx",
    "Radeon RX 9070 XT": "rx-9070-xt",
    "Radeon AI PRO R9700": "r9700",
    "AMD MI300X": "mi300x",
    "Instinct MI325X": "mi325x",
    "Arc B580": "arc-b580",
    "Intel Arc A770": "arc-a770",
    "h100": "h100",
    "H100 SXM": "h100",
    "H100 80GB": "h100",
    "H100 PCIe": "h100-pcie",
    "H200": "h200",
    "A100 80GB": "a100",
    "A100-SXM4-40GB": "a100-40g",
    "Tesla T4": "t4",
    "Tesla V100 32GB": "v100-32g",
    "P40": "p40",
    "L40S": "l40s",
    "mac studio 128": "mac-m4-max",
    "Mac Studio M3 Ultra 512GB": "mac-m3-ultra",
    "mac studio 256gb": "mac-m3-ultra",
    "M4 Max": "mac-m4-max",
    "MacBook Pro M4 Max 64GB": "mac-m4-max",
    "macbook pro 16 m5 max 128": "mac-m5-max",
    "m1 max 64gb": "mac-m1-max",
    "Mac mini M4 Pro 48GB": "mac-m4-pro",
    "mac mini 64": "mac-m4-pro",
    "macbook air 16gb": "mac-m5",
    "Apple M2 Ultra": "mac-m2-ultra",
    "Strix Halo": "ryzen-ai-max-395",
    "Ryzen AI Max+ 395": "ryzen-ai-max-395",
    "framework desktop 128": "ryzen-ai-max-395",
    "DGX Spark": "dgx-spark",
    "NVIDIA GB10": "dgx-spark",
    "Jetson AGX Orin 64GB": "jetson-agx-orin",
}


@pytest.mark.parametrize(("name", "device"), SPELLINGS.items())
def test_spellings(name: str, device: str) -> None:
    m = parse_hardware(name, CATALOGUE)
    assert m.gpu is not None
    assert m.gpu.id == device


def test_there_are_enough_spellings() -> None:
    assert len(SPELLINGS) >= 60
    assert len(set(SPELLINGS.values())) >= 40


@pytest.mark.parametrize(
    ("name", "processor", "sockets"),
    [
        ("EPYC 9654, 768GB", "epyc-9654", 1),
        ("2x epyc-9654+1.5t", "epyc-9654", 2),
        ("Xeon Platinum 8480+ + 512g", "xeon-8480", 1),
        ("Threadripper PRO 7995WX+512g", "threadripper-pro-7995wx", 1),
        ("Ryzen 9 9950X, 96 GB RAM", "ryzen-9950x", 1),
        ("i9-14900K+64g", "core-i9-14900k", 1),
        ("Intel Core i9-14900K, 64gb", "core-i9-14900k", 1),
        ("Snapdragon X Elite+32g", "snapdragon-x-elite", 1),
    ],
)
def test_processors(name: str, processor: str, sockets: int) -> None:
    row, m = CATALOGUE.processors[processor], parse_hardware(name, CATALOGUE)
    assert (m.cores, m.gpu) == (sockets * row.cores, None)
    assert m.ram_bandwidth == pytest.approx(sockets * row.channels * 8 * row.memory_rate)
    assert m.desktop == (row.channels <= 2)
    assert m.laptop == row.laptop
    assert m.power > row.power / 2


def test_memory_follows_the_name() -> None:
    for name, gigabytes in (("mac studio 128", 128), ("m1 max 32gb", 32), ("MacBook Pro M4 Max 64GB", 64)):
        m = parse_hardware(name, CATALOGUE)
        assert m.gpu is not None
        assert m.gpu.memory_bytes == gigabytes * GIB
    beside = parse_hardware("RTX 4090 64GB", CATALOGUE)
    assert beside.gpu is not None
    assert (beside.gpu.id, beside.ram_bytes) == ("rtx-4090", 64 * GIB)
    several = parse_hardware("2x RTX 3090, 128GB DDR4-3600", CATALOGUE)
    assert (several.gpus, several.ram_bytes, several.ram_bandwidth) == (2, 128 * GIB, 2 * 8 * 3600e6)
    assert parse_hardware("rtx 3090 x4", CATALOGUE).gpus == 4
    assert "M4 Max" in " ".join(parse_hardware("mac studio 128", CATALOGUE).notes)


def test_a_machine_by_name_is_what_it_stands_for() -> None:
    for row in CATALOGUE.machines.values():
        m = parse_hardware(row.name, CATALOGUE)
        same = parse_hardware(row.hardware, CATALOGUE)
        assert (m.gpu, m.gpus, m.ram_bytes, m.cores) == (same.gpu, same.gpus, same.ram_bytes, same.cores)
        assert m.name == row.name


def test_a_described_gpu() -> None:
    m = parse_hardware("2xgpu:24g@936@71+64g", CATALOGUE)
    assert m.gpu is not None
    assert (m.gpus, m.gpu.memory_bytes, m.gpu.bandwidth, m.gpu.flops_16) == (2, 24 * GIB, 936e9, 71e12)
    assert any("TFLOPS" in note for note in parse_hardware("gpu:24g@936", CATALOGUE).notes)
    for name in ("gpu:24g", "gpu:@936", "gpu:0g@936", "gpu:24g@0", "gpu:24g@fast"):
        with pytest.raises(RequestError, match="not a GPU"):
            parse_hardware(name, CATALOGUE)


def test_an_unknown_name_leads_on() -> None:
    with pytest.raises(RequestError, match=r"did you mean rtx-3090.*gpu:24g@936.*TOML"):
        parse_hardware("rtx 3091", CATALOGUE)


def test_no_two_names_collide() -> None:
    """Every name leads to its own row, whatever is dropped from it; ids of all tables differ."""
    seen: dict[str, str] = {}
    for table in (CATALOGUE.devices, CATALOGUE.processors, CATALOGUE.machines):
        for row in table.values():
            for name in {key(n) for n in (row.id, row.name, *row.aliases)}:
                assert seen.setdefault(name, row.id) == row.id, name
    for device in CATALOGUE.devices.values():
        assert find_device(device.name, CATALOGUE) == device


def test_an_unlike_name_lists_common_devices() -> None:
    with pytest.raises(RequestError, match=rf"known are .*rtx-4090.* and {len(CATALOGUE.devices) - 12} more"):
        parse_hardware("zzzzzzzz", CATALOGUE)


def test_devices_are_many_and_sourced() -> None:
    rows = [*CATALOGUE.devices.values(), *CATALOGUE.processors.values()]
    assert len(CATALOGUE.devices) >= 120
    assert len({row.source for row in rows} | {row.source for row in CATALOGUE.readings.values()}) >= 5
    assert sum(device.laptop for device in CATALOGUE.devices.values()) >= 12


@pytest.mark.parametrize("device", [d for d in CATALOGUE.devices.values() if d.bus_bits], ids=lambda d: d.id)
def test_bandwidth_is_bus_times_rate(device: Device) -> None:
    """Vendors round; Apple most, by 2.4 %."""
    assert device.bandwidth == pytest.approx(device.bus_bits / 8 * device.memory_rate, rel=0.025)


# --- second sources --------------------------------------------------------------------------------------------------

#: figures of a row that a second source may state, and how much the two may differ
STATED = {"bandwidth": 0.03, "clock": 0.03, "memory_rate": 0.0, "cores": 0.0, "channels": 0.0}
#: rows of processors.toml that no second source states
UNREAD = {
    "epyc-9755", "epyc-9575f", "xeon-6980p", "ampereone-a192-32x", "threadripper-pro-3995wx", "snapdragon-x-elite",
}  # fmt: skip


@pytest.mark.parametrize("reading", CATALOGUE.readings.values(), ids=lambda r: r.id)
def test_second_sources_agree(reading: Reading) -> None:
    row = CATALOGUE.devices[reading.device] if reading.device else CATALOGUE.processors[reading.processor]
    assert reading.source != row.source
    stated = {name: getattr(reading, name) for name in STATED if getattr(reading, name)}
    assert stated
    for name, value in stated.items():
        assert value == pytest.approx(getattr(row, name), rel=STATED[name], abs=0), name


def test_the_commonest_devices_have_a_second_source() -> None:
    common = common_devices(CATALOGUE)
    assert len(common) >= 40
    assert len(set(common)) == len(common)
    confirmed = {reading.device for reading in CATALOGUE.readings.values() if reading.bandwidth}
    assert not set(common) - confirmed
    # the machines of the questions behind this catalogue
    assert {"rtx-3090", "rtx-4090", "mac-m4-max", "h100", "ryzen-ai-max-395"} <= set(common)


def test_what_is_common_follows_the_tables() -> None:
    """A device of one table of measurements is not common; one more table, or one of owners, makes it so."""
    assert "w7700" not in common_devices(CATALOGUE)
    tables = CATALOGUE.collections
    for changed in (
        replace(tables["rented"], devices=("w7700",)), replace(tables["owned-steam"], devices=("w7700",)),
    ):  # fmt: skip
        assert "w7700" in common_devices(replace(CATALOGUE, collections=tables | {changed.id: changed}))


def test_processors_that_nobody_else_states_are_listed() -> None:
    read = {reading.processor for reading in CATALOGUE.readings.values() if reading.processor}
    assert set(CATALOGUE.processors) - read == UNREAD


def test_a_dgx_b200_is_as_its_guide_describes_it() -> None:
    machine = parse_hardware("dgx b200", CATALOGUE)
    assert machine.gpu is not None
    assert (machine.gpus, machine.gpu.id, machine.cores) == (8, "b200", 2 * 56)
    assert machine.ram_bytes == 2048 * GIB
    assert machine.cpu_flops == 112 * 2.1e9 * 32


def test_a_laptop_is_not_charged_as_a_server() -> None:
    assert parse_hardware("ryzen-ai-9-hx-370+32g", CATALOGUE).power < 100
    assert parse_hardware("rtx-4090-laptop+32g", CATALOGUE).power < 250
    assert parse_hardware("64g", CATALOGUE).power == 150
    assert parse_hardware("cpu:64c-12ch-ddr5+512g", CATALOGUE).power == 350


def test_a_desktop_keeps_memory_for_its_programs() -> None:
    desktop, server = (parse_hardware(f"cpu:16c-{c}ch-ddr5+64g", CATALOGUE) for c in (2, 8))
    assert desktop.ram_bytes - desktop.ram_usable == reserved(64 * GIB) == 8 * GIB
    assert server.ram_bytes - server.ram_usable == 2 * GIB
    small = parse_hardware("macbook air 16gb", CATALOGUE)
    assert small.gpu_usable == 12 * GIB
