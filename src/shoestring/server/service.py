"""Service: what the endpoints call. It turns requests into tickets for the engine's thread, and results into streams.

The awaited call refuses everything that can be refused, before the response begins. A stream that is closed cancels its
request.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from shoestring.checkpoint.text.text_work import proceed, stoppable
from shoestring.engine.request import Counts
from shoestring.errors import BusyError, ShoestringError
from shoestring.output.form import Form
from shoestring.output.masks import vocabulary_of
from shoestring.output.trials.plain import plain
from shoestring.runtime.model import Model
from shoestring.runtime.prompt import Prompt
from shoestring.server.engine_thread import EngineThread
from shoestring.server.errors import (
    ApiError,
    bad_request,
    busy,
    context_exceeded,
    from_exception,
    model_not_found,
    shutting_down,
)
from shoestring.server.facts import ServedModel, served_model
from shoestring.server.http import record
from shoestring.server.limits import SMALL, Limits
from shoestring.server.media.fetch import Web
from shoestring.server.media.reading import Cost, MediaReading, media_bytes
from shoestring.server.media.unread import Unread
from shoestring.server.request import ChatRequest, CompletionRequest, GenerationOptions, StreamItem
from shoestring.server.ticket import Ticket
from shoestring.server.tools import check_tools
from shoestring.server.workers import Workers

T = TypeVar("T")

#: The names of clients with an API key begin so; all others share one prefix cache.
KEY = "key:"
#: Forms that may wait to be compiled.
_MOST_FORMS = 8
#: How long a form waits for a thread.
_FORM_WAIT_SECONDS = 1.5
#: How long `counts` waits for the end of a step.
_COUNTS_SECONDS = 5.0


class Service:
    """One model, its engine's thread, and the requests in it. `start` it before use, `close` it after.

    queue: maximum waiting requests. info: facts about the model for clients. share_cache: prompts also resume from
    entries of other API keys, in whole strides. web: how pictures on the Web are fetched; None: not at all.
    """

    def __init__(
        self,
        model: Model,
        info: ServedModel | None = None,
        *,
        queue: int = 64,
        limits: Limits | None = None,
        share_cache: bool = False,
        web: Web | None = None,
    ) -> None:
        model.engine.share_cache(share_cache)
        self.model = model
        self.info = info or served_model(model, "scripted")
        self.limits = limits or Limits()
        self.queue = queue
        #: new requests are refused
        self.closing = False
        self._engine = EngineThread(model)
        self._short_texts, self._long_texts = Workers(2, "short text"), Workers(1, "long text")
        #: for forms that may take seconds to compile, so that other requests do not wait for them
        self._forming = Workers(4, "form")
        #: for what endpoints do with requests and answers
        self._translating = Workers(2, "translate")
        self._media = MediaReading(model.vision, self.limits, web)
        self._tickets: set[Ticket] = set()
        #: one for each request in preparation, which counts as waiting: ends the work on its text
        self._stops: set[threading.Event] = set()
        self._durations: deque[float] = deque(maxlen=16)

    def start(self) -> None:
        self._engine.start()
        if importlib.util.find_spec("llguidance") is not None:
            # A large vocabulary takes seconds: load it before the first request with a schema.
            self._long_texts.start(vocabulary_of, self.model.tokenizer)

    def close(self) -> None:
        """Stop the threads; running requests end with an error. Waits for the step in progress, but not long."""
        self.closing = True
        for stop in tuple(self._stops):
            stop.set()
        for workers in self._workers:
            workers.close()
        self._engine.stop()

    @property
    def idle(self) -> bool:
        """Whether no thread of the service runs anything."""
        return not (self._engine.alive or any(workers.busy for workers in self._workers))

    @property
    def _workers(self) -> tuple[Workers, ...]:
        texts = (self._short_texts, self._long_texts)
        return (*texts, self._forming, self._translating, *self._media.workers)

    async def beside(self, function: Callable[..., T], /, *arguments: Any) -> T:
        """The result of a function that takes time in proportion to a request or an answer, outside the event loop."""
        return await self._translating.run(function, *arguments)

    def refuse_new(self) -> None:
        """Refuse new requests with 503; running requests continue."""
        self.closing = True

    @property
    def busy(self) -> bool:
        return bool(self._tickets or self._stops)

    @property
    def ready(self) -> bool:
        """Whether the service accepts new requests."""
        return self._engine.alive and not self.closing

    @property
    def waiting(self) -> int:
        """Number of requests that no step has computed yet."""
        return len(self._stops) + sum(not ticket.started for ticket in self._tickets)

    @property
    def running(self) -> int:
        return sum(ticket.started for ticket in self._tickets)

    async def counts(self) -> Counts | None:
        """The engine's counts between two steps; None if its thread has ended or a step takes too long."""
        if not self._engine.alive:
            return None
        counts = asyncio.wrap_future(self._engine.counts())
        try:
            # Not asyncio.wait_for: before Python 3.12 it may swallow a cancellation.
            await asyncio.wait({counts}, timeout=_COUNTS_SECONDS)
            return counts.result() if counts.done() else None
        finally:
            counts.cancel()

    def check_model(self, name: str | None) -> None:
        """Raise ApiError if this server does not serve the model (404), or the name is too long to be repeated."""
        if name is not None and len(name) > self.limits.name_characters:
            raise bad_request(f"model has more than {self.limits.name_characters} characters", param="model")
        if not self.info.answers_to(name):
            raise model_not_found(str(name), self.info.id)

    # --- requests ----------------------------------------------------------------------------------------------

    async def chat(self, request: ChatRequest) -> Stream:
        """Answer a conversation. Raises ApiError."""
        self._check_options(request.options)
        if len(request.messages) > self.limits.messages:
            raise bad_request(
                f"{len(request.messages)} messages are too many: the limit is {self.limits.messages}", param="messages"
            )
        return await self._submit(request)

    async def complete(self, request: CompletionRequest) -> Stream:
        """Continue a raw prompt. Raises ApiError."""
        self._check_options(request.options)
        return await self._submit(request)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Number of tokens in the prompt of `chat`, also if it is longer than the context. Raises ApiError."""
        return len((await self.render(request)).tokens)

    async def render(self, request: ChatRequest) -> Prompt:
        """The prompt of `chat`, also if it is longer than the context. Raises ApiError."""
        with self._preparation() as stop, self._media.claim(request):
            read = await self._media.read(request)
            return await self._on_text(stop, self.rendered, read, media=media_bytes(read))

    def rendered(self, request: ChatRequest) -> Prompt:
        """As `render`, for functions of `text_work`. Raises ApiError, RequestError."""
        check_tools(request, self.limits)
        return self.model.prompt_of(request, self.countable)

    async def media_cost(self, media: Unread) -> Cost:
        """What a picture or video costs in tokens. Raises ApiError."""
        with self._preparation():
            return await self._media.cost(media)

    @property
    def countable(self) -> int:
        """Most tokens of a text that is not answered."""
        return max(self.model.context, self.limits.counted_tokens)

    async def text_work(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function that works on a request's text, beside the event loop. Raises ApiError.

        Counts as a waiting request. A cancelled call and a closed service end it, where it calls `text_work.proceed`.
        """
        with self._preparation() as stop:
            return await self._on_text(stop, function, *arguments)

    @contextmanager
    def _preparation(self) -> Iterator[threading.Event]:
        """A place in the queue for a request in preparation, and what stops its work. Raises ApiError if it is full."""
        if self.closing:
            raise shutting_down()
        if self.waiting >= self.queue:
            raise busy(self._retry_after())
        stop = threading.Event()
        self._stops.add(stop)
        try:
            yield stop
        finally:
            stop.set()
            self._stops.discard(stop)

    async def _on_text(self, stop: threading.Event, function: Callable[..., T], *arguments: Any, media: int = 0) -> T:
        """media: bytes of the pictures and videos in the request."""
        texts = self._short_texts if record.current().body_bytes <= SMALL else self._long_texts
        workers = self._media.decoding if media else texts
        try:
            return await workers.run(_stoppable, stop, function, *arguments)
        except ShoestringError as error:
            raise from_exception(error) from error

    def _check_options(self, options: GenerationOptions) -> None:
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

    async def _submit(self, request: ChatRequest | CompletionRequest) -> Stream:
        with self._preparation() as stop, self._media.claim(request):
            if isinstance(request, ChatRequest):
                await self._on_text(stop, check_tools, request, self.limits)
                request = await self._media.read(request)
            form, media = await self._form(request), media_bytes(request)
            loop = asyncio.get_running_loop()
            ticket = await self._on_text(stop, self._ticket, request, form, record.current(), loop, media=media)
            if not self.ready:
                raise shutting_down()
            self._check_waiting(ticket)
            self._tickets.add(ticket)
        stream = Stream(ticket, self._release)
        self._engine.submit(ticket)
        try:
            refusal = await ticket.items.get()
            if isinstance(refusal, Exception):
                raise refusal
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def _form(self, request: ChatRequest | CompletionRequest) -> Form:
        """What the answers must look like. Raises ApiError: 503 if too many forms wait."""
        workers = self._short_texts if _is_plain(request) else self._forming
        if workers is self._forming and workers.waiting >= _MOST_FORMS:
            raise _forms_wait()
        begun = threading.Event()

        def compiled() -> Form:
            begun.set()
            return self.model.form_of(request)

        compiling = asyncio.ensure_future(workers.run(compiled))
        try:
            if workers is self._forming:
                await asyncio.wait({compiling}, timeout=_FORM_WAIT_SECONDS)
                if not begun.is_set():
                    raise _forms_wait()
            return await compiling
        except ShoestringError as error:
            refusal, constraint = from_exception(error), request.options.constraint
            if constraint is not None and constraint.where and refusal.message.startswith(constraint.where):
                refusal.param = constraint.where
            raise refusal from error
        finally:
            compiling.cancel()  # if it has not begun, it never does

    def _ticket(
        self,
        request: ChatRequest | CompletionRequest,
        form: Form,
        entry: record.Record,
        loop: asyncio.AbstractEventLoop,
    ) -> Ticket:
        prompt = self.model.prompt_of(request)
        self._check_length(len(prompt.tokens), request.options.max_tokens)
        entry.generates = True
        entry.prompt_tokens += len(prompt.tokens)
        client = request.options.client
        options = dataclasses.replace(request.options, cache_owner=client if client.startswith(KEY) else "")
        return Ticket(prompt, options, form, entry, loop, media_bytes=media_bytes(request))

    def _check_length(self, tokens: int, max_tokens: int | None) -> None:
        context = self.model.context
        if tokens >= context and not (tokens == context and max_tokens == 0):
            raise context_exceeded(
                f"the prompt has {tokens} tokens and the context {context}, which the answer needs a part of: "
                "shorten the conversation, or serve with a larger --context"
            )

    def _check_waiting(self, ticket: Ticket) -> None:
        """Raise ApiError (429) if the prompts that wait take too much memory together with this one."""
        waiting = sum(other.held_bytes for other in self._tickets if not other.started)
        if waiting and waiting + ticket.held_bytes > self.limits.waiting_bytes:
            raise busy(self._retry_after())

    def _retry_after(self) -> int:
        """Estimated seconds until the queue has space: the duration of recent requests, divided by the running ones."""
        mean = sum(self._durations) / len(self._durations) if self._durations else 2.0
        return int(min(60.0, max(1.0, mean * self.waiting / max(1, self.running))))

    def _release(self, ticket: Ticket) -> None:
        self._engine.cancel(ticket)
        self._tickets.discard(ticket)
        self._durations.append(time.perf_counter() - ticket.record.arrived)


def _stoppable(stop: threading.Event, function: Callable[..., T], *arguments: Any) -> T:
    with stoppable(stop):
        proceed()
        return function(*arguments)


def _forms_wait() -> ApiError:
    return from_exception(BusyError("too many schemas and grammars wait to be compiled"))


def _is_plain(request: ChatRequest | CompletionRequest) -> bool:
    """Whether its form compiles fast."""
    tools = request.tools if isinstance(request, ChatRequest) else ()
    functions = [tool.get("function") for tool in tools]
    schemas = [function.get("parameters") or {} for function in functions if isinstance(function, Mapping)]
    return plain(request.options.constraint, schemas)


class Stream:
    """The items of one request. Read it to the end, or close it: `aclose` cancels what has not ended."""

    def __init__(self, ticket: Ticket, release: Callable[[Ticket], None]) -> None:
        self._ticket = ticket
        self._release = release
        self._open = True

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> StreamItem:
        if not self._open:
            raise StopAsyncIteration
        item = await self._ticket.items.get()
        if item is None or isinstance(item, Exception):
            await self.aclose()
            raise StopAsyncIteration if item is None else item
        return item

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._release(self._ticket)

    def __del__(self) -> None:
        # For a response that was dropped before it began to read.
        if self._open:
            self._release(self._ticket)
