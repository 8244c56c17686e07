"""Experts that come and go: in pieces and in turns, in any partition and order, the bits of the resident op."""

import gc
import weakref
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_cases import Bytes, ExpertsCase, Float32
from other_variants import same_in_all_variants

from shoestring import _kernels, ops

TYPES = [name for name, *_ in _kernels.weight_formats()]
#: gate and up of one type, down of another, and sizes that are not whole groups of rows
CASES = [ExpertsCase(name, 5, 3, 256, 256, 4) for name in TYPES] + [
    ExpertsCase("Q4_K", 7, 4, 256, 512, 9, False, "Q6_K"),
    ExpertsCase("BF16", 4, 2, 33, 17, 8, False, "F32"),
    ExpertsCase("F16", 3, 2, 257, 256, 90, False, "BF16"),
]


@dataclass(frozen=True)
class Routed:
    """A case's rows with random experts, where a row may choose one twice."""

    case: ExpertsCase
    seed: int

    def arrays(self) -> tuple[Float32, ops.Int32, Float32]:
        case, random = self.case, np.random.default_rng(self.seed)
        x, _ = case.operands()
        ids = random.integers(0, case.num_experts, (case.tokens, case.slots)).astype(np.int32)
        return x, ids, random.standard_normal(ids.shape).astype(np.float32)

    def resident(self, threads: int = 1) -> Float32:
        ops.set_num_threads(threads)
        return ops.experts(ops.Workspace(), *self.arrays(), self.case.table(), scale_input=self.case.scale_input)


class Slots:
    """A table over an arena with one slot an expert, whose bytes arrive part by part."""

    def __init__(self, case: ExpertsCase) -> None:
        self.table = ops.empty_table(case.num_experts, case.types(), case.hidden_size, case.width)
        self.arena = ops.arena(self.table.slot_bytes * case.num_experts)
        self.arena[:] = 0xFF
        self.parts = [case.parts(expert) for expert in range(case.num_experts)]

    def slot(self, expert: int) -> Bytes:
        return self.arena[expert * self.table.slot_bytes :][: self.table.slot_bytes]

    def put(self, expert: int) -> None:
        self.table.put(expert, self.arena, expert * self.table.slot_bytes)

    def arrive(self, expert: int, *parts: int) -> None:
        for part in parts:
            begin = self.table.part_offsets[part]
            self.slot(expert)[begin : begin + self.parts[expert][part].nbytes] = self.parts[expert][part]

    def put_whole(self, expert: int) -> None:
        self.put(expert)
        self.arrive(expert, 0, 1, 2)

    def drop(self, expert: int) -> None:
        self.table.drop(expert)
        self.slot(expert)[:] = 0xFF  # the next expert's bytes


def in_pieces(routed: Routed, threads: int, seed: int) -> Float32:
    """Random subsets in a random order; only what a piece needs is in place, and what it needed goes at once."""
    ops.set_num_threads(threads)
    case, random, ws = routed.case, np.random.default_rng(seed), ops.Workspace()
    slots = Slots(case)
    call = ops.begin_experts(ws, *routed.arrays(), slots.table, scale_input=case.scale_input)
    waiting, half = list(range(case.num_experts)), list[int]()
    while waiting or half:
        source = waiting if waiting and (not half or random.random() < 0.5) else half
        random.shuffle(source)
        some = [source.pop() for _ in range(random.integers(1, len(source) + 1))]
        if source is waiting:
            for expert in some:
                slots.put(expert)
                slots.arrive(expert, 0, 1)
            ops.gate_up(call, some)
            half += some
        else:
            for expert in some:
                slots.arrive(expert, 2)
            ops.down(call, some)
            for expert in some:
                slots.drop(expert)
    return ops.sum_experts(ws, call)


def in_turns(routed: Routed, threads: int, cuts: list[int]) -> Float32:
    """Ascending experts, those below each cut in one call; each is there for its call alone."""
    ops.set_num_threads(threads)
    case, ws = routed.case, ops.Workspace()
    slots, out = Slots(case), np.zeros((case.tokens, case.hidden_size), np.float32)
    for begin, end in zip([0, *cuts], [*cuts, case.num_experts], strict=True):
        for expert in range(begin, end):
            slots.put_whole(expert)
        ops.add_experts(ws, *routed.arrays(), slots.table, range(begin, end), out, scale_input=case.scale_input)
        for expert in range(begin, end):
            slots.drop(expert)
    return out


@pytest.mark.parametrize("scale_input", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_pieces_and_turns_equal_the_resident_op(case: ExpertsCase, scale_input: bool) -> None:
    routed = Routed(replace(case, scale_input=scale_input), 11)
    expected = same_in_all_variants(routed.resident).tobytes()
    for threads in (1, 2, 3):
        assert routed.resident(threads).tobytes() == expected
        assert same_in_all_variants(in_pieces, routed, threads, threads).tobytes() == expected
        assert same_in_all_variants(in_turns, routed, threads, [threads]).tobytes() == expected


@settings(max_examples=60)
@given(
    st.sampled_from(CASES),
    st.integers(1, 20),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.data(),
)
def test_any_partition_and_order(
    case: ExpertsCase, tokens: int, scale_input: bool, threads: int, seed: int, data: st.DataObject
) -> None:
    routed = Routed(replace(case, tokens=tokens, scale_input=scale_input), seed)
    expected = routed.resident()
    assert in_pieces(routed, threads, seed).tobytes() == expected.tobytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, case.num_experts), max_size=4)))
    assert in_turns(routed, threads, cuts).tobytes() == expected.tobytes()


@pytest.mark.parametrize("weight_type", ["Q4_0", "BF16"])
@pytest.mark.parametrize("scale_input", [False, True])
def test_more_rows_than_a_batch(scale_input: bool, weight_type: str) -> None:
    """Some experts share a batch of pairs, one is cut in parts; each row alone gives the same."""
    case = ExpertsCase(weight_type, 4, 2, 2048, 512, 1500, scale_input, "F16")
    routed = Routed(case, 5)
    x, ids, weights = routed.arrays()
    ids[:1200] = [2, 1]
    table, ws = case.table(), ops.Workspace()
    ops.set_num_threads(2)
    whole = ops.experts(ws, x, ids, weights, table, scale_input=scale_input)
    for row in range(0, 1500, 97):
        one = slice(row, row + 1)
        alone = ops.experts(ws, x[one], ids[one], weights[one], table, scale_input=scale_input)
        assert alone.tobytes() == whole[one].tobytes()


def test_rows_without_number() -> None:
    case = ExpertsCase("Q8_0", 2, 1, 32, 32, 1)
    slots, ws = Slots(case), ops.Workspace()
    nothing = np.empty((0, 32), np.float32), np.empty((0, 1), np.int32), np.empty((0, 1), np.float32)
    assert ops.experts(ws, *nothing, slots.table, scale_input=False).shape == (0, 32)
    call = ops.begin_experts(ws, *nothing, slots.table, scale_input=True)
    ops.gate_up(call, [0, 1])
    assert call.experts == []
    assert ops.sum_experts(ws, call).shape == (0, 32)


CASE = ExpertsCase("Q4_0", 4, 2, 64, 32, 3)


def test_absent_experts_are_refused_before_anything_is_computed() -> None:
    slots, ws = Slots(CASE), ops.Workspace()
    x, _, weights = Routed(CASE, 1).arrays()
    ids = np.array([[0, 2], [2, 3], [3, 0]], np.int32)
    for expert in (0, 3):
        slots.put_whole(expert)
    out = np.zeros_like(x)
    with pytest.raises(ValueError, match="expert 2 is absent"):
        ops.experts(ws, x, ids, weights, slots.table, scale_input=False)
    with pytest.raises(ValueError, match="expert 2 is absent"):
        ops.add_experts(ws, x, ids, weights, slots.table, [0, 2, 3], out, scale_input=False)
    assert not out.any()
    call = ops.begin_experts(ws, x, ids, weights, slots.table, scale_input=False)
    assert call.experts == [0, 2, 3]
    with pytest.raises(ValueError, match="expert 2 is absent"):
        ops.gate_up(call, [3, 2, 0])
    ops.gate_up(call, [3, 1, 0])  # nothing was done before, and no row chose 1
    with pytest.raises(ValueError, match="expert 0: its down is not computed"):
        ops.sum_experts(ws, call)
    slots.drop(0)
    with pytest.raises(ValueError, match="expert 0 is absent"):
        ops.down(call, [0, 3])
    slots.put_whole(0)
    slots.put_whole(2)
    ops.down(call, [0, 3])
    ops.gate_up(call, [2])
    ops.down(call, [2])
    expected = ops.experts(ws, x, ids, weights, CASE.table(), scale_input=False)
    assert ops.sum_experts(ws, call).tobytes() == expected.tobytes()


def test_steps_out_of_order_are_refused() -> None:
    slots, ws = Slots(CASE), ops.Workspace()
    for expert in range(4):
        slots.put_whole(expert)
    x, ids, weights = Routed(CASE, 1).arrays()
    ids[:] = [[0, 1], [1, 2], [2, 0]]
    call = ops.begin_experts(ws, x, ids, weights, slots.table, scale_input=True)
    for step in (ops.gate_up, ops.down):
        for expert in (-1, 4, 2**40):
            with pytest.raises(ValueError, match="no such expert"):
                step(call, [expert])
    with pytest.raises(ValueError, match="expert 1 is named twice"):
        ops.gate_up(call, [1, 0, 1])
    with pytest.raises(ValueError, match="gate_up comes before down"):
        ops.down(call, [1])
    ops.gate_up(call, [1])
    with pytest.raises(ValueError, match="done already"):
        ops.gate_up(call, [0, 1])
    ops.gate_up(call, [0])
    for experts in ([1, 0], [1, 1], [4], [-1]):
        with pytest.raises(ValueError, match=r"ascending|no such expert"):
            ops.add_experts(ws, x, ids, weights, slots.table, experts, x, scale_input=True)
    memory = np.zeros(ops.expert_call_bytes(slots.table, 3, 2, scale_input=True) // 4 + 16, np.float32)
    begin = -memory.ctypes.data % 64 // 4
    with pytest.raises(ValueError, match="memory of a call"):
        _kernels.begin_experts(x, ids, weights, slots.table, True, memory[begin:][:-17])
    with pytest.raises(ValueError, match="memory of a call"):
        _kernels.begin_experts(x, ids, weights, slots.table, True, memory[begin + 1 :])


def test_only_aligned_slots_inside_the_arena_are_put() -> None:
    slots = Slots(CASE)
    table, size = slots.table, slots.table.slot_bytes
    assert size % 64 == 0
    assert all(offset % 64 == 0 for offset in table.part_offsets)
    assert (table.part_offsets[0], len(table), table.nbytes) == (0, 4, 0)
    table.put(1, slots.arena, slots.arena.nbytes - size)
    table.put(2, slots.arena, 0)
    assert [expert in table for expert in (-1, 0, 1, 2, 4)] == [False, False, True, True, False]
    assert table.nbytes == 2 * size
    for offset in (-64, slots.arena.nbytes - size + 64, 2**62, slots.arena.nbytes):
        with pytest.raises(ValueError, match="inside the arena"):
            table.put(0, slots.arena, offset)
    with pytest.raises(ValueError, match="64 bytes"):
        table.put(0, slots.arena, 32)
    with pytest.raises(ValueError, match="64 bytes"):
        table.put(0, slots.arena[4:], 0)
    for expert in (-1, 4):
        with pytest.raises(ValueError, match="no such expert"):
            table.put(expert, slots.arena, 0)
        with pytest.raises(ValueError, match="no such expert"):
            table.drop(expert)
    with pytest.raises(ValueError, match="expert 0 is absent"):
        table.drop(0)
    resident = CASE.table()
    with pytest.raises(ValueError, match="resident"):
        resident.put(0, slots.arena, 0)
    with pytest.raises(ValueError, match="resident"):
        resident.drop(0)
    assert 0 not in table


def test_what_is_no_table_is_refused() -> None:
    for count, types, hidden, width in (
        (0, ("F32",) * 3, 4, 4),
        (2, ("F32", "F32", "MXFP4"), 4, 4),
        (2, ("F32", "Q8_0", "F32"), 48, 64),
        (2, ("F32", "F32", "Q4_K"), 256, 128),
        (2, ("F32",) * 3, 0, 4),
        (2, ("F32",) * 3, 2**40, 4),
    ):
        with pytest.raises(ValueError, match=r"experts: |no weight type"):
            ops.empty_table(count, types, hidden, width)


def test_a_table_keeps_its_arenas_and_lets_dropped_ones_go() -> None:
    slots, ws = Slots(CASE), ops.Workspace()
    for expert in range(4):
        slots.put_whole(expert)
    routed, table = Routed(CASE, 3), slots.table
    arena = weakref.ref(slots.arena)
    del slots
    gc.collect()
    assert arena() is not None
    y = ops.experts(ws, *routed.arrays(), table, scale_input=False)
    assert y.tobytes() == routed.resident().tobytes()
    call = ops.begin_experts(ws, *routed.arrays(), table, scale_input=False)
    for expert in range(4):
        table.drop(expert)
    assert arena() is None
    with pytest.raises(ValueError, match="absent"):
        ops.gate_up(call, call.experts)


def test_an_arena_is_zero_aligned_and_refuses_what_does_not_exist() -> None:
    for nbytes in (0, 1, 4096, 5 << 20):
        arena = ops.arena(nbytes)
        assert (arena.nbytes, arena.dtype, arena.flags.writeable) == (nbytes, np.uint8, True)
        assert arena.ctypes.data % (2 << 20) == 0
        assert not arena.any()
    with pytest.raises(ValueError):
        ops.arena(-1)
    with pytest.raises(MemoryError):
        ops.arena(1 << 60)
