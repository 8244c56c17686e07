"""The scheduler decides which rows the next step computes: pure arithmetic over counters. No model, arrays or clock.

Requests of one client wait in order, and clients take turns. The next request in turn is admitted once its worst-case
demand (pages and slots for its longest possible answer) fits beside the running ones. No memory is reserved twice.

A client that has a name and already runs a request leaves the last place, and the memory `reserve`, to others, even
while no other client waits. So the next client can begin at once. While the request in turn waits for memory, only
requests that fit into the reserve together may pass it, of clients that run nothing. What it waits for is never given
away, so no request starves.

A step first computes the answers, one row each or as many as were forced, then pieces of prompts up to a budget of
rows. While an answer is running, the budget is the number of rows that took WAIT_SECONDS in earlier steps. Chunking
changes no bits, so any choice is correct.

Clients share the rows of prompts evenly (weighted fair queueing): first comes the piece that would end first if all
clients' prompts were computed row by row in turn. So a prompt of a share divided by the number of clients waits for the
step in progress and for one share at most, if its client had no more rows than others.

With passes (passes.py), steps have rows of answers alone, and prompts are planned by `plan_pass`, in the same order. A
prompt never joins a step of answers: its rows would read nearly all experts of all layers, as a whole pass does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from shoestring.errors import CapacityError
from shoestring.models.layout import Demand
from shoestring.models.slices import ANSWER_ROWS
from shoestring.spelling import option

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
    #: turn in which rows of its prompt were last computed, or it was admitted
    turn: int = 0
    #: admitted before a request in turn, in memory of the reserve
    passing: bool = False
    #: clients that wait for this prompt and lend it their turns
    lenders: frozenset[str] = frozenset()

    @property
    def clients(self) -> frozenset[str]:
        """The clients in whose turns its prompt is computed."""
        return self.lenders | {self.client}


class Scheduler:
    """Counters of all requests. chunk: most rows of a prompt in one step. most_running: requests at once.

    reserve: memory that a client with a running request leaves to others. The longest request must fit beside it.
    passes: prompts are computed in passes, of `chunk` rows together.
    """

    def __init__(
        self,
        capacity: Demand,
        *,
        chunk: int,
        most_running: int,
        reserve: Demand | None = None,
        passes: bool = False,
    ) -> None:
        self.capacity = capacity
        self.passes = passes
        self.reserve = reserve or Demand()
        self.chunk = chunk
        self.most_running = most_running
        self._queues: dict[str, deque[_Waiting]] = {}  # in the order of the clients' turns
        self._running: dict[int, _Running] = {}
        #: rows that were computed for each client that has a prompt, or has had more rows than others
        self._rows: dict[str, float] = {}
        #: what they would be if all clients had had the same; where a new client begins
        self._even = 0.0
        self._turns = 0
        #: the last step with answers alone: its time, its answers, and how many steps ago it was
        self._alone_seconds = 0.0
        self._alone_answers = 0
        self._alone_age = 0
        self._row_seconds: float | None = None

    @property
    def reserved(self) -> Demand:
        """Sum of the worst-case demands of the running requests."""
        return _sum(running.demand for running in self._running.values())

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
                f"{self.capacity.chunk_pages} and {self.capacity.slots}: choose a larger {option('context')}"
            )
        self._queues.setdefault(client, deque()).append(_Waiting(number, demand, tokens, chunk or self.chunk))

    def next_in_turn(
        self, skipped: Collection[int] = (), blocked: Collection[str] = (), passing: bool = False
    ) -> int | None:
        """The request to admit next, without those `skipped` and those of `blocked` clients; None: no place, or none.

        passing: only what may pass a request in turn that waits for memory.
        """
        free = self.most_running - len(self._running)
        for client, queue in self._queues.items():
            runs = self.runs(client)
            if client in blocked or free < (2 if runs and client else 1) or (runs and passing):
                continue
            for waiting in queue:
                if waiting.number not in skipped:
                    if not passing or (self._passing + waiting.demand).fits(self.reserve):
                        return waiting.number
                    break
        return None

    @property
    def _passing(self) -> Demand:
        return _sum(running.demand for running in self._running.values() if running.passing)

    def client(self, number: int) -> str:
        """Whose request it is."""
        if number in self._running:
            return self._running[number].client
        return next(c for c, queue in self._queues.items() if any(w.number == number for w in queue))

    def runs(self, client: str) -> bool:
        """Whether one of the client's requests is running."""
        return any(running.client == client for running in self._running.values())

    def left_to_others(self, number: int) -> Demand:
        """The memory that must stay available when the request starts."""
        client = self.client(number)
        return self.reserve if client and self.runs(client) else Demand()

    def demand(self, number: int) -> Demand:
        """A request's worst-case demand."""
        if number in self._running:
            return self._running[number].demand
        return next(w.demand for queue in self._queues.values() for w in queue if w.number == number)

    def admit(self, number: int, reused: int = 0, passing: bool = False) -> None:
        """Start a waiting request; the next turn is another client's. reused: tokens from the cache."""
        client = self.client(number)
        queue = self._queues.pop(client)
        waiting = next(w for w in queue if w.number == number)
        queue.remove(waiting)
        if queue:
            self._queues[client] = queue
        self._rows.setdefault(client, self._even)
        left = waiting.tokens - reused
        self._running[number] = _Running(waiting.demand, left, waiting.chunk, client, passing=passing, turn=self._turns)

    def lend(self, client: str, number: int) -> None:
        """A waiting request of the client needs the prompt of request `number`, which is computed in its turns too."""
        running = self._running[number]
        running.lenders |= {client}

    def end_loans(self) -> None:
        """Give all turns back to their clients."""
        for running in self._running.values():
            running.lenders = frozenset()

    # --- running -----------------------------------------------------------------------------------------------

    def plan(self, edges: Mapping[int, int]) -> tuple[Span, ...]:
        """The spans of the next step.

        edges: request → rows until its attention chunk ends; 0: its next rows are not ready (pictures/placed.py).
        """
        answers = {n: r for n, r in self._running.items() if r.answering and r.remaining}
        if self.passes:
            return self._answers(answers, edges, ANSWER_ROWS)
        prompts = self._unfinished_prompts(edges)
        left = self.budget(bool(answers), max((r.chunk for r in prompts.values()), default=self.chunk))
        forced = left // 2 if _of_others(answers.values(), prompts.values()) else left
        spans = self._answers(answers, edges, forced)
        alone = self._is_unmeasured(len(answers)) and not self._has_new_client(answers.values(), prompts.values())
        if alone and all(span.rows == 1 for span in spans):
            return spans
        left -= sum(span.rows - 1 for span in spans)
        return spans + self._prompts(prompts, edges, max(left, 1))  # forced tokens never starve prompts

    def plan_pass(self, edges: Mapping[int, int]) -> tuple[Span, ...]:
        """The spans of the next pass, of prompts alone. None may be in flight."""
        return self._prompts(self._unfinished_prompts(edges), edges, self.chunk)

    def _unfinished_prompts(self, edges: Mapping[int, int]) -> dict[int, _Running]:
        return {n: r for n, r in self._running.items() if not r.answering and r.remaining and edges.get(n, 1)}

    def wanted(self, number: int) -> int:
        """Rows of a prompt in a step that takes as many as it can."""
        running = self._running[number]
        return min(running.remaining, running.chunk)

    def first_of(self, numbers: Collection[int]) -> int:
        """Of some prompts, the one whose next piece comes first."""
        return min(numbers, key=lambda number: self._end_of(number, self._rows))

    def encoded(self, number: int, rows: int) -> None:
        """Count rows of pictures that the tower has encoded in the turns of a prompt's clients, beside its own rows."""
        running = self._running[number]
        self._rows |= {client: self._rows.get(client, self._even) + rows for client in running.clients}
        self._even += rows / max(1, len(self._with_prompts()))
        self._settle()

    def _answers(self, answers: Mapping[int, _Running], edges: Mapping[int, int], forced: int) -> tuple[Span, ...]:
        """One row for each answer, and up to `forced` rows of forced tokens in all."""
        spans = []
        for number, running in answers.items():
            rows = min(running.remaining, edges.get(number, running.remaining), 1 + forced)
            spans.append(Span(number, rows))
            forced -= rows - 1
        return tuple(spans)

    def _prompts(self, prompts: Mapping[int, _Running], edges: Mapping[int, int], left: int) -> tuple[Span, ...]:
        """Pieces of prompts up to `left` rows, in the order of their ends."""
        spans: list[Span] = []
        waiting, had = dict(prompts), dict(self._rows)
        while left and waiting:
            first: dict[str, int] = {}  # a client's own prompts take turns
            for number in sorted(waiting, key=lambda number: (waiting[number].turn, number)):
                first.setdefault(waiting[number].client, number)
            number = min(first.values(), key=lambda number: self._end_of(number, had))
            running = waiting.pop(number)
            rows = min(running.remaining, running.chunk, edges.get(number, running.remaining), left)
            spans.append(Span(number, rows))
            had |= {client: had.get(client, self._even) + rows for client in running.clients}
            left -= rows
        return tuple(spans)

    def _has_new_client(self, answers: Collection[_Running], prompts: Collection[_Running]) -> bool:
        """Whether a client waits for its first token while only others answer. Then measuring can wait, for a while."""
        answering = {running.client for running in answers}
        return self._alone_age < 2 * MEASURE_EVERY and any(prompt.clients - answering for prompt in prompts)

    def _end_of(self, number: int, had: Mapping[str, float]) -> tuple[float, int]:
        """When the prompt's next piece would end if its clients had these rows."""
        running = self._running[number]
        begins = min(had.get(client, self._even) for client in running.clients)
        return begins + min(running.remaining, running.chunk), number

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
            running.turn = self._turns
            self._rows |= {client: self._rows.get(client, self._even) + span.rows for client in running.clients}
            self._even += span.rows / len(self._with_prompts())
            running.answering = running.remaining == 0
            self._settle()

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
        self._settle()

    def _with_prompts(self) -> set[str]:
        """The clients whose prompts are computed."""
        return {client for running in self._running.values() if not running.answering for client in running.clients}

    def _settle(self) -> None:
        """Forget the rows of clients that have had no more than others, and of all when no prompt is computed.

        Else a client that sends one short request after the other would be new each time and always come first.
        """
        clients = self._with_prompts()
        least = min((self._rows.get(client, self._even) for client in clients), default=0.0)
        self._even = max(self._even, least)
        self._rows = {c: rows for c, rows in self._rows.items() if clients and (c in clients or rows > self._even)}


def _of_others(answers: Collection[_Running], prompts: Collection[_Running]) -> bool:
    """Whether forced tokens of one client would take rows from the prompt of another."""
    forced = {running.client for running in answers if running.remaining > 1}
    return any(prompt.clients - {client} for prompt in prompts for client in forced)


def _sum(demands: Iterable[Demand]) -> Demand:
    total = Demand()
    for demand in demands:
        total = total + demand
    return total
