"""Clients beside each other, in played histories: no client keeps another from its first token.

`Play` has the ledger alone; it counts the rows of each step and passes a time that they could have taken.
"""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from shoestring.engine.ledger import Ledger
from shoestring.engine.pools import reserve_of
from shoestring.engine.scheduler import MEASURE_EVERY, Scheduler, Span
from shoestring.engine.sequence import Sequence
from shoestring.engine.tree import Tree
from shoestring.models.layout import Demand, Layout
from shoestring.models.state import AttentionState, DeltaNetState, LayerState

CHUNK = 512


class Play:
    """Requests of clients. extra: pages beside those of one whole context and the reserve."""

    def __init__(self, parallel: int, context: int, *, extra: int = 0, recurrent: bool = True) -> None:
        layers: list[LayerState] = [AttentionState(1, 1)]
        layers += [DeltaNetState(convolution=(1, 1), memory=(1, 1, 1))] * recurrent
        self.layout, self.context = Layout(tuple(layers)), context
        one, short = self.layout.demand(context), self.layout.demand(-(-context // parallel))
        pages = one.global_pages + short.global_pages + extra
        capacity = Demand(pages, 0, parallel if recurrent else 0)
        self.reserve = reserve_of(self.layout, capacity, context, parallel)
        assert self.reserve == (short if parallel > 1 else Demand())
        self.scheduler = Scheduler(capacity, chunk=CHUNK, most_running=parallel, reserve=self.reserve)
        self.ledger = Ledger(Tree(capacity, recurrent=recurrent), self.scheduler)
        self.left: dict[int, int] = {}
        self.clients: dict[int, str] = {}
        self.forced: dict[int, int] = {}
        self.answered: set[int] = set()
        self.numbers = itertools.count()

    def submit(self, client: str, prompt: int, answer: int, forced: int = 0, shared: int = 0) -> int:
        """A prompt of `prompt` tokens, the first `shared` of them in common with all others that have as many.

        forced: tokens that follow each sampled one.
        """
        number = next(self.numbers)
        prompt = min(prompt, self.context - answer)
        shared = min(shared, prompt - 1)
        demand = self.layout.demand(prompt + answer)
        tokens = [0] * shared + [1000 + number] * (prompt - shared)
        self.ledger.submit(number, Sequence(tokens, boundaries=(shared,)), demand, prompt - 1, client=client)
        self.left[number], self.clients[number], self.forced[number] = answer, client, forced
        return number

    def step(self) -> tuple[Span, ...]:
        self.ledger.admit()
        self.leaders = any(running.lenders for running in self.scheduler._running.values())
        self.check()
        spans = self.ledger.plan()
        assert spans or not self.left
        answers = sum(self.scheduler.is_answering(span.number) for span in spans)
        rows = sum(span.rows for span in spans) - answers
        self.scheduler.measured(answers, rows, 0.001 * answers + 0.0001 * rows)
        for span in spans:
            self.ledger.computed(span)
            if self.scheduler.remaining(span.number) == 0:
                self.answered.add(span.number)
                tokens = min(1 + self.forced[span.number], self.left[span.number])
                self.left[span.number] -= tokens
                if self.left[span.number] == 0:
                    self.finish(span.number)
                else:
                    for _ in range(tokens):
                        self.ledger.extend(span.number, 7)
        return spans

    def finish(self, number: int) -> None:
        self.ledger.finish(number)
        del self.left[number]

    def running(self, client: str) -> int:
        return sum(self.clients[n] == client for n in self.scheduler.running)

    def check(self) -> None:
        """The two promises of the reserve."""
        self.ledger.check()
        free = self.scheduler.most_running - len(self.scheduler.running)
        running = {self.clients[n] for n in self.scheduler.running}
        alone = self.scheduler.most_running > 1 and len(running) == 1 and running != {""}
        if alone:
            assert free >= 1, "one client runs in all places"
            available = self.ledger.available + Demand(slots=self.ledger.tree.pinned)  # for one step
            assert self.reserve.fits(available), "one client has the memory of the reserve, too"
        waiting = [n for n in self.scheduler.waiting if self.clients[n] not in running]
        short = [n for n in waiting if self.scheduler.demand(n).fits(self.reserve)]
        first = {self.clients[n]: n for n in reversed(waiting)}
        if alone and not self.leaders and not self.ledger.tree.pinned:
            assert not any(first[self.clients[n]] == n for n in short), "a short request of a new client waits"

    def steps_to_first_token(self, number: int) -> int:
        return next(count for count in itertools.count(1) if self.step() and number in self.answered)


long_requests = st.lists(
    st.tuples(st.integers(1, 4000), st.integers(1, 300), st.sampled_from([0, 0, 5, 63])), min_size=1, max_size=20
)


@settings(max_examples=150, deadline=None)
@given(
    parallel=st.integers(2, 6),
    extra=st.integers(0, 200),
    recurrent=st.booleans(),
    others=long_requests,
    before=st.integers(0, 60),
    prompt=st.integers(1, 200),
    shared=st.sampled_from([0, 0, 70, 150]),
)
def test_a_new_client_waits_for_the_step_in_progress_and_one_share(
    parallel: int,
    extra: int,
    recurrent: bool,
    others: list[tuple[int, int, int]],
    before: int,
    prompt: int,
    shared: int,
) -> None:
    """Whatever one client has submitted, the next step computes the short prompt of another to its end.

    One step more if both came at once, or if the other prompt will share what they have in common.
    """
    play = Play(parallel, 4096, extra=extra, recurrent=recurrent)
    for length, answer, forced in others:
        play.submit("ann", length, answer, forced, shared)
    for _ in range(before):
        play.step()
    number = play.submit("bob", prompt, 1, shared=shared)
    assert play.steps_to_first_token(number) <= (1 if before and not shared else 2)


@settings(max_examples=100, deadline=None)
@given(parallel=st.integers(2, 6), others=long_requests, gaps=st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_a_client_that_comes_back_waits_for_one_share_of_the_other(
    parallel: int, others: list[tuple[int, int, int]], gaps: list[int]
) -> None:
    play = Play(parallel, 4096)
    for length, answer, forced in others:
        play.submit("ann", length, answer, forced)
    for gap in gaps:
        for _ in range(gap):
            play.step()
        assert play.steps_to_first_token(play.submit("bob", 200, 1)) <= 2


@settings(max_examples=100, deadline=None)
@given(
    others=st.integers(2, 5),
    shorts=st.lists(st.tuples(st.integers(1, CHUNK), st.integers(0, 3)), min_size=1, max_size=40),
    lengths=st.lists(st.integers(CHUNK, 4000), min_size=5, max_size=5),
)
def test_short_requests_wait_for_one_share_of_all_the_others(
    others: int, shorts: list[tuple[int, int]], lengths: list[int]
) -> None:
    """However many other clients there are. A short prompt is a client's even part of a step."""
    play = Play(8, 4096, extra=1000)

    def keep_others_busy() -> None:
        for number in range(others):
            if not play.running(f"client {number}"):
                play.submit(f"client {number}", lengths[number], 1)

    for prompt, gap in shorts:
        keep_others_busy()
        for _ in range(gap):
            play.step()
            keep_others_busy()
        short = play.submit("bob", max(1, prompt // (others + 1)), 1)
        assert play.steps_to_first_token(short) <= 2


@pytest.mark.parametrize(("client", "prompt"), [("client {}", CHUNK), ("client {}", 100), ("ann", CHUNK), ("ann", 100)])
def test_short_requests_without_end_do_not_stop_a_long_prompt(client: str, prompt: int) -> None:
    """Neither those of new clients, nor those of its own."""
    play = Play(4, 4096, extra=1000)
    long = play.submit("ann", 4000, 5)
    play.step()
    for number in itertools.count():
        play.submit(client.format(number), prompt, 1)
        play.step()
        if long in play.answered:
            break
        assert number < 40, "the long prompt starves"


def test_short_requests_one_after_the_other_do_not_stop_a_long_prompt() -> None:
    play = Play(2, 4096)
    long = play.submit("ann", 4000, 5)
    for step in itertools.count():
        if "bob" not in {play.clients[n] for n in play.left}:
            play.submit("bob", CHUNK, 1)  # fills a step, and is over after it
        play.step()
        if long in play.answered:
            break
        assert step < 20, "the long prompt starves"


def test_forced_tokens_of_one_client_leave_half_of_a_step_to_the_prompt_of_another() -> None:
    scheduler = Scheduler(Demand(1000), chunk=CHUNK, most_running=20)
    for number in range(13):
        scheduler.submit(number, 1 if number < 12 else 400, Demand(1), client="ann" if number < 12 else "bob")
        scheduler.admit(number)
    for number in range(12):
        scheduler.computed(Span(number, 1))
        for _ in range(64):
            scheduler.extend(number)
    spans = {span.number: span.rows for span in scheduler.plan({})}
    assert set(spans) == set(range(13))
    assert spans[12] >= sum(rows - 1 for number, rows in spans.items() if number != 12)


def test_a_snapshot_that_one_client_resumes_from_takes_no_slot_of_the_reserve() -> None:
    play = Play(3, 4096)  # three slots
    play.submit("ann", 300, 1, shared=200)
    play.step()
    play.submit("ann", 3000, 1)
    resumed = play.submit("ann", 300, 1, shared=200)
    play.step()
    assert play.steps_to_first_token(play.submit("bob", 9, 1)) == 1
    for _ in range(20):
        play.step()
    assert resumed in play.answered


@settings(max_examples=60, deadline=None)
@given(
    parallel=st.integers(1, 5),
    extra=st.integers(0, 60),
    requests=st.lists(
        st.tuples(st.sampled_from(["", "ann", "bob", "cat", "dan"]), st.integers(1, 1024), st.integers(1, 80)),
        min_size=1,
        max_size=25,
    ),
    steps=st.lists(st.integers(0, 9), min_size=25, max_size=25),
)
def test_no_request_starves(parallel: int, extra: int, requests: list[tuple[str, int, int]], steps: list[int]) -> None:
    play = Play(parallel, 1024, extra=extra)
    for (client, prompt, answer), count in zip(requests, steps, strict=False):
        play.submit(client, prompt, answer)
        for _ in range(count):
            play.step()
    for _ in range(25 * 1200):
        if not play.left:
            break
        play.step()
    assert not play.left
    assert play.answered == set(play.clients)


def test_requests_that_pass_leave_what_a_long_one_waits_for() -> None:
    """Short requests of new clients come without end; what ends before is kept for the long one."""
    play = Play(8, 4096, recurrent=False)
    for client in range(4):
        play.submit(f"first {client}", 1000, 4 + 6 * client)
    play.step()
    long = play.submit("bob", 4000, 96)
    shorts = []
    for number in range(300):
        shorts.append(play.submit(f"short {number}", 400, 30))
        play.step()
        waiting = {play.clients[n] for n in play.scheduler.waiting}
        if "bob" in waiting:
            assert play.scheduler._passing.fits(play.reserve)
        if long in play.answered:
            break
    assert long in play.answered, "the long request starves"
    assert len(play.answered & set(shorts)) >= 1, "short requests do not pass"


def test_a_client_passes_with_one_request_so_that_another_can_pass_too() -> None:
    play = Play(5, 4000, recurrent=False, extra=20)
    play.submit("ann", 3900, 96)
    play.step()
    play.submit("bob", 3900, 96)
    for _ in range(3):
        play.submit("cat", 250, 90)
    play.step()
    assert play.running("cat") == 1
    assert play.steps_to_first_token(play.submit("dan", 300, 9)) == 1


def test_without_a_name_a_client_uses_everything() -> None:
    """The Python API and the command line have one user."""
    play = Play(4, 1024, extra=1000)
    for _ in range(6):
        play.submit("", 1000, 20)
    play.step()
    assert play.running("") == 4
    named = Play(4, 1024, extra=1000)
    for _ in range(6):
        named.submit("ann", 1000, 20)
    named.step()
    assert named.running("ann") == 3


def test_measuring_answers_alone_is_put_off_for_a_new_client_but_not_for_ever() -> None:
    scheduler = Scheduler(Demand(1000), chunk=64, most_running=200)
    scheduler.submit(0, 1, Demand(1), client="ann")
    scheduler.admit(0)
    scheduler.computed(scheduler.plan({})[0])
    alone = 0
    for number in range(1, 3 * MEASURE_EVERY):
        scheduler.submit(number, 1000, Demand(1), client=f"client {number}")  # a new client in each step
        scheduler.admit(number)
        scheduler.extend(0)
        spans = scheduler.plan({})
        alone += len(spans) == 1
        for span in spans:
            scheduler.computed(span)
        scheduler.measured(1, sum(span.rows for span in spans) - 1, 0.01)
    assert alone == 1
