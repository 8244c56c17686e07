"""Who computes what next: pure arithmetic over counters. No model, no arrays, no clock.

Requests of one client wait in the order in which they came, and the clients take turns. Whose turn it is runs as
soon as its whole demand (pages and slots for its longest possible life) fits beside those that run; nobody
overtakes it, so nobody starves, and memory is never promised twice.

A step takes the answers first, one row each or as many as were forced, then pieces of prompts, those first that
have waited longest for their client's turn, under a budget of rows. While an answer is being written the budget is
what earlier steps have shown to take WAIT_SECONDS. Chunking changes no bits, so it is free to choose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shoestring.errors import CapacityError
from shoestring.models.layout import Demand

#: What others' prompts may add to a step of an answer.
WAIT_SECONDS = 0.25
#: Rows of prompts beside an answer as long as no step with prompts has been measured.
FIRST_ROWS = 32
#: So often the answers have a step for themselves, to know what they take alone.
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
    #: tokens known and not computed
    remaining: int
    chunk: int
    client: str
    #: its prompt is computed
    answering: bool = False
    #: when rows of its prompt were computed last
    served: int = 0


class Scheduler:
    """Counters of all requests. `chunk`: most rows of a prompt in one step; `most_running`: requests at once."""

    def __init__(self, capacity: Demand, *, chunk: int, most_running: int) -> None:
        self.capacity = capacity
        self.chunk = chunk
        self.most_running = most_running
        self._queues: dict[str, deque[_Waiting]] = {}  # in the order of the clients' turns
        self._running: dict[int, _Running] = {}
        self._served: dict[str, int] = {}
        self._turns = 0
        #: what a step took with answers alone, of how many, and how many steps ago
        self._alone_seconds = 0.0
        self._alone_answers = 0
        self._alone_age = 0
        self._row_seconds: float | None = None

    @property
    def reserved(self) -> Demand:
        """What the running requests may come to hold, each for itself."""
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
        """A new request of `tokens` known tokens. Raises CapacityError when it could never be admitted."""
        if not demand.fits(self.capacity):
            raise CapacityError(
                f"the request needs {demand.global_pages} pages of context, {demand.chunk_pages} of a chunk and "
                f"{demand.slots} state slots, the engine has {self.capacity.global_pages}, "
                f"{self.capacity.chunk_pages} and {self.capacity.slots}: choose a larger --context"
            )
        self._queues.setdefault(client, deque()).append(_Waiting(number, demand, tokens, chunk or self.chunk))

    def turn(self, held: Collection[int] = ()) -> int | None:
        """Whose turn it is to be admitted, if there is room for one more; `held` let others pass."""
        if len(self._running) >= self.most_running:
            return None
        for queue in self._queues.values():
            for waiting in queue:
                if waiting.number not in held:
                    return waiting.number
        return None

    def demand(self, number: int) -> Demand:
        """What a request may come to hold."""
        if number in self._running:
            return self._running[number].demand
        return next(w.demand for queue in self._queues.values() for w in queue if w.number == number)

    def admit(self, number: int, reused: int = 0) -> None:
        """It runs from now on, and the next turn is another client's. reused: tokens that need no computing."""
        client = next(c for c, queue in self._queues.items() if any(w.number == number for w in queue))
        queue = self._queues.pop(client)
        waiting = next(w for w in queue if w.number == number)
        queue.remove(waiting)
        if queue:
            self._queues[client] = queue
        self._running[number] = _Running(waiting.demand, waiting.tokens - reused, waiting.chunk, client)

    # --- running -----------------------------------------------------------------------------------------------

    def plan(self, edges: Mapping[int, int]) -> tuple[Span, ...]:
        """The spans of the next step. `edges`: rows that a request may take before its attention chunk ends."""
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
        left = max(left, 1)  # forced tokens do not stop prompts
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
        """Rows that a step may have beyond one for each answer."""
        if not answering:
            return most
        if self._row_seconds is None:
            return min(most, FIRST_ROWS)
        return max(1, min(most, int(WAIT_SECONDS / self._row_seconds)))

    def _is_unmeasured(self, answers: int) -> bool:
        """Whether these answers shall have the next step for themselves."""
        if not answers:
            return False
        few, many = sorted((answers, self._alone_answers))
        return 2 * many > 3 * few or self._alone_age >= MEASURE_EVERY

    def measured(self, answers: int, rows: int, seconds: float) -> None:
        """A step took so long, with `rows` rows beyond one for each of the answers. Decides chunks, never bits.

        A price of a row that rises is believed at once, one that falls by halves.
        """
        self._alone_age += 1
        if answers and not rows:
            self._alone_seconds, self._alone_answers, self._alone_age = seconds, answers, 0
        elif rows:
            beyond = max(seconds - self._alone_seconds, seconds / 100) if answers else seconds
            price = max(beyond / rows, 1e-9)
            known = self._row_seconds or 0.0
            self._row_seconds = price if price > known else (known + price) / 2

    def computed(self, span: Span) -> None:
        """A span has been computed."""
        running = self._running[span.number]
        running.remaining -= span.rows
        if not running.answering:
            self._turns += 1
            running.served = self._served[running.client] = self._turns
            running.answering = running.remaining == 0

    def extend(self, number: int) -> None:
        """A token was sampled or forced and awaits computing."""
        self._running[number].remaining += 1

    def is_answering(self, number: int) -> bool:
        """Its prompt is computed."""
        return self._running[number].answering

    def remaining(self, number: int) -> int:
        return self._running[number].remaining

    def finish(self, number: int) -> None:
        """A request is over, running or waiting; what it had reserved is free."""
        self._running.pop(number, None)
        for client, queue in [*self._queues.items()]:
            kept = deque(w for w in queue if w.number != number)
            if kept:
                self._queues[client] = kept
            else:
                del self._queues[client]
        clients = {running.client for running in self._running.values()} | self._queues.keys()
        self._served = {client: turn for client, turn in self._served.items() if client in clients}
