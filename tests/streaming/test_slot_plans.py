"""Slots of a budget: inside it, in proportion, down to the least that works."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring import ops
from shoestring.errors import CapacityError
from shoestring.streaming.slots import ExpertBytes, SlotPlan, all_bytes, least_bytes, part_bytes, plan_slots, slot_bytes

layers_of = st.lists(
    st.tuples(st.integers(2, 40), st.sampled_from([64, 128, 4096, 70_016])), min_size=1, max_size=12
).map(lambda items: [ExpertBytes(n, count, size, size) for n, (count, size) in enumerate(items)])


def check(plan: SlotPlan, layers: list[ExpertBytes], k: int, budget: int) -> None:
    assert plan.arena_bytes <= budget
    assert plan.experts == sum(layer.num_experts for layer in layers)
    assert 0 < plan.share <= 1
    sizes = {layer.layer: layer.slot_bytes for layer in layers}
    assert sorted(n for c in plan.classes for n in c.layers) == sorted(sizes)
    for c in plan.classes:
        assert k <= c.slots <= c.experts
        assert all(sizes[n] <= c.slot_bytes for n in c.layers)
        assert c.floor * len(c.layers) <= c.slots, "the floors of all layers fit"
        assert c.floor == (k if k * len(c.layers) <= c.slots else 0)


@given(layers=layers_of, k=st.integers(1, 2), extra=st.floats(0, 1.2))
def test_every_budget_from_the_least_on(layers: list[ExpertBytes], k: int, extra: float) -> None:
    least, total = least_bytes(layers, k), all_bytes(layers)
    with pytest.raises(CapacityError, match=f"needs {least}"):
        plan_slots(layers, k, least - 1)
    budget = least + int(extra * total)
    plan = plan_slots(layers, k, budget)
    check(plan, layers, k, budget)
    if len(plan.classes) == len({layer.slot_bytes for layer in layers}) and plan.share < 1:
        room = [c for c in plan.classes if c.slots < c.experts]
        assert budget - plan.arena_bytes < min(c.slot_bytes for c in room), "what is left holds no further expert"


@given(layers=layers_of)
def test_enough_for_all(layers: list[ExpertBytes]) -> None:
    assert plan_slots(layers, 1, all_bytes(layers)).share == 1


def test_classes_get_the_same_share() -> None:
    layers = [ExpertBytes(n, 256, 64_000 if n % 2 else 48_000, 1) for n in range(16)]
    plan = plan_slots(layers, 8, all_bytes(layers) // 8)
    assert len(plan.classes) == 2
    for c in plan.classes:
        assert abs(c.slots / c.experts - 0.125) < 0.005
        assert c.floor == 8


def test_a_small_budget_makes_one_class() -> None:
    layers = [ExpertBytes(0, 16, 4096, 1), ExpertBytes(1, 16, 8192, 1)]
    plan = plan_slots(layers, 4, 4 * 8192)
    (only,) = plan.classes
    assert (only.slots, only.slot_bytes, only.floor) == (4, 8192, 0)


@pytest.mark.parametrize("types", [("Q4_K", "Q4_K", "Q6_K"), ("F32",) * 3, ("BF16",) * 3, ("Q8_0",) * 3])
@pytest.mark.parametrize(("hidden", "width"), [(256, 512), (512, 256)])
def test_sizes_are_those_of_the_tables(types: tuple[str, str, str], hidden: int, width: int) -> None:
    table = ops.empty_table(3, types, hidden, width)
    gate, up, _ = part_bytes(types, hidden, width)
    assert table.slot_bytes == slot_bytes(types, hidden, width)
    assert table.part_offsets == (0, gate, gate + up)
