"""Find a device, processor or machine by any usual spelling of its name: rtx3090, "RTX 3090", "mac studio 128".

Names are compared by their letters and digits; the words of DROPPED may be there or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from shoestring.catalogue.schema import Catalogue, Device, Machine, Processor

GIB = 2**30

#: words that tell no two devices apart
DROPPED = frozenset(
    [
        "nvidia",
        "geforce",
        "amd",
        "radeon",
        "intel",
        "apple",
        "instinct",
        "tesla",
        "gpu",
        "gpus",
        "card",
        "graphics",
        "ram",
        "memory",
        "vram",
        "processor",
        "cpu",
        "generation",
        "edition",
        "workstation",
        "desktop",
    ]
)
#: other words for the same
SAME = {"mobile": "laptop", "notebook": "laptop", "gb": "g", "gib": "g", "super": "super", "plus": ""}

#: a name with its memory at the end: mac-m3-max-48g, rtx 3090 24 GB
MEMORY_LAST = r"(.*?)[\s-]*(\d+)\s*(g|gb|gib)?(?:\s*(?:of\s+)?(?:ram|memory|vram))?"

#: share by which the memory in a name may differ from the device's
MEMORY_SLACK = 0.1


def key(name: str) -> str:
    """The letters and digits of a name, without words that do not matter."""
    words = re.findall(r"[a-z]+|\d+", name.casefold())
    return "".join(SAME.get(word, word) for word in words if word not in DROPPED)


def find_device(name: str, catalogue: Catalogue) -> Device | None:
    """The device with this name; None if there is none.

    A name may end with the memory: it chooses the size of a unified machine, and must fit any other device.
    """
    table: dict[str, Device] = _keys(tuple(catalogue.devices.values()))
    wanted = key(name)
    if wanted in table:
        return table[wanted]
    match = re.fullmatch(MEMORY_LAST, name.strip().casefold())
    base = _base(match[1], int(match[2]), catalogue, table) if match else None
    if base is None or match is None:
        return _product(name, 0, catalogue, table)
    memory = int(match[2]) * GIB
    if base.unified and memory:
        return replace(base, memory_bytes=memory, name=f"{base.name} {match[2]} GB")
    close = abs(memory - base.memory_bytes) < MEMORY_SLACK * memory
    return base if match[3] and close else None


def _base(name: str, gigabytes: int, catalogue: Catalogue, table: Mapping[str, Device]) -> Device | None:
    return table.get(key(name)) or _product(name, gigabytes * GIB, catalogue, table)


def _product(name: str, memory: int, catalogue: Catalogue, table: Mapping[str, Device]) -> Device | None:
    """A device by a product's name, with its chip or without: then the smallest chip sold with that memory."""
    wanted = key(name)
    products: dict[str, str] = {key(p): p for d in catalogue.devices.values() for p in d.products}
    for start in sorted(products, key=len, reverse=True):
        if not wanted.startswith(start):
            continue
        chip = re.sub(r"^1[3-6](?=m\d)", "", wanted.removeprefix(start))
        if chip:
            return table.get(chip)
        sold = [d for d in catalogue.devices.values() if products[start] in d.products]
        enough = [d for d in sold if d.memory_bytes >= memory]
        return min(enough or sold, key=lambda d: d.memory_bytes)
    return None


def is_product(name: str, catalogue: Catalogue) -> bool:
    """Whether a name, but for its memory, is a product's without a chip."""
    bare = key(re.sub(r"\d+\s*(g|gb|gib)?$", "", name.strip().casefold()))
    return any(bare == key(p) for d in catalogue.devices.values() for p in d.products)


def find_processor(name: str, catalogue: Catalogue) -> Processor | None:
    row: Processor | None = _keys(tuple(catalogue.processors.values())).get(key(name))
    return row


def find_machine(name: str, catalogue: Catalogue) -> Machine | None:
    row: Machine | None = _keys(tuple(catalogue.machines.values())).get(key(name))
    return row


@lru_cache(maxsize=8)
def _keys(rows: tuple[Any, ...]) -> dict[str, Any]:
    return {key(name): row for row in reversed(rows) for name in (row.name, *row.aliases, row.id)}


def near(name: str, catalogue: Catalogue, count: int = 3) -> list[str]:
    """Ids of devices, processors, machines and disks with names like this one, the most alike first."""
    rows: list[Device | Processor | Machine] = [
        *catalogue.devices.values(), *catalogue.processors.values(), *catalogue.machines.values(),
    ]  # fmt: skip
    known = {key(n): row.id for row in rows for n in (row.name, *row.aliases, row.id)}
    known |= {key(id): id for id in catalogue.disks}
    found = get_close_matches(key(name), list(known), n=3 * count, cutoff=0.5)
    return list(dict.fromkeys(known[match] for match in found))[:count]
