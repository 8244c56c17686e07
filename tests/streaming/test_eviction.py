"""Which expert is evicted: never one that the step needs, floors hold, and the choice is that of a plain scan."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.streaming.policy import Frequency, Key, Recency, Residents, Scores

LAYERS, EXPERTS = 4, 6

#: Layer, its experts, rows
steps = st.lists(
    st.tuples(
        st.integers(0, LAYERS - 1),
        st.dictionaries(st.integers(0, EXPERTS - 1), st.integers(1, 5), min_size=1, max_size=3),
        st.integers(5, 40),
    ),
    max_size=60,
)


def scanned(scores: Scores, residents: set[Key], pinned: set[Key], floor: int, layer: int) -> set[Key]:
    """All residents with the lowest worth among those that may leave, by looking at every one."""
    counts = Counter(key[0] for key in residents)
    free = [key for key in residents - pinned if key[0] == layer or counts[key[0]] > floor]
    worths = {key: scores.worth(key[0], scores.of(key)) for key in free}
    return {key for key in free if worths[key] == min(worths.values())}


@pytest.mark.parametrize(
    "kind", [lambda: Frequency(0.9), lambda: Frequency(0.999), Recency], ids=["0.9", "0.999", "lru"]
)
@given(steps=steps, floor=st.integers(0, 3), slots=st.integers(3, 20), data=st.data())
def test_evicts_what_a_scan_finds(
    kind: Callable[[], Scores],
    steps: list[tuple[int, dict[int, int], int]],
    floor: int,
    slots: int,
    data: st.DataObject,
) -> None:
    """Steps that pin what they need; some pins last over several steps, as those of a suspended pass do."""
    scores = kind()
    residents, plain, long_pinned = Residents(scores, floor), set[Key](), set[Key]()
    for layer, rows_of, rows in steps:
        scores.use(layer, rows_of, rows)
        needed = {(layer, expert) for expert in rows_of}
        for key in needed & plain:
            residents.pin(key)
        for key in sorted(needed - plain):
            if len(plain) == slots:
                expected = scanned(scores, plain, long_pinned | needed, floor, layer)
                before = Counter(other for other, _ in plain)
                victim = residents.evict(layer)
                if victim is None:
                    assert not expected
                    break
                assert victim in expected
                assert victim not in needed | long_pinned
                assert victim[0] == layer or before[victim[0]] > floor
                plain.remove(victim)
            residents.add(key)
            plain.add(key)
            assert len(residents) == len(plain) <= slots
        for key in needed & plain:
            if data.draw(st.integers(0, 9)) == 0:
                long_pinned.add(key)
            else:
                long_pinned.discard(key)
                residents.unpin(key)
        assert all(key in residents for key in plain)
        assert [residents.count(n) for n in range(LAYERS)] == [sum(key[0] == n for key in plain) for n in range(LAYERS)]


@given(st.data())
def test_a_layer_below_its_floor_always_finds_a_slot(data: st.DataObject) -> None:
    """With floor slots for every layer, a step may fill its layer up to the floor whatever the others have."""
    floor = data.draw(st.integers(1, 3))
    slots = data.draw(st.integers(LAYERS * floor, LAYERS * floor + 6))
    scores = Frequency(0.9)
    residents = Residents(scores, floor)
    draws = random.Random(data.draw(st.integers(0, 1000)))
    for _ in range(60):
        layer = draws.randrange(LAYERS)
        chosen = draws.sample(range(EXPERTS), floor)
        scores.use(layer, dict.fromkeys(chosen, 1), 1)
        needed = [(layer, expert) for expert in chosen]
        for key in needed:
            if key in residents:
                residents.pin(key)
        for key in needed:
            if key not in residents:
                if len(residents) == slots:
                    assert residents.evict(layer) is not None
                residents.add(key)
        for key in needed:
            assert key in residents
            residents.unpin(key)


def test_a_removed_expert_is_never_evicted() -> None:
    residents = Residents(Recency(), 0)
    for expert in range(3):
        residents.add((0, expert))
        residents.unpin((0, expert))
    residents.remove((0, 0))
    residents.unpin((0, 0))
    residents.add((0, 0))
    residents.remove((0, 1))
    assert residents.evict(0) == (0, 2)
    assert residents.evict(0) is None, "the other one is pinned"
    residents.unpin((0, 0))
    assert residents.evict(0) == (0, 0)
    assert len(residents) == 0


def test_frequency_is_the_decayed_sum() -> None:
    """Against the sum written out, for steps of one row and of many."""
    decay = 0.9
    scores, uses = Frequency(decay), []  # (token, count) of expert 0
    token = 0
    draws = random.Random(5)
    for _ in range(40):
        rows = draws.choice([1, 1, 1, 7])
        count = draws.randrange(rows + 1)
        scores.use(0, {0: count} if count else {1: 1}, rows)
        for _ in range(rows):  # spread evenly
            token += 1
            uses.append((token, count / rows))
        expected = sum(share * decay ** (token - then) for then, share in uses)
        if expected:
            assert math.isclose(math.exp(scores.worth(0, scores.of((0, 0)))), expected, rel_tol=1e-9)


def test_a_long_run_stays_finite() -> None:
    scores = Frequency(0.5)
    for _ in range(5000):
        scores.use(0, {0: 1}, 512)
    assert math.isclose(math.exp(scores.worth(0, scores.of((0, 0)))), 2 / 512, rel_tol=1e-6)


def test_layers_that_a_pass_has_not_reached_do_not_look_old() -> None:
    """A pass of 512 rows over layer 0 does not push out the experts that layer 1 uses all the time."""
    scores = Frequency(0.99)
    residents = Residents(scores, 1)
    for _ in range(200):
        for layer in range(2):
            scores.use(layer, {0: 1, 1: 1}, 1)
    for key in ((0, 0), (0, 1), (1, 0), (1, 1)):
        residents.add(key)
        residents.unpin(key)
    scores.use(0, dict.fromkeys(range(2, 6), 128), 512)
    residents.add((0, 2))
    assert residents.evict(0) in {(0, 0), (0, 1)}


def test_lru_without_a_floor_never_hits_below_one_cycle() -> None:
    """The reason for the floor: one token visits every layer, so the least recently used is what comes next."""
    for floor, hits_expected in ((0, False), (1, True)):
        scores = Recency()
        residents, hits = Residents(scores, floor), 0
        for _ in range(20):
            for layer in range(10):
                key = (layer, 0)
                scores.use(layer, {0: 1}, 1)
                if key in residents:
                    hits += 1
                    continue
                if len(residents) == 9 and residents.evict(layer) is None:
                    continue
                residents.add(key)
                residents.unpin(key)
        assert (hits > 0) == hits_expected
