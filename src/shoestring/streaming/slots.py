"""How many experts a budget keeps in memory: slots of fixed size in one arena, planned before anything is loaded.

Layers whose experts have equal bytes form a size class and share its slots: in a Q4_K_M file, `down` is Q6_K in some
layers and Q4_K in others. Each class gets the same share of its experts. A budget too small for that gets one class
whose slots are as large as the largest expert.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from shoestring import ops
from shoestring.errors import CapacityError

#: Slots, and the parts inside them, begin at multiples of a cache line.
_LINE = 64


@dataclass(frozen=True)
class ExpertBytes:
    """A layer whose experts may be streamed, and the bytes of one expert: in memory, and in its file."""

    layer: int
    num_experts: int
    slot_bytes: int
    stored_bytes: int


@dataclass(frozen=True)
class SlotClass:
    """Slots of one size and the layers that share them; `floor`: slots that each of these layers keeps."""

    layers: tuple[int, ...]
    experts: int
    slot_bytes: int
    slots: int
    floor: int

    @property
    def nbytes(self) -> int:
        return self.slots * self.slot_bytes


@dataclass(frozen=True)
class SlotPlan:
    """The slots of a budget. Class after class, they fill the arena."""

    classes: tuple[SlotClass, ...]
    experts_per_token: int

    @property
    def arena_bytes(self) -> int:
        return sum(c.nbytes for c in self.classes)

    @property
    def slots(self) -> int:
        return sum(c.slots for c in self.classes)

    @property
    def experts(self) -> int:
        return sum(c.experts for c in self.classes)

    @property
    def share(self) -> float:
        """Share of all experts that are in memory."""
        return self.slots / self.experts

    @property
    def tokens(self) -> float:
        """Tokens whose experts fit, if none of them is the same."""
        return self.slots / (self.experts_per_token * sum(len(c.layers) for c in self.classes))


def slot_bytes(types: tuple[str, str, str], hidden_size: int, intermediate_size: int) -> int:
    """Bytes of a packed expert with gate and up [I, H], down [H, I] of these types. Needs no compiled code."""
    return sum(part_bytes(types, hidden_size, intermediate_size))


def part_bytes(types: tuple[str, str, str], hidden_size: int, intermediate_size: int) -> tuple[int, int, int]:
    """Bytes of gate, up and down in a slot, with what aligns the next one."""
    H, I = hidden_size, intermediate_size  # noqa: E741
    sizes = [ops.packed_bytes(t, *shape) for t, shape in zip(types, ((I, H), (I, H), (H, I)), strict=True)]
    gate, up, down = (-(-size // _LINE) * _LINE for size in sizes)
    return gate, up, down


def all_bytes(layers: Sequence[ExpertBytes]) -> int:
    """Bytes of all experts in memory."""
    return sum(layer.num_experts * layer.slot_bytes for layer in layers)


def least_bytes(layers: Sequence[ExpertBytes], experts_per_token: int) -> int:
    """The smallest arena that works: the experts of one token in one layer."""
    return experts_per_token * max(layer.slot_bytes for layer in layers)


def plan_slots(layers: Sequence[ExpertBytes], experts_per_token: int, budget: int) -> SlotPlan:
    """The slots of an arena of at most `budget` bytes.

    Raises CapacityError if it is below `least_bytes`.
    """
    least = least_bytes(layers, experts_per_token)
    if budget < least:
        raise CapacityError(
            f"{budget} bytes are left for experts, and one layer of one token needs {least}: "
            f"give {least - budget} bytes more"
        )
    by_size: defaultdict[int, list[ExpertBytes]] = defaultdict(list)
    for layer in layers:
        by_size[layer.slot_bytes].append(layer)
    total = all_bytes(layers)
    slots = {}
    for size, same in by_size.items():
        experts = sum(layer.num_experts for layer in same)
        slots[size] = min(experts, budget * experts // total)  # bytes in proportion, divided by the size
    left = budget - sum(size * count for size, count in slots.items())
    for size, same in by_size.items():
        more = min(left // size, sum(layer.num_experts for layer in same) - slots[size])
        slots[size] += more
        left -= more * size
    if min(slots.values()) < experts_per_token:
        largest = max(by_size)
        experts = sum(layer.num_experts for layer in layers)
        only = _slot_class(layers, largest, min(experts, budget // largest), experts_per_token)
        return SlotPlan((only,), experts_per_token)
    classes = (_slot_class(same, size, slots[size], experts_per_token) for size, same in by_size.items())
    return SlotPlan(tuple(classes), experts_per_token)


def _slot_class(layers: Sequence[ExpertBytes], size: int, slots: int, experts_per_token: int) -> SlotClass:
    """With too few slots for every layer, none has a floor: a layer can then have all slots that a token needs."""
    floor = experts_per_token if slots >= experts_per_token * len(layers) else 0
    return SlotClass(
        tuple(layer.layer for layer in layers), sum(layer.num_experts for layer in layers), size, slots, floor
    )
