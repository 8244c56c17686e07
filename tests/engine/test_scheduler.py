"""The scheduler alone: thousands of histories of counters."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoestring.engine.cache import Demand
from shoestring.engine.scheduler import Scheduler, Span
from shoestring.errors import CapacityError

CAPACITY = Demand(10, 6, 4)


class History(RuleBasedStateMachine):
    """Requests come, are computed, decode and go; a plain model beside the scheduler counts along."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(CAPACITY, chunk=16, most_running=3)
        self.next = 0
        self.demands: dict[int, Demand] = {}
        self.left: dict[int, int] = {}
        self.arrivals: list[int] = []
        self.passed_over: dict[int, int] = {}

    @rule(
        tokens=st.integers(1, 60),
        pages=st.integers(0, 10),
        chunk_pages=st.integers(0, 6),
        slots=st.integers(0, 4),
        chunk=st.sampled_from([None, 1, 7, 64]),
    )
    def submit(self, tokens: int, pages: int, chunk_pages: int, slots: int, chunk: int | None) -> None:
        demand = Demand(pages, chunk_pages, slots)
        self.scheduler.submit(self.next, tokens, demand, chunk)
        self.demands[self.next], self.left[self.next] = demand, tokens
        self.arrivals.append(self.next)
        self.next += 1

    @rule(reuse=st.integers(0, 59))
    def admit(self, reuse: int) -> None:
        waiting = self.scheduler.waiting
        admitted = self.scheduler.admit()
        assert admitted == waiting[: len(admitted)], "somebody overtook"
        if waiting and not self.scheduler.running:
            raise AssertionError("nobody runs although somebody waits")
        for number in admitted:
            held = min(reuse, self.left[number] - 1)
            self.scheduler.reused(number, held)
            self.left[number] -= held

    @precondition(lambda self: self.scheduler.running)
    @rule(edge=st.integers(1, 40))
    def step(self, edge: int) -> None:
        running = self.scheduler.running
        spans = self.scheduler.plan(dict.fromkeys(running, edge))
        assert len({s.number for s in spans}) == len(spans)
        served = {s.number for s in spans}
        unfinished = [n for n in running if self.left[n]]
        assert not unfinished or spans, "work is left and nobody computes"
        for number in unfinished:
            if self.left[number] == 1:
                assert number in served, "a decode had to wait"
        prompts = [n for n in unfinished if self.left[n] > 1]
        assert not prompts or prompts[0] in served, "the oldest prompt had to wait"
        for span in spans:
            assert 1 <= span.rows <= min(self.left[span.number], edge), "more than there is"
            self.left[span.number] -= span.rows
            self.scheduler.computed(span)
            assert self.scheduler.remaining(span.number) == self.left[span.number]

    @precondition(lambda self: any(self.left[n] == 0 for n in self.scheduler.running))
    @rule(data=st.data(), end=st.booleans())
    def decode(self, data: st.DataObject, end: bool) -> None:
        number = data.draw(st.sampled_from([n for n in self.scheduler.running if self.left[n] == 0]))
        if end:
            self.finish(number)
        else:
            self.scheduler.extend(number)
            self.left[number] += 1

    @precondition(lambda self: self.arrivals)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.sampled_from(self.arrivals)))

    def finish(self, number: int) -> None:
        self.scheduler.finish(number)
        self.arrivals.remove(number)
        del self.left[number], self.demands[number]

    @invariant()
    def memory_is_promised_once(self) -> None:
        total = Demand()
        for number in self.scheduler.running:
            total = total + self.demands[number]
        assert self.scheduler.reserved == total
        assert total.fits(CAPACITY)
        assert sorted((*self.scheduler.running, *self.scheduler.waiting)) == sorted(self.arrivals)


History.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestHistory = History.TestCase


def test_everybody_finishes_and_every_token_is_computed_once() -> None:
    scheduler = Scheduler(CAPACITY, chunk=16, most_running=3)
    lengths = {n: 1 + 37 * n % 90 for n in range(30)}
    for number, length in lengths.items():
        scheduler.submit(number, length, Demand(1 + number % 10, number % 7, number % 5))
    computed = dict.fromkeys(lengths, 0)
    for _ in range(10_000):
        scheduler.admit()
        for span in scheduler.plan({}):
            scheduler.computed(span)
            computed[span.number] += span.rows
            if scheduler.remaining(span.number) == 0:
                scheduler.finish(span.number)
        if not scheduler.running and not scheduler.waiting:
            break
    assert computed == lengths


def test_decodes_ride_with_prompts() -> None:
    scheduler = Scheduler(CAPACITY, chunk=16, most_running=3)
    for number, tokens in enumerate((100, 1, 40)):
        scheduler.submit(number, tokens, Demand(1))
    scheduler.admit()
    assert scheduler.plan({}) == (Span(1, 1), Span(0, 15))


def test_what_never_fits_is_refused_at_once() -> None:
    with pytest.raises(CapacityError, match="11 pages"):
        Scheduler(CAPACITY, chunk=16, most_running=3).submit(0, 5, Demand(11))
