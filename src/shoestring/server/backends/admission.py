"""Admission: what all backends share. It bounds and counts the requests, and says when a queue has space."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from shoestring.server.errors import bad_request, busy, model_not_found, shutting_down
from shoestring.server.facts import ServedModel
from shoestring.server.http.record import Record
from shoestring.server.limits import Limits
from shoestring.server.request import ChatRequest, GenerationOptions
from shoestring.server.workers import Workers

T = TypeVar("T")


class Held(Protocol):
    """A request that a backend has accepted. started: whether its prompt is being computed."""

    @property
    def started(self) -> bool: ...
    @property
    def record(self) -> Record: ...


H = TypeVar("H", bound=Held)


class Admission(Generic[H]):
    """The requests of one backend. info: facts about the model for clients. queue: maximum waiting requests."""

    def __init__(self, info: ServedModel, queue: int, limits: Limits) -> None:
        self.info = info
        self.queue = queue
        self.limits = limits
        #: new requests are refused
        self.closing = False
        #: for what endpoints do with requests and answers
        self._translating = Workers(2, "translate")
        self._workers: tuple[Workers, ...] = (self._translating,)
        self._open: set[H] = set()
        #: one for each request in preparation, which counts as waiting: ends the work on its text
        self._stops: set[threading.Event] = set()
        self._durations: deque[float] = deque(maxlen=16)

    def close(self) -> None:
        """End what prepares requests, and the threads."""
        self.closing = True
        for stop in tuple(self._stops):
            stop.set()
        for workers in self._workers:
            workers.close()

    async def ended(self) -> None:
        """Wait for what needs the event loop to end, after `close`."""

    @property
    def idle(self) -> bool:
        """Whether no thread runs anything."""
        return not any(workers.busy for workers in self._workers)

    async def beside(self, function: Callable[..., T], /, *arguments: Any) -> T:
        """The result of a function that takes time in proportion to a request or an answer, outside the event loop."""
        return await self._translating.run(function, *arguments)

    def refuse_new(self) -> None:
        """Refuse new requests with 503; running requests continue."""
        self.closing = True

    @property
    def busy(self) -> bool:
        return bool(self._open or self._stops)

    @property
    def waiting(self) -> int:
        """Number of requests that no step has computed yet."""
        return len(self._stops) + sum(not held.started for held in self._open)

    @property
    def running(self) -> int:
        return sum(held.started for held in self._open)

    # --- checks

    def check_model(self, name: str | None) -> None:
        """Raise ApiError if this server does not serve the model (404), or the name is too long to be repeated."""
        if name is not None and len(name) > self.limits.name_characters:
            raise bad_request(f"model has more than {self.limits.name_characters} characters", param="model")
        if not self.info.answers_to(name):
            raise model_not_found(str(name), self.info.id)

    def check_chat(self, request: ChatRequest) -> None:
        """Check a conversation's options and number of messages. Raises ApiError."""
        self.check_options(request.options)
        if len(request.messages) > self.limits.messages:
            raise bad_request(
                f"{len(request.messages)} messages are too many: the limit is {self.limits.messages}", param="messages"
            )

    def check_options(self, options: GenerationOptions) -> None:
        """Raise ApiError for options beyond the limits."""
        limits = self.limits
        if not 1 <= options.n <= limits.answers:
            raise bad_request(f"n is {options.n}: choose a value from 1 to {limits.answers}", param="n")
        if options.max_tokens is not None and options.max_tokens < (0 if options.prompt_logprobs else 1):
            raise bad_request(f"max_tokens is {options.max_tokens}: choose at least 1", param="max_tokens")
        if len(options.stop) > limits.stop_strings:
            raise bad_request(
                f"{len(options.stop)} stop strings are too many: the limit is {limits.stop_strings}", param="stop"
            )
        if any(not stop or len(stop) > limits.stop_characters for stop in options.stop):
            raise bad_request(f"a stop string must have 1 to {limits.stop_characters} characters", param="stop")

    # --- the queue

    @contextmanager
    def _preparation(self) -> Iterator[threading.Event]:
        """A place in the queue for a request in preparation, and what stops its work. Raises ApiError if it is full."""
        if self.closing:
            raise shutting_down()
        if self.waiting >= self.queue:
            raise busy(self.retry_after())
        stop = threading.Event()
        self._stops.add(stop)
        try:
            yield stop
        finally:
            stop.set()
            self._stops.discard(stop)

    def retry_after(self) -> int:
        """Estimated seconds until the queue has space: the duration of recent requests, divided by the running ones."""
        mean = sum(self._durations) / len(self._durations) if self._durations else 2.0
        return int(min(60.0, max(1.0, mean * self.waiting / max(1, self.running))))

    def _release(self, held: H) -> None:
        """The request is over."""
        self._open.discard(held)
        self._durations.append(time.perf_counter() - held.record.arrived)
