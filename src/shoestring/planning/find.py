"""Find machines for a model: the smallest and the cheapest that meet a question's context, users and speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shoestring.catalogue.schema import Catalogue, Device
from shoestring.planning.assess import FEWEST_BITS, Question, step_of
from shoestring.planning.candidates.candidates import Candidate, from_row
from shoestring.planning.candidates.formats import bits
from shoestring.planning.cost import HOURS_A_MONTH, hourly
from shoestring.planning.hardware.machine import GIB, Hardware
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import AS_STORED, Need, Needs, Placement, choose, context_limit
from shoestring.planning.speed import Speed, estimate

COUNTS = (1, 2, 4, 8)
#: GiB of memory beside cards, of machines with one memory, and beside processors
HOST_MEMORY = (32, 64, 128, 256)
UNIFIED_MEMORY = (8, 16, 24, 32, 36, 48, 64, 96, 128, 192, 256, 512)
PROCESSOR_MEMORY = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
#: the most that fits into a laptop, a desktop
LAPTOP_MEMORY, DESKTOP_MEMORY = 64, 192
#: a card with a faster link to its neighbours than a slot is a server's: its host's memory is not needed
SLOT_BANDWIDTH = 64e9


@dataclass(frozen=True)
class Machine:
    """A machine that meets a question with a model."""

    #: as --hardware takes it
    hardware: str
    machine: Hardware
    need: Need
    placement: Placement
    speed: Speed
    #: GPU memory and RAM
    memory_bytes: int
    #: dollars per hour, how they are computed, and the rows; None: the catalogue has no price
    usd_per_hour: float | None
    basis: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    candidate: Candidate
    #: how many machines were tried, and those that are enough, by size
    tried: int
    machines: tuple[Machine, ...]

    @property
    def enough(self) -> int:
        return len(self.machines)

    @property
    def priced(self) -> tuple[Machine, ...]:
        """Those with a known price, the cheapest first."""
        priced = [m for m in self.machines if m.usd_per_hour is not None]
        return tuple(sorted(priced, key=lambda m: (m.usd_per_hour or 0.0, m.memory_bytes, m.hardware)))

    @property
    def smallest(self) -> Machine | None:
        """Least memory, then least power; None: no machine of the catalogue is enough."""
        return next(iter(self.machines), None)

    @property
    def cheapest(self) -> Machine | None:
        return next(iter(self.priced), None)


def find_hardware(candidates: Sequence[Candidate], question: Question, catalogue: Catalogue) -> tuple[Found, ...]:
    """The machines for each model; default: both flagships."""
    candidates = candidates or [from_row(row, catalogue) for row in catalogue.models.values() if row.flagship]
    machines = [(name, parse_hardware(name, catalogue)) for name in specifications(catalogue)]
    return tuple(_find(candidate, machines, question, catalogue) for candidate in candidates)


def specifications(catalogue: Catalogue) -> Iterator[str]:
    """Machines that can be built from the catalogue, as --hardware takes them."""
    for device in catalogue.devices.values():
        if device.unified:
            yield from (f"{device.id}-{size}g" for size in UNIFIED_MEMORY if size * GIB <= device.memory_bytes)
            continue
        for count in (1,) if device.laptop else COUNTS:
            cards = f"{count}x{device.id}" if count > 1 else device.id
            yield cards
            yield from (f"{cards}+{size}g" for size in HOST_MEMORY if _beside(device, count, size))
    for processor in catalogue.processors.values():
        most = (
            LAPTOP_MEMORY if processor.laptop else DESKTOP_MEMORY if processor.channels <= 2 else PROCESSOR_MEMORY[-1]
        )
        yield from (f"{processor.id}+{size}g" for size in PROCESSOR_MEMORY if size <= most)


def _beside(device: Device, count: int, size: int) -> bool:
    """Whether a host with so much memory is usual beside the cards."""
    if device.link_bandwidth > SLOT_BANDWIDTH or count > 2:
        return False
    return size <= LAPTOP_MEMORY or not device.laptop


def _find(
    candidate: Candidate, machines: Sequence[tuple[str, Hardware]], question: Question, catalogue: Catalogue
) -> Found:
    enough = []
    needs: Needs = {}
    for name, machine in machines:
        found = _try(candidate, name, machine, question, catalogue, needs)
        if found is not None:
            enough.append(found)
    enough.sort(key=lambda m: (m.memory_bytes, m.machine.power, m.hardware))
    return Found(candidate, len(machines), tuple(enough))


def _try(
    candidate: Candidate, name: str, machine: Hardware, question: Question, catalogue: Catalogue, needs: Needs
) -> Machine | None:
    """The machine with the model, if it meets the question: in memory, in three bits or more, and as fast as asked."""
    if question.context > context_limit(candidate):
        return None
    n, placed = choose(candidate, machine, question.context, question.users, question.type, question.kv_type, needs)
    small = n.sizes.type != AS_STORED and bits(n.sizes.type) < FEWEST_BITS
    if placed.fit in ("no", "disk") or (small and question.type is None):
        return None
    speed = estimate(n, placed, machine)
    step = step_of(speed, question, catalogue)
    rate = min(speed.decode or 0.0, step.rate if step is not None else speed.decode or 0.0)
    if not rate or rate < question.min_speed:
        return None
    usd, basis, rows = hourly(machine, question.money, catalogue)
    budget = question.money.budget_usd_month
    if budget is not None and usd * HOURS_A_MONTH > budget:
        return None
    gpu = machine.gpus * machine.gpu.memory_bytes if machine.gpu is not None else 0
    known = usd if rows else None
    return Machine(name, machine, n, placed, speed, gpu + machine.ram_bytes, known, basis, rows)
