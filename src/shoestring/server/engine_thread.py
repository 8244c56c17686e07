"""The engine's thread: the only one that touches the model. Takes tickets and cancels, steps, hands out what comes.

A step that fails ends the requests that it ran, with an error of their own; the thread lives on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable

from shoestring.engine.request import Counts, Delivery
from shoestring.runtime.answers import Answers, Delta, Finished
from shoestring.runtime.model import Model
from shoestring.server.errors import ApiError, from_exception, shutting_down
from shoestring.server.request import Progress, Started, StreamItem
from shoestring.server.ticket import End, Ticket


class EngineThread:
    """Owns the engine from `start` to `stop`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._engine = model.engine
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._owners: dict[int, Ticket] = {}
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
        for ticket in self._tickets():
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
            ticket.answers = self._model.submit(ticket.prompt, ticket.options, ticket.form)
            self._owners |= dict.fromkeys(ticket.answers.numbers, ticket)
            ticket.accept()
        except Exception as error:
            ticket.accept(from_exception(error))
            self._end(ticket, None)

    def _tickets(self) -> Iterable[Ticket]:
        return dict.fromkeys(self._owners.values())

    def _cancel(self, ticket: Ticket) -> None:
        if not ticket.over:
            ticket.record.finish = ticket.record.finish or "cancelled"
            self._end(ticket, None)

    def _end(self, ticket: Ticket, end: End) -> None:
        ticket.over = True
        ticket.accept(end)
        if ticket.answers is not None:
            ticket.answers.close()
        self._owners = {number: owner for number, owner in self._owners.items() if owner is not ticket}
        ticket.send([end])

    def _failed(self, error: Exception) -> None:
        """End the requests that the failed step has dropped; where it dropped none, all of them."""
        told = self._told(error)
        tickets = list(self._tickets())
        for ticket in [t for t in tickets if t.answers and t.answers.is_lost()] or tickets:
            self._end(ticket, told)

    def _told(self, error: Exception) -> ApiError:
        """What a client learns of a failure that it did not cause."""
        told = from_exception(error)
        return told if told.status >= 500 else ApiError(500, told.message, "step_failed")

    def _dispatch(self) -> None:
        now = time.perf_counter()
        news: dict[Ticket, list[Delivery]] = {}
        for delivery in self._engine.collect():
            if delivery.number in self._owners:
                news.setdefault(self._owners[delivery.number], []).append(delivery)
        for ticket in self._tickets():
            answers = ticket.answers
            assert answers is not None
            items: list[StreamItem | End] = self._progress(ticket, answers, now)
            try:
                for delivery in news.get(ticket, ()):
                    found = answers.take(delivery)
                    self._record(ticket, found, now)
                    items += found
            except Exception as error:
                ticket.send(items)
                self._end(ticket, self._told(error))
                continue
            ticket.send(items)
            if not answers.numbers:
                self._end(ticket, None)

    def _progress(self, ticket: Ticket, answers: Answers, now: float) -> list[StreamItem | End]:
        """That a request has begun, and how much of its prompt is computed."""
        status = self._engine.status(answers.numbers[0])
        items: list[StreamItem | End] = []
        if status.state == "waiting":
            return items
        if not ticket.started:
            ticket.started = True
            ticket.record.admitted = now
            ticket.record.cached_tokens += status.cached_tokens
            items.append(Started(len(ticket.prompt.tokens), status.cached_tokens))
        computed = status.cached_tokens + status.computed_tokens
        if status.state == "running" and not ticket.latest and computed != ticket.computed:
            ticket.computed = computed
            items.append(Progress(computed, len(ticket.prompt.tokens)))
        return items

    def _record(self, ticket: Ticket, items: Iterable[StreamItem], now: float) -> None:
        """Times, tokens and ends, for the log and the metrics."""
        record = ticket.record
        for item in items:
            match item:
                case Delta(choice):
                    record.output_tokens += 1
                    record.first_token = record.first_token or now
                    record.last_token = now
                    if choice in ticket.latest:
                        record.gaps.append(now - ticket.latest[choice])
                    ticket.latest[choice] = now
                case Finished(_, reason):
                    record.finish = f"{record.finish}+{reason}" if record.finish else reason
