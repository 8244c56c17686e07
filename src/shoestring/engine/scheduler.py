"""Who computes what next: pure arithmetic over counters. No model, no arrays, no clock.

Requests wait in the order in which they came. The first is admitted when its whole demand (pages and slots
for its longest possible life) fits beside those that run; nobody overtakes it, so nobody starves, and memory
is never promised twice. A step takes the decodes first (one row each), then pieces of prompts in order of
arrival, under a budget of rows. Chunking changes no bits, so it is free to choose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from shoestring.engine.cache import Demand
from shoestring.errors import CapacityError


@dataclass(frozen=True)
class Span:
    """The next `rows` tokens of request `number`."""

    number: int
    rows: int


@dataclass
class _Running:
    demand: Demand
    #: tokens known and not computed
    remaining: int
    chunk: int


class Scheduler:
    """Counters of all requests. `chunk`: most rows of a prompt in one step; `most_running`: requests at once."""

    def __init__(self, capacity: Demand, *, chunk: int, most_running: int) -> None:
        self.capacity = capacity
        self.chunk = chunk
        self.most_running = most_running
        self._waiting: deque[tuple[int, Demand, int, int]] = deque()
        self._running: dict[int, _Running] = {}

    @property
    def reserved(self) -> Demand:
        """What the running requests may come to hold."""
        total = Demand()
        for running in self._running.values():
            total = total + running.demand
        return total

    @property
    def waiting(self) -> tuple[int, ...]:
        return tuple(number for number, *_ in self._waiting)

    @property
    def running(self) -> tuple[int, ...]:
        return tuple(self._running)

    def submit(self, number: int, tokens: int, demand: Demand, chunk: int | None = None) -> None:
        """A new request of `tokens` known tokens. Raises CapacityError when it could never be admitted."""
        if not demand.fits(self.capacity):
            raise CapacityError(
                f"the request needs {demand.global_pages} pages of context, {demand.chunk_pages} of a chunk and "
                f"{demand.slots} state slots, the engine has {self.capacity.global_pages}, "
                f"{self.capacity.chunk_pages} and {self.capacity.slots}: choose a larger --context"
            )
        self._waiting.append((number, demand, tokens, chunk or self.chunk))

    def admit(self) -> tuple[int, ...]:
        """Those that run from now on, in order of arrival."""
        admitted = []
        while self._waiting and len(self._running) < self.most_running:
            number, demand, tokens, chunk = self._waiting[0]
            if not (self.reserved + demand).fits(self.capacity):
                break
            self._waiting.popleft()
            self._running[number] = _Running(demand, tokens, chunk)
            admitted.append(number)
        return tuple(admitted)

    def reused(self, number: int, tokens: int) -> None:
        """The first `tokens` of a request need not be computed."""
        self._running[number].remaining -= tokens

    def plan(self, edges: Mapping[int, int]) -> tuple[Span, ...]:
        """The spans of the next step. `edges`: rows that a request may take before its attention chunk ends."""
        spans = [Span(n, 1) for n, r in self._running.items() if r.remaining == 1]
        prompts = {n: r for n, r in self._running.items() if r.remaining > 1}
        # Every prompt's chunk is the budget that its own request asked for; the first one always gets a row.
        budget = max((r.chunk for r in prompts.values()), default=0)
        left = max(budget - len(spans), 1)
        for number, running in prompts.items():
            rows = min(running.remaining, running.chunk, edges.get(number, running.remaining), left)
            if rows > 0:
                spans.append(Span(number, rows))
                left -= rows
        return tuple(spans)

    def computed(self, span: Span) -> None:
        """A span has been computed."""
        self._running[span.number].remaining -= span.rows

    def extend(self, number: int) -> None:
        """A token was sampled and awaits computing."""
        self._running[number].remaining += 1

    def remaining(self, number: int) -> int:
        return self._running[number].remaining

    def finish(self, number: int) -> None:
        """A request is over, running or waiting; what it had reserved is free."""
        self._running.pop(number, None)
        self._waiting = deque(item for item in self._waiting if item[0] != number)
