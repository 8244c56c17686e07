"""Ledger, scheduler and prefix tree together: thousands of histories without model or arrays.

A plain model records what each page and slot contains, as a step would write it, and looks there for what each row
reads. It detects a page that is shared too early, a slot that is allocated twice, or a snapshot of another position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shoestring.engine.ledger import Ledger
from shoestring.engine.prefix import common_prefix, match
from shoestring.engine.scheduler import Scheduler, Span
from shoestring.engine.sequence import Sequence, thinned
from shoestring.engine.tree import Tree
from shoestring.models.layout import Demand
from shoestring.models.state import PAGE_TOKENS, AttentionState

GARBAGE = -1


@dataclass(frozen=True)
class Fixed:
    """Pages and slots of a sequence as its step in flight knows them."""

    pages: tuple[int, ...]
    chunk_pages: tuple[int, ...]
    slots: tuple[int, ...]

    @classmethod
    def of(cls, sequence: Sequence) -> Fixed:
        slots = (sequence.read_slot, sequence.slot, *(slot for _, slot in sequence.pending))
        return cls(tuple(sequence.pages), tuple(sequence.chunk_pages), slots)


@dataclass
class Flight:
    """A pass: its spans, their pages and slots, and the layers that it has gone through."""

    spans: tuple[Span, ...]
    fixed: list[Fixed]
    layers: int = 0


class History(RuleBasedStateMachine):
    @initialize(
        recurrent=st.booleans(),
        chunk_size=st.sampled_from([0, 30, 100, 128]),
        spare=st.tuples(st.integers(0, 6), st.sampled_from([0, 0, 1, 2, 6]), st.integers(0, 5)),
        running=st.integers(1, 4),
        stride=st.sampled_from([40, 64, 100, 1000]),
        cache_bytes=st.sampled_from([None, 0, 5, 20, 100]),
        chunk=st.sampled_from([7, 16, 100, 512]),
        shared=st.booleans(),
        layers=st.sampled_from([0, 0, 1, 2, 5]),
    )
    def begin(
        self,
        recurrent: bool,
        chunk_size: int,
        spare: tuple[int, int, int],
        running: int,
        stride: int,
        cache_bytes: int | None,
        chunk: int,
        shared: bool,
        layers: int,
    ) -> None:
        self.chunk_size = chunk_size
        one = self.demand(300, recurrent)
        # At least the pages of one whole sequence, for any number of running ones.
        pages, chunk_pages, slots = spare
        capacity = one + Demand(pages, chunk_pages * (running if chunk_size else 0), slots if recurrent else 0)
        tree = Tree(
            capacity,
            chunk_size=chunk_size,
            recurrent=recurrent,
            cache_bytes=cache_bytes,
            stride=stride,
            shared=shared,
        )
        self.ledger = Ledger(tree, Scheduler(capacity, chunk=chunk, most_running=running, passes=layers > 0))
        #: of a model with passes; 0: without
        self.layers = layers
        self.flight: Flight | None = None
        self.pages = {page: [GARBAGE] * PAGE_TOKENS for page in range(capacity.global_pages)}
        self.chunk_pages = {page: [GARBAGE] * PAGE_TOKENS for page in range(capacity.chunk_pages)}
        self.slots: dict[int, tuple[int, ...]] = {}
        self.left: dict[int, int] = {}  # tokens still to be sampled
        self.known: list[list[int]] = [[]]
        #: all sequences of each owner
        self.owned: dict[str, list[Sequence]] = {}
        self.next = 0

    def demand(self, tokens: int, recurrent: bool) -> Demand:
        chunk_pages = AttentionState(1, 1, chunk_size=self.chunk_size).pages(tokens) if self.chunk_size else 0
        return Demand(-(-tokens // PAGE_TOKENS), chunk_pages, int(recurrent))

    @rule(
        data=st.data(),
        seed=st.integers(0, 3),
        length=st.one_of(st.just(0), st.integers(0, 150)),
        count=st.one_of(st.integers(1, 3), st.integers(1, 60)),
        boundaries=st.lists(st.integers(1, 250), max_size=3),
        client=st.sampled_from("ab"),
        scored=st.booleans(),
        owner=st.sampled_from(["", "", "key"]),
    )
    def submit(
        self,
        data: st.DataObject,
        seed: int,
        length: int,
        count: int,
        boundaries: list[int],
        client: str,
        scored: bool,
        owner: str,
    ) -> None:
        known = data.draw(st.sampled_from(self.known))
        cut = data.draw(st.sampled_from([0, len(known), len(known), max(0, len(known) - 9), len(known) // 2]))
        tokens = (known[:cut] + stem(length, seed))[:240] or [0]
        limit = data.draw(st.integers(0, len(tokens) - 1)) if scored else len(tokens) - 1
        sequence = Sequence(tokens, boundaries=(*boundaries, len(tokens) - 1), owner=owner)
        self.owned.setdefault(owner, []).append(sequence)
        demand = self.demand(len(tokens) + count, self.ledger.tree.recurrent)
        self.ledger.submit(self.next, sequence, demand, limit, client=client)
        self.left[self.next] = count
        self.known.append(tokens)
        self.next += 1

    @precondition(lambda self: self.left)
    @rule(data=st.data(), steps=st.integers(1, 20))
    def step(self, data: st.DataObject, steps: int) -> None:
        for _ in range(steps):
            self.run_step(data.draw(st.integers(0, 5)), fail=False)

    @precondition(lambda self: self.left)
    @rule(number=st.integers(0, 5))
    def failing_step(self, number: int) -> None:
        self.run_step(number, fail=True)

    @precondition(lambda self: self.flight)
    @rule()
    def failing_pass(self) -> None:
        spans, self.flight = self.flight.spans, None
        for span in spans:
            if span.number in self.left:
                self.finish(span.number, keep=False)
            else:
                self.ledger.finish(span.number, keep=False)

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.sampled_from(sorted(self.left))))

    def finish(self, number: int, keep: bool = True) -> None:
        """End a request: at once, with its pass, or, if it was the last in its pass, together with that."""
        self.known.append([*self.ledger.sequence(number).tokens])
        del self.left[number]
        flight = self.flight
        if flight is None or number not in [span.number for span in flight.spans]:
            self.ledger.finish(number, keep=keep)
        elif not any(span.number in self.left for span in flight.spans):
            self.flight = None
            for span in flight.spans:
                self.ledger.drop(span.number)

    def advance_pass(self, sampled: int) -> None:
        """One layer: the pass is begun with the first and accounted for after the last."""
        ledger = self.ledger
        if self.flight is None:
            spans = ledger.plan_pass()
            if not spans:
                return
            sequences = [(ledger.sequence(span.number), span.rows) for span in spans]
            self.check_slots(sequences)
            self.flight = Flight(spans, [Fixed.of(sequence) for sequence, _ in sequences])
            for sequence, rows in sequences:
                self.read(sequence)
                self.write(sequence, rows, spoil=True)
        self.flight.layers += 1
        if self.flight.layers < self.layers:
            return
        flight, self.flight = self.flight, None
        for span, fixed in zip(flight.spans, flight.fixed, strict=True):
            sequence = ledger.sequence(span.number)
            assert Fixed.of(sequence) == fixed, "pages or slots of the step were changed while it computed"
            self.read(sequence, spoiled=True)
            self.write(sequence, span.rows, spoil=False)
        self.account(flight.spans, sampled)

    def check_slots(self, sequences: list[tuple[Sequence, int]]) -> None:
        """What a step writes belongs to it alone, also while a pass is in flight."""
        written = [slot for s, _ in sequences for slot in (s.slot, *(slot for _, slot in s.pending)) if slot >= 0]
        assert len(set(written)) == len(written), "a slot is written twice"
        for sequence, _ in sequences:
            assert sequence.read_slot not in set(written) - {sequence.slot}, "a slot is read and written"
        in_flight = {slot for fixed in (self.flight.fixed if self.flight else []) for slot in fixed.slots}
        assert not in_flight & set(written), "a slot of the pass is written"

    def run_step(self, sampled: int, fail: bool) -> None:
        ledger = self.ledger
        for number, copies in ledger.admit():
            self.only_its_own_entries_show(ledger.sequence(number))
            for copy in copies:
                pool = self.chunk_pages if copy.chunk else self.pages
                pool[copy.target] = [*pool[copy.source]]
        ledger.check()
        assert ledger.scheduler.running or not self.left, "no request runs although one waits"
        before = sum(ledger.scheduler.remaining(number) for number in ledger.scheduler.running)
        if self.layers:
            self.advance_pass(sampled)
            ledger.check()
        spans = ledger.plan()
        after = sum(ledger.scheduler.remaining(number) for number in ledger.scheduler.running)
        assert spans or self.flight or after < before or not self.left, "nothing is computed"
        sequences = [(ledger.sequence(span.number), span.rows) for span in spans]
        self.check_slots(sequences)
        for sequence, rows in sequences:
            self.read(sequence)
            self.write(sequence, rows, spoil=fail)
        if fail:
            for span in spans:
                self.finish(span.number, keep=False)
        else:
            self.account(spans, sampled)

    def account(self, spans: tuple[Span, ...], sampled: int) -> None:
        ledger = self.ledger
        for span in spans:
            ledger.computed(span)
            if span.number not in self.left:  # cancelled inside a pass
                ledger.finish(span.number)
            elif ledger.scheduler.remaining(span.number) == 0:
                if self.left[span.number] == 0:
                    self.finish(span.number)
                else:
                    self.left[span.number] -= 1
                    ledger.extend(span.number, sampled % 3)

    def only_its_own_entries_show(self, sequence: Sequence) -> None:
        """What comes from the cache was computed for the same owner, or is whole strides of shared entries."""
        tree, place = self.ledger.tree, sequence.computed
        mine = [other for other in self.owned[sequence.owner] if other is not sequence]
        if any(common_prefix(sequence.tokens[:place], other.tokens) == place for other in mine):
            return
        assert place == 0 or (tree.shared and place % math.lcm(tree.stride, PAGE_TOKENS) == 0)

    def read(self, sequence: Sequence, spoiled: bool = False) -> None:
        """Look where a step reads. spoiled: its own slot is written over already."""
        tokens, computed, tree = sequence.tokens, sequence.computed, self.ledger.tree
        for position in range(computed):
            assert self.pages[sequence.pages[position // PAGE_TOKENS]][position % PAGE_TOKENS] == tokens[position]
        if self.chunk_size:
            for position in range(tree.chunk_start(computed), computed):
                page = sequence.chunk_pages[position // PAGE_TOKENS - sequence.first_chunk]
                assert self.chunk_pages[page][position % PAGE_TOKENS] == tokens[position]
        if tree.recurrent and not (spoiled and sequence.read_slot == sequence.slot):
            state = self.slots[sequence.read_slot] if sequence.read_slot >= 0 else ()
            assert state == tuple(tokens[:computed])

    def write(self, sequence: Sequence, rows: int, spoil: bool) -> None:
        computed = sequence.computed
        for position in range(computed, computed + rows):
            token = GARBAGE if spoil else sequence.tokens[position]
            node = sequence.nodes[position // PAGE_TOKENS]
            assert node.users == 1, "a shared page is written"
            self.pages[node.page][position % PAGE_TOKENS] = token
            if self.chunk_size:
                page = sequence.chunk_pages[position // PAGE_TOKENS - sequence.first_chunk]
                self.chunk_pages[page][position % PAGE_TOKENS] = token
        if self.ledger.tree.recurrent:
            for place, slot in sequence.pending:
                self.slots[slot] = (GARBAGE,) if spoil else tuple(sequence.tokens[:place])
            end = computed + rows
            self.slots[sequence.slot] = (GARBAGE,) if spoil else tuple(sequence.tokens[:end])

    @invariant()
    def sums(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.ledger.check()
        tree = self.ledger.tree
        assert tree.used + tree.cached + tree.pools.free == tree.pools.capacity
        if tree.cache_bytes is not None and not self.ledger.scheduler.running:
            assert tree.cached_bytes <= tree.cache_bytes

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for _ in range(20_000):
            if not self.left:
                break
            self.run_step(1, fail=False)
        assert not self.left, "a request starves"
        assert self.ledger.tree.used == Demand()
        self.ledger.check()


History.TestCase.settings = settings(max_examples=250, stateful_step_count=30, deadline=None)
TestHistory = History.TestCase


# --- examples --------------------------------------------------------------------------------------------------


def alone(tree: Tree, tokens: list[int], *, boundaries: tuple[int, ...] = (), rows: int = 64) -> Sequence:
    """A sequence, computed and released."""
    sequence = Sequence(tokens, boundaries=boundaries)
    sequence.begin(tree, match(tree, tokens, len(tokens) - 1))
    while sequence.computed < len(tokens):
        count = min(rows, len(tokens) - sequence.computed)
        sequence.grow(tree, count)
        sequence.advance(tree, count)
    sequence.release(tree)
    tree.check()
    return sequence


def cached_prefix(tree: Tree, tokens: list[int]) -> int:
    return match(tree, tokens, len(tokens)).position


def stem(length: int, seed: int = 1) -> list[int]:
    return [(seed * 7919 + i * i * 31 + i) % 50 for i in range(length)]


def test_a_prefix_is_cached_up_to_less_than_a_stride() -> None:
    tree = Tree(Demand(100, 0, 100), stride=100)
    alone(tree, stem(1000))
    for length in (99, 100, 101, 555, 999, 1000):
        place = cached_prefix(tree, [*stem(1000)[:length], 99, 99])
        assert length - 100 < place <= length, "more than a stride would be recomputed"


def test_the_least_recently_used_conversation_is_evicted_first() -> None:
    tree = Tree(Demand(20), recurrent=False)
    for seed in range(4):
        alone(tree, stem(320, seed))
    alone(tree, [*stem(320, 0), 1])  # used again, one page more
    alone(tree, stem(300, 9))
    assert cached_prefix(tree, stem(320, 0)) == 320
    assert cached_prefix(tree, stem(320, 9)[:300]) == 300
    assert cached_prefix(tree, stem(320, 3)) == 320
    assert cached_prefix(tree, stem(320, 1)) == 0
    assert cached_prefix(tree, stem(320, 2)) == 256, "only its last page is evicted"


def test_snapshots_are_thinned_evenly_where_slots_are_few() -> None:
    tree = Tree(Demand(100, 0, 5), stride=100)
    alone(tree, stem(3000))
    places = sorted(p for node in tree.snapshots.values() for p in node.snapshots)
    assert places[-1] == 3000
    gaps = [b - a for a, b in zip([0, *places], places, strict=False)]
    assert max(gaps) <= 1600
    assert len(places) == 4, "one slot stays free for a running sequence"


def test_cache_bytes_bound_pages_and_snapshots_together() -> None:
    tree = Tree(Demand(100, 0, 100), unit_bytes=(10, 0, 50), cache_bytes=600, stride=64)
    for seed in range(5):
        alone(tree, stem(500, seed))
        assert tree.cached_bytes <= 600
    assert cached_prefix(tree, stem(500, 4)) >= 320, "the latest conversation is evicted last"


def test_equal_pages_are_merged() -> None:
    tree = Tree(Demand(100, 0, 100))
    a, b = (Sequence(stem(200), boundaries=(199,)) for _ in range(2))
    for sequence in (a, b):
        sequence.begin(tree, match(tree, sequence.tokens, 199))
    for _ in range(4):
        for sequence in (a, b):
            sequence.grow(tree, 50)
        for sequence in (a, b):
            sequence.advance(tree, 50)
        tree.check()
    assert a.pages[:3] == b.pages[:3]
    assert tree.used.global_pages == 3 + 2
    for sequence in (a, b):
        sequence.release(tree)
        tree.check()
    assert tree.cached.global_pages == 4
    assert sum(len(node.snapshots) for node in set(tree.snapshots.values())) == 2  # 199 and 200


def test_a_snapshot_that_will_be_read_outlives_its_page() -> None:
    tree = Tree(Demand(5, 0, 4))
    alone(tree, stem(70), boundaries=(66,))
    sequence = Sequence([*stem(66), 99])
    place = match(tree, sequence.tokens, 66)
    assert (place.position, place.source is not None) == (66, True)
    assert sequence.begin(tree, place), "the page is copied, because other sequences need the rest of it"
    assert place.source is not None
    tree.evict(place.source)
    assert tree.orphaned == 1
    assert place.slot in tree.pools.slots.allocated()
    sequence.grow(tree, 1)
    sequence.advance(tree, 1)
    tree.check()
    assert tree.orphaned == 0
    sequence.release(tree)
    tree.check()
    assert cached_prefix(tree, sequence.tokens) == 67


def test_a_chunk_page_filled_from_its_middle_is_not_used_for_an_earlier_chunk() -> None:
    tree = Tree(Demand(9, 9), chunk_size=100, recurrent=False)
    alone(tree, stem(110), rows=10)
    first = tree.root().children[0]
    tree.evict_chunk_page(first.children[0])
    assert cached_prefix(tree, [*stem(105), 99]) == 100, "the chunk begins there, so no page of it is needed"
    alone(tree, stem(150), rows=10)
    assert cached_prefix(tree, [*stem(120), 99]) == 120
    assert cached_prefix(tree, [*stem(90), 99]) == 64, "positions 64 to 89 are not in the chunk page"


def test_thinned() -> None:
    assert thinned([], 0, 2) == []
    assert thinned([10, 20, 21, 50], 0, 3) == [10, 20, 50]
    assert thinned([10, 11], 9, 1) == [11]


def test_common_prefix() -> None:
    for length in range(20):
        for at in range(20):
            other = [*range(20)]
            other[at] = -1
            assert common_prefix([*range(length)], other) == min(length, at)


def test_snapshots_that_a_pass_will_store_have_their_slots_until_it_is_over() -> None:
    capacity = Demand(20, 0, 2)
    tree = Tree(capacity)
    ledger = Ledger(tree, Scheduler(capacity, chunk=512, most_running=2, passes=True))
    first, second = Sequence(stem(100), boundaries=(99,)), Sequence(stem(50, 2), boundaries=(49,))
    ledger.submit(0, first, Demand(2, 0, 1), 99)
    assert [number for number, _ in ledger.admit()] == [0]
    (span,) = ledger.plan_pass()
    assert len(first.pending) == 1
    ledger.submit(1, second, Demand(1, 0, 1), 49)
    assert ledger.admit() == [], "no slot is left for it"
    ledger.check()
    ledger.computed(span)
    assert [number for number, _ in ledger.admit()] == [1]
    ledger.check()
