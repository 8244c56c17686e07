"""The engine's thread, the only one that uses the model: takes tickets and cancellations, runs steps, sends results.

If a step fails, its requests end with an error, and the thread continues.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from shoestring.engine.request import Counts, Delivery
from shoestring.runtime.answers import Answers, Delta, Finished
from shoestring.runtime.model import Model
from shoestring.server.errors import ApiError, from_exception, shutting_down
from shoestring.server.request import Progress, Started, StreamItem
from shoestring.server.ticket import End, Ticket

log = logging.getLogger("shoestring.server")

#: Times between tokens that a request's metrics count.
_MOST_GAPS = 10_000


class EngineThread:
    """Owns the engine from `start` to `stop`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._engine = model.engine
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._owners: dict[int, Ticket] = {}
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._stopping = False
        #: whether the log has said how long answers pause
        self._said_pause = False
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
        """Remove the request of a client that has disconnected, before the next step."""
        self._inbox.put(lambda: self._cancel(ticket))

    def counts(self) -> Future[Counts]:
        """The engine's counts after the current step."""
        counts: Future[Counts] = Future()

        def count() -> None:
            if counts.set_running_or_notify_cancel():
                counts.set_result(self._engine.counts())

        self._inbox.put(count)
        return counts

    def stop(self, timeout_seconds: float = 2.0) -> None:
        """Stop the thread; running requests end with an error. A second call does not wait again."""
        self._inbox.put(None)
        if self._thread.ident is not None and not self._stopping:
            self._stopping = True
            self._thread.join(timeout_seconds)

    # --- in the engine's thread

    def _run(self) -> None:
        while self._read_inbox():
            try:
                self._engine.step()
            except Exception as error:
                self._fail(error)
            self.steps += 1
            with self._engine.lock:
                self._dispatch()
        while not self._inbox.empty():  # requests that arrived after `stop`
            command = self._inbox.get()
            if command is not None:
                command()
        for ticket in self._tickets():
            self._end(ticket, shutting_down())

    def _read_inbox(self) -> bool:
        """Run all commands; wait for one if the engine is idle. Returns False to stop."""
        while True:
            try:
                command = self._inbox.get(block=self._engine.idle)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()

    def _take(self, ticket: Ticket) -> None:
        if ticket.over:
            return
        try:
            ticket.answers = self._model.submit(ticket.prompt, ticket.options, ticket.form)
        except Exception as error:
            self._end(ticket, from_exception(error))
        else:
            self._owners |= dict.fromkeys(ticket.answers.numbers, ticket)
            ticket.send([None])

    def _tickets(self) -> Iterable[Ticket]:
        return dict.fromkeys(self._owners.values())

    def _cancel(self, ticket: Ticket) -> None:
        if not ticket.over:
            ticket.record.finish = ticket.record.finish or "cancelled"
            self._end(ticket, None)

    def _end(self, ticket: Ticket, end: End) -> None:
        ticket.over = True
        if ticket.answers is not None:
            ticket.answers.close()
        self._owners = {number: owner for number, owner in self._owners.items() if owner is not ticket}
        ticket.send([end])

    def _fail(self, error: Exception) -> None:
        """End the requests that the failed step has dropped; all of them if it dropped none."""
        tickets = list(self._tickets())
        for ticket in [t for t in tickets if t.answers and t.answers.is_lost()] or tickets:
            self._end(ticket, _server_error(error))

    def _dispatch(self) -> None:
        now = time.perf_counter()
        deliveries: dict[Ticket, list[Delivery]] = {}
        for delivery in self._engine.collect():
            self._say_pause()
            if delivery.number in self._owners:
                deliveries.setdefault(self._owners[delivery.number], []).append(delivery)
        for ticket in self._tickets():
            answers = ticket.answers
            assert answers is not None
            items: list[StreamItem | End] = self._progress(ticket, answers, now)
            try:
                for delivery in deliveries.get(ticket, ()):
                    more = answers.take(delivery)
                    self._record(ticket, more, now)
                    items += more
            except Exception as error:
                ticket.send(items)
                self._end(ticket, from_exception(error))  # its own: a grammar that becomes too complex is a 400
                continue
            ticket.send(items)
            if not answers.numbers:
                self._end(ticket, None)

    def _progress(self, ticket: Ticket, answers: Answers, now: float) -> list[StreamItem | End]:
        """Items for the start of a request and the progress of its prompt."""
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
        """Record times, tokens and finish reasons, for the log and the metrics."""
        record = ticket.record
        for item in items:
            match item:
                case Delta(choice):
                    record.output_tokens += 1
                    record.first_token = record.first_token or now
                    record.last_token = now
                    self._count_experts(ticket)
                    if choice in ticket.latest and len(record.gaps) < _MOST_GAPS:
                        record.gaps.append(now - ticket.latest[choice])
                    ticket.latest[choice] = now
                case Finished(_, reason, _, inside):
                    how = f"{reason} inside thinking" if inside else reason
                    record.finish = f"{record.finish}+{how}" if record.finish else how

    def _count_experts(self, ticket: Ticket) -> None:
        """Record what streaming did since the request's first token."""
        streaming = self._model.streaming
        if streaming is None:
            return
        totals = streaming.totals
        if ticket.first_totals is None:
            ticket.first_totals = totals
        ticket.record.experts = totals - ticket.first_totals

    def _say_pause(self) -> None:
        """Log once how long answers may pause, when the first prompt of a model that streams is computed."""
        if self._said_pause or self._model.streaming is None:
            return
        self._said_pause = True
        seconds = self._engine.counts().slowest_layer_seconds
        log.info("while a prompt is computed, an answer pauses for a layer's time: %.2f s at most so far", seconds)


def _server_error(error: Exception) -> ApiError:
    """The error of a request that did not cause it."""
    api_error = from_exception(error)
    return api_error if api_error.status >= 500 else ApiError(500, api_error.message, "step_failed")
