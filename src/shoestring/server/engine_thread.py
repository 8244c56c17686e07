"""The engine's thread: the only one that touches the model. Takes tickets and cancels, steps, hands out what comes.

A step that fails ends the requests that it ran, with an error of their own; the thread lives on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from shoestring.engine.engine import Delivery, Engine
from shoestring.engine.request import Counts
from shoestring.server.errors import ApiError, from_exception, shutting_down
from shoestring.server.machines import taken
from shoestring.server.request import Progress, Started, StreamItem, Usage
from shoestring.server.ticket import End, Ticket


class EngineThread:
    """Owns the engine from `start` to `stop`."""

    def __init__(self, engine: Engine, check: Callable[[], None] = lambda: None) -> None:
        """check: called before a request is taken, raises when the model's files have changed."""
        self._engine = engine
        self._check = check
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._owners: dict[int, tuple[Ticket, int]] = {}
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        #: steps run so far
        self.steps = 0

    # --- from any thread

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, ticket: Ticket) -> None:
        self._inbox.put(lambda: self._take(ticket))

    def cancel(self, ticket: Ticket) -> None:
        """Its client has gone: it is out of the engine before the next step."""
        self._inbox.put(lambda: self._cancel(ticket))

    def ask(self, tell: Callable[[Counts], None]) -> None:
        """`tell` gets the engine's sums, in the engine's thread."""
        self._inbox.put(lambda: tell(self._engine.counts()))

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End the thread; what still runs is ended with an error."""
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)

    # --- in the engine's thread

    def _run(self) -> None:
        while self._read_inbox():
            try:
                self._engine.step()
            except Exception as error:
                self._failed(error)
            self.steps += 1
            self._dispatch()
        self._refuse_rest()
        for ticket in dict.fromkeys(ticket for ticket, _ in self._owners.values()):
            self._end(ticket, shutting_down())

    def _read_inbox(self) -> bool:
        """Do what was asked; wait for it when there is nothing else to do. False: stop."""
        while True:
            try:
                command = self._inbox.get(block=self._engine.idle)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()

    def _refuse_rest(self) -> None:
        """Those that came after the end was asked for."""
        while not self._inbox.empty():
            command = self._inbox.get()
            if command is not None:
                command()

    def _take(self, ticket: Ticket) -> None:
        if ticket.over:
            return
        try:
            self._check()
            for choice, machine in enumerate(ticket.machines):
                number = self._engine.generate(
                    ticket.prompt.tokens,
                    ticket.sampling,
                    max_tokens=ticket.max_tokens,
                    stop_ids=ticket.stop_ids,
                    boundaries=ticket.prompt.boundaries,
                    index=choice,
                    guide=machine,
                    client=ticket.client,
                )
                ticket.numbers.append(number)
                ticket.unfinished.add(choice)
                self._owners[number] = (ticket, choice)
            ticket.accept()
        except Exception as error:
            ticket.accept(from_exception(error))
            self._end(ticket, None)

    def _cancel(self, ticket: Ticket) -> None:
        if not ticket.over:
            ticket.record.finish = ticket.record.finish or "cancelled"
            self._end(ticket, None)

    def _end(self, ticket: Ticket, end: End) -> None:
        ticket.over = True
        ticket.accept(end)
        for number in ticket.numbers:
            self._engine.cancel(number)
            self._owners.pop(number, None)
        ticket.send([end])

    def _failed(self, error: Exception) -> None:
        """End the requests that the failed step has dropped; where it dropped none, all of them."""
        told = self._told(error)
        tickets = list(dict.fromkeys(ticket for ticket, _ in self._owners.values()))
        lost = [ticket for ticket in tickets if any(self._is_lost(ticket, choice) for choice in ticket.unfinished)]
        for ticket in lost or tickets:
            self._end(ticket, told)

    def _told(self, error: Exception) -> ApiError:
        """What a client learns of a failure that it did not cause."""
        told = from_exception(error)
        return told if told.status >= 500 else ApiError(500, told.message, "step_failed")

    def _is_lost(self, ticket: Ticket, choice: int) -> bool:
        return self._engine.status(ticket.numbers[choice]).state == "over"

    def _dispatch(self) -> None:
        now = time.perf_counter()
        news: dict[Ticket, list[Delivery]] = {}
        for delivery in self._engine.collect():
            owner = self._owners.get(delivery.number)
            if owner is not None:
                news.setdefault(owner[0], []).append(delivery)
        for ticket in dict.fromkeys(ticket for ticket, _ in self._owners.values()):
            items: list[StreamItem | End] = self._progress(ticket, now)
            try:
                for delivery in news.get(ticket, ()):
                    items += self._deliver(ticket, delivery, now)
            except Exception as error:
                ticket.send(items)
                self._end(ticket, self._told(error))
                continue
            ticket.send(items)
            if not ticket.unfinished and not ticket.over:
                self._end(ticket, None)

    def _progress(self, ticket: Ticket, now: float) -> list[StreamItem | End]:
        """That a request has begun, and how much of its prompt is computed."""
        status = self._engine.status(ticket.numbers[0])
        items: list[StreamItem | End] = []
        if status.state == "waiting":
            return items
        if not ticket.started:
            ticket.started = True
            ticket.cached_tokens = status.cached_tokens
            ticket.record.admitted = now
            ticket.record.cached_tokens += status.cached_tokens
            items.append(Started(len(ticket.prompt.tokens), status.cached_tokens))
        computed = status.cached_tokens + status.computed_tokens
        if status.state == "running" and not ticket.latest and computed != ticket.computed:
            ticket.computed = computed
            items.append(Progress(computed, len(ticket.prompt.tokens)))
        return items

    def _deliver(self, ticket: Ticket, delivery: Delivery, now: float) -> list[StreamItem | End]:
        _, choice = self._owners[delivery.number]
        if choice not in ticket.unfinished:
            return []
        if delivery.error is not None:
            raise delivery.error
        record = ticket.record
        ticket.output_tokens += 1
        record.output_tokens += 1
        record.first_token = record.first_token or now
        record.last_token = now
        if choice in ticket.latest:
            record.gaps.append(now - ticket.latest[choice])
        ticket.latest[choice] = now
        delta, finished = taken(ticket.machines[choice], choice, delivery)
        items: list[StreamItem | End] = [delta]
        if finished is not None:
            items.append(finished)
            record.finish = f"{record.finish}+{finished.reason}" if record.finish else finished.reason
            ticket.unfinished.discard(choice)
            self._engine.cancel(delivery.number)
            if not ticket.unfinished:
                thinking = sum(machine.thinking_tokens for machine in ticket.machines)
                items.append(Usage(len(ticket.prompt.tokens), ticket.cached_tokens, ticket.output_tokens, thinking))
        return items
