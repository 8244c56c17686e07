"""The scheduler alone: thousands of histories of counters."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoestring.engine.scheduler import FIRST_ROWS, WAIT_SECONDS, Scheduler, Span
from shoestring.errors import CapacityError
from shoestring.models.layout import Demand
from shoestring.models.slices import ANSWER_ROWS

CAPACITY = Demand(10, 6, 4)
CLIENTS = ("ann", "bob", "cat")


def admit_all(scheduler: Scheduler, skipped_numbers: frozenset[int] = frozenset()) -> list[int]:
    admitted = []
    while (number := scheduler.next_in_turn(skipped_numbers)) is not None:
        if not (scheduler.reserved + scheduler.demand(number)).fits(scheduler.capacity):
            break
        scheduler.admit(number)
        admitted.append(number)
    return admitted


class History(RuleBasedStateMachine):
    """Requests are submitted, computed, extended and finished; a plain model counts beside the scheduler."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(CAPACITY, chunk=16, most_running=3)
        self.next = 0
        self.demands: dict[int, Demand] = {}
        self.left: dict[int, int] = {}
        self.clients: dict[int, str] = {}
        #: waiting request → admissions of other clients since it is the first of its own
        self.passed: dict[int, int] = {}
        self.answering: set[int] = set()
        self.skipped = 0

    @rule(
        tokens=st.integers(1, 60),
        pages=st.integers(0, 10),
        chunk_pages=st.integers(0, 6),
        slots=st.integers(0, 4),
        chunk=st.sampled_from([None, 1, 7, 64]),
        client=st.sampled_from(CLIENTS),
    )
    def submit(self, tokens: int, pages: int, chunk_pages: int, slots: int, chunk: int | None, client: str) -> None:
        demand = Demand(pages, chunk_pages, slots)
        self.scheduler.submit(self.next, tokens, demand, chunk, client)
        self.demands[self.next], self.left[self.next], self.clients[self.next] = demand, tokens, client
        self.next += 1

    @rule(reuse=st.integers(0, 59))
    def admit(self, reuse: int) -> None:
        while (number := self.scheduler.next_in_turn()) is not None:
            assert len(self.scheduler.running) < 3
            client = self.clients[number]
            mine = [n for n in self.scheduler.waiting if self.clients[n] == client]
            assert number == min(mine), "a later request of the same client was admitted first"
            if not (self.scheduler.reserved + self.scheduler.demand(number)).fits(CAPACITY):
                assert self.scheduler.running, "no request runs although one waits"
                break
            reused = min(reuse, self.left[number] - 1)
            self.scheduler.admit(number, reused)
            self.left[number] -= reused
            self.passed.pop(number, None)
            for other in CLIENTS:
                waits = [n for n in self.scheduler.waiting if self.clients[n] == other]
                if waits and other != client:
                    self.passed[min(waits)] = self.passed.get(min(waits), 0) + 1
        for number, times in self.passed.items():
            assert times < len(CLIENTS) or number not in self.scheduler.waiting, "a client starves"

    @precondition(lambda self: self.scheduler.running)
    @rule(edge=st.integers(1, 40), seconds=st.floats(1e-4, 10))
    def step(self, edge: int, seconds: float) -> None:
        running = self.scheduler.running
        spans = self.scheduler.plan(dict.fromkeys(running, edge))
        assert len({s.number for s in spans}) == len(spans)
        served = {s.number for s in spans}
        unfinished = [n for n in running if self.left[n]]
        assert not unfinished or spans, "no request computes although work is left"
        assert all(n in served for n in unfinished if n in self.answering), "an answer was left out of the step"
        prompts = {n for n in unfinished if n not in self.answering}
        self.skipped = self.skipped + 1 if prompts and not served & prompts else 0
        assert self.skipped < 2, "two steps in turn had no prompt"
        answers = len(served & self.answering)
        for span in spans:
            assert 1 <= span.rows <= min(self.left[span.number], edge), "more rows than tokens"
            self.left[span.number] -= span.rows
            self.scheduler.computed(span)
            assert self.scheduler.remaining(span.number) == self.left[span.number]
            if self.left[span.number] == 0:
                self.answering.add(span.number)
        if spans:
            self.scheduler.measured(answers, sum(s.rows for s in spans) - answers, seconds)

    @precondition(lambda self: any(self.left[n] == 0 for n in self.scheduler.running))
    @rule(data=st.data(), tokens=st.integers(0, 20))
    def decode(self, data: st.DataObject, tokens: int) -> None:
        number = data.draw(st.sampled_from([n for n in self.scheduler.running if self.left[n] == 0]))
        if tokens == 0:
            self.finish(number)
        for _ in range(tokens):  # one sampled, others forced
            self.scheduler.extend(number)
            self.left[number] += 1

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.sampled_from(sorted(self.left))))

    def finish(self, number: int) -> None:
        self.scheduler.finish(number)
        self.passed.pop(number, None)
        self.answering.discard(number)
        del self.left[number], self.demands[number], self.clients[number]

    @invariant()
    def memory_is_promised_once(self) -> None:
        total = Demand()
        for number in self.scheduler.running:
            total = total + self.demands[number]
        assert self.scheduler.reserved == total
        assert total.fits(CAPACITY)
        assert sorted((*self.scheduler.running, *self.scheduler.waiting)) == sorted(self.left)


History.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestHistory = History.TestCase


def test_every_request_finishes_and_every_token_is_computed_once() -> None:
    scheduler = Scheduler(CAPACITY, chunk=16, most_running=3)
    lengths = {n: 1 + 37 * n % 90 for n in range(30)}
    for number, length in lengths.items():
        scheduler.submit(number, length, Demand(1 + number % 10, number % 7, number % 5), client=CLIENTS[number % 3])
    computed = dict.fromkeys(lengths, 0)
    for _ in range(10_000):
        admit_all(scheduler)
        for span in scheduler.plan({}):
            scheduler.computed(span)
            computed[span.number] += span.rows
            if scheduler.remaining(span.number) == 0:
                scheduler.finish(span.number)
        if not scheduler.running and not scheduler.waiting:
            break
    assert computed == lengths


def test_clients_take_turns() -> None:
    scheduler = Scheduler(CAPACITY, chunk=16, most_running=1)
    for number, client in enumerate(("ann", "ann", "ann", "bob", "cat", "bob")):
        scheduler.submit(number, 5, Demand(1), client=client)
    order = []
    while admitted := admit_all(scheduler):
        order += admitted
        scheduler.finish(admitted[0])
    assert order == [0, 3, 4, 1, 5, 2]


def test_skipped_requests_let_others_pass() -> None:
    scheduler = Scheduler(CAPACITY, chunk=16, most_running=3)
    for number in range(3):
        scheduler.submit(number, 5, Demand(1))
    assert admit_all(scheduler, frozenset({0, 1})) == [2]
    assert admit_all(scheduler) == [0, 1]


def prompts_of(clients: str, **options: int) -> Scheduler:
    scheduler = Scheduler(Demand(100), **{"chunk": 16, "most_running": 9, **options})
    for number, client in enumerate(clients):
        scheduler.submit(number, 100, Demand(1), client=client)
    admit_all(scheduler)
    return scheduler


def test_prompts_of_clients_take_turns() -> None:
    scheduler = prompts_of("aaab")
    order = []
    for _ in range(6):
        (span,) = scheduler.plan({})
        assert span.rows == 16
        scheduler.computed(span)
        order.append(span.number)
    # Admitted a, b, a, a: the first turn is a's, then that of the client served less recently.
    assert order == [0, 3, 1, 3, 2, 3]


def answering(prompt_tokens: int = 1000) -> Scheduler:
    """One answer (number 0) beside one long prompt."""
    scheduler = Scheduler(Demand(100), chunk=512, most_running=9)
    scheduler.submit(0, 1, Demand(1))
    admit_all(scheduler)
    scheduler.computed(scheduler.plan({})[0])
    scheduler.submit(1, prompt_tokens, Demand(1))
    admit_all(scheduler)
    scheduler.extend(0)
    assert scheduler.plan({}) == (Span(0, 1),), "a step with the answer alone is measured first"
    scheduler.measured(1, 0, 0.1)
    return scheduler


def test_answers_ride_with_prompts() -> None:
    assert answering().plan({}) == (Span(0, 1), Span(1, FIRST_ROWS))


def test_forced_tokens_are_one_span_and_do_not_stop_prompts() -> None:
    scheduler = answering()
    for _ in range(19):
        scheduler.extend(0)
    assert scheduler.plan({}) == (Span(0, 20), Span(1, FIRST_ROWS - 19))
    for _ in range(100):
        scheduler.extend(0)
    assert scheduler.plan({}) == (Span(0, FIRST_ROWS + 1), Span(1, 1))


@settings(max_examples=200, deadline=None)
@given(
    answer=st.floats(1e-3, 5),
    row=st.floats(1e-5, 2),
    before=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 512), st.floats(1e-3, 60)), max_size=5),
)
def test_an_answer_waits_no_longer_than_promised(
    answer: float, row: float, before: list[tuple[int, int, float]]
) -> None:
    """On a machine where a step takes `answer`, and `row` for each row beyond, after any earlier measurement."""
    scheduler = answering(10**9)
    for answers, rows, seconds in before:
        scheduler.measured(answers, rows, seconds)
    waits = []
    for _ in range(300):
        rows = sum(span.rows for span in scheduler.plan({})) - 1
        scheduler.measured(1, rows, answer + rows * row)
        waits.append(rows * row)
    assert max(waits[40:]) <= max(1.01 * WAIT_SECONDS, row)
    # And prompts use the time that the machine has.
    assert sorted(waits[-100:])[10] >= min(0.5 * WAIT_SECONDS, 512 * row) or row > 0.01 * answer


def test_without_an_answer_prompts_take_whole_chunks() -> None:
    scheduler = prompts_of("a", chunk=64)
    scheduler.measured(0, 64, 100.0)
    assert scheduler.plan({}) == (Span(0, 64),)


def test_what_never_fits_is_refused_at_once() -> None:
    with pytest.raises(CapacityError, match="11 pages"):
        Scheduler(CAPACITY, chunk=16, most_running=3).submit(0, 5, Demand(11))


def test_with_passes_steps_have_answers_alone() -> None:
    scheduler = Scheduler(CAPACITY, chunk=300, most_running=3, passes=True)
    for number, tokens in enumerate((5, 1000)):
        scheduler.submit(number, tokens, Demand(1))
        scheduler.admit(number)
    assert scheduler.plan({}) == ()
    assert scheduler.plan_pass({}) == (Span(0, 5), Span(1, 295))
    for span in scheduler.plan_pass({}):
        scheduler.computed(span)
    for _ in range(100):  # one sampled, others forced
        scheduler.extend(0)
    assert scheduler.plan({}) == (Span(0, 1 + ANSWER_ROWS),)
    assert scheduler.plan_pass({}) == (Span(1, 300),)
