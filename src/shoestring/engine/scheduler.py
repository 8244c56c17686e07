"""The scheduler decides which rows the next step computes: pure arithmetic over counters. No model, arrays or clock.

Requests of one client wait in order, and clients take turns. The next request in turn is admitted once its worst-case
demand (pages and slots for its longest possible answer) fits beside the running ones. Later requests never overtake
it, so none starves, and no memory is reserved twice.

A step first computes the answers, one row each or as many as were forced, then pieces of prompts up to a budget of
rows, starting with the client that was served least recently. While an answer is running, the budget is the number of
rows that took WAIT_SECONDS in earlier steps. Chunking changes no bits, so any choice is correct.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shoestring.errors import CapacityError
from shoestring.models.layout import Demand

#: Most that prompts may add to the time of a step with answers.
WAIT_SECONDS = 0.25
#: Rows of prompts beside an answer until a step with prompts has been measured.
FIRST_ROWS = 32
#: One step in so many computes answers alone, to measure them.
MEASURE_EVERY = 32


@dataclass(frozen=True)
class Span:
    """The next `rows` tokens of request `number`."""

    number: int
    rows: int


@dataclass(frozen=True)
class _Waiting:
    number: int
    demand: Demand
    tokens: int
    chunk: int


@dataclass
class _Running:
    demand: Demand
    #: known tokens that are not computed yet
    remaining: int
    chunk: int
    client: str
    #: the prompt is computed
    answering: bool = False
    #: turn in which rows of its prompt were last computed
    served: int = 0


class Scheduler:
    """Counters of all requests. chunk: most rows of a prompt in one step. most_running: requests at once."""

    def __init__(self, capacity: Demand, *, chunk: int, most_running: int) -> None:
        self.capacity = capacity
        self.chunk = chunk
        self.most_running = most_running
        self._queues: dict[str, deque[_Waiting]] = {}  # in the order of the clients' turns
        self._running: dict[int, _Running] = {}
        self._served: dict[str, int] = {}
        self._turns = 0
        #: the last step with answers alone: its time, its answers, and how many steps ago it was
        self._alone_seconds = 0.0
        self._alone_answers = 0
        self._alone_age = 0
        self._row_seconds: float | None = None

    @property
    def reserved(self) -> Demand:
        """Sum of the worst-case demands of the running requests."""
        total = Demand()
        for running in self._running.values():
            total = total + running.demand
        return total

    @property
    def waiting(self) -> tuple[int, ...]:
        return tuple(waiting.number for queue in self._queues.values() for waiting in queue)

    @property
    def running(self) -> tuple[int, ...]:
        return tuple(self._running)

    # --- waiting -----------------------------------------------------------------------------------------------

    def submit(self, number: int, tokens: int, demand: Demand, chunk: int | None = None, client: str = "") -> None:
        """Queue a request of `tokens` known tokens. Raises CapacityError if it could never be admitted."""
        if not demand.fits(self.capacity):
            raise CapacityError(
                f"the request needs {demand.global_pages} pages of context, {demand.chunk_pages} of a chunk and "
                f"{demand.slots} state slots, the engine has {self.capacity.global_pages}, "
                f"{self.capacity.chunk_pages} and {self.capacity.slots}: choose a larger --context"
            )
        self._queues.setdefault(client, deque()).append(_Waiting(number, demand, tokens, chunk or self.chunk))

    def next_in_turn(self, skipped: Collection[int] = ()) -> int | None:
        """The request to admit next, without `skipped`; None if none waits or `most_running` are running."""
        if len(self._running) >= self.most_running:
            return None
        for queue in self._queues.values():
            for waiting in queue:
                if waiting.number not in skipped:
                    return waiting.number
        return None

    def demand(self, number: int) -> Demand:
        """A request's worst-case demand."""
        if number in self._running:
            return self._running[number].demand
        return next(w.demand for queue in self._queues.values() for w in queue if w.number == number)

    def admit(self, number: int, reused: int = 0) -> None:
        """Start a waiting request; the next turn is another client's. reused: tokens from the cache."""
        client = next(c for c, queue in self._queues.items() if any(w.number == number for w in queue))
        queue = self._queues.pop(client)
        waiting = next(w for w in queue if w.number == number)
        queue.remove(waiting)
        if queue:
            self._queues[client] = queue
        self._running[number] = _Running(waiting.demand, waiting.tokens - reused, waiting.chunk, client)

    # --- running -----------------------------------------------------------------------------------------------

    def plan(self, edges: Mapping[int, int]) -> tuple[Span, ...]:
        """The spans of the next step. edges: request → rows until its attention chunk ends."""
        answers = {n: r for n, r in self._running.items() if r.answering and r.remaining}
        prompts = {n: r for n, r in self._running.items() if not r.answering and r.remaining}
        left = self.budget(bool(answers), max((r.chunk for r in prompts.values()), default=self.chunk))
        spans = []
        for number, running in answers.items():
            rows = min(running.remaining, edges.get(number, running.remaining), 1 + left)
            spans.append(Span(number, rows))
            left -= rows - 1
        if self._is_unmeasured(len(answers)) and all(span.rows == 1 for span in spans):
            return tuple(spans)
        left = max(left, 1)  # forced tokens never starve prompts
        for number in sorted(prompts, key=self._turn_of):
            running = prompts[number]
            rows = min(running.remaining, running.chunk, edges.get(number, running.remaining), left)
            if rows > 0:
                spans.append(Span(number, rows))
                left -= rows
        return tuple(spans)

    def _turn_of(self, number: int) -> tuple[int, int, int]:
        running = self._running[number]
        return self._served.get(running.client, 0), running.served, number

    def budget(self, answering: bool, most: int) -> int:
        """Rows that a step may compute beyond one for each answer; at most `most`."""
        if not answering:
            return most
        if self._row_seconds is None:
            return min(most, FIRST_ROWS)
        return max(1, min(most, int(WAIT_SECONDS / self._row_seconds)))

    def _is_unmeasured(self, answers: int) -> bool:
        """Whether the next step should compute the answers alone, to measure them."""
        if not answers:
            return False
        few, many = sorted((answers, self._alone_answers))
        return 2 * many > 3 * few or self._alone_age >= MEASURE_EVERY

    def measured(self, answers: int, rows: int, seconds: float) -> None:
        """Record the time of a step with `rows` rows beyond one for each of `answers`. Decides chunks, never bits.

        A higher time per row counts at once, a lower one by half.
        """
        self._alone_age += 1
        if answers and not rows:
            self._alone_seconds, self._alone_answers, self._alone_age = seconds, answers, 0
        elif rows:
            beyond = max(seconds - self._alone_seconds, seconds / 100) if answers else seconds
            row_seconds = max(beyond / rows, 1e-9)
            before = self._row_seconds or 0.0
            self._row_seconds = row_seconds if row_seconds > before else (before + row_seconds) / 2

    def computed(self, span: Span) -> None:
        """Account for a computed span."""
        running = self._running[span.number]
        running.remaining -= span.rows
        if not running.answering:
            self._turns += 1
            running.served = self._served[running.client] = self._turns
            running.answering = running.remaining == 0

    def extend(self, number: int) -> None:
        """Count a sampled or forced token, which a later step computes."""
        self._running[number].remaining += 1

    def is_answering(self, number: int) -> bool:
        """Whether its prompt is computed."""
        return self._running[number].answering

    def remaining(self, number: int) -> int:
        return self._running[number].remaining

    def finish(self, number: int) -> None:
        """End a running or waiting request and free what it reserved."""
        self._running.pop(number, None)
        for client, queue in [*self._queues.items()]:
            others = deque(w for w in queue if w.number != number)
            if others:
                self._queues[client] = others
            else:
                del self._queues[client]
        clients = {running.client for running in self._running.values()} | self._queues.keys()
        self._served = {client: turn for client, turn in self._served.items() if client in clients}
