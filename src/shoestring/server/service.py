"""Service: what the endpoints call. Turns requests into tickets for the engine's thread, and its news into streams.

Everything that can be refused is refused by the awaited call, before a byte of the response is sent. A stream that
is closed cancels its request.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shoestring.engine.request import Counts
from shoestring.errors import ShoestringError
from shoestring.runtime.model import Model
from shoestring.runtime.prompt import Prompt
from shoestring.server.engine_thread import EngineThread
from shoestring.server.errors import (
    bad_request,
    busy,
    context_exceeded,
    from_exception,
    model_not_found,
    shutting_down,
)
from shoestring.server.facts import ServedModel, served_model
from shoestring.server.http import record
from shoestring.server.limits import Limits
from shoestring.server.request import ChatRequest, CompletionRequest, GenerationOptions, StreamItem
from shoestring.server.ticket import Ticket
from shoestring.server.tools import check_tools


class Service:
    """One model, its engine's thread, and the requests that are in it. `start` it before use, `close` it after.

    queue: most requests that wait beside those that run. info: what is told of the model.
    """

    def __init__(
        self, model: Model, info: ServedModel | None = None, *, queue: int = 64, limits: Limits | None = None
    ) -> None:
        self.model = model
        self.info = info or served_model(model, "scripted")
        self.limits = limits or Limits()
        #: most requests that wait
        self.queue = queue
        self._engine = EngineThread(model)
        self._preparing = ThreadPoolExecutor(4, thread_name_prefix="prepare")
        self._tickets: set[Ticket] = set()
        #: requests that are being prepared; they count as waiting
        self._prepared = 0
        self._closing = False
        self._durations: deque[float] = deque(maxlen=16)

    def start(self) -> None:
        self._engine.start()
        if importlib.util.find_spec("llguidance") is not None:
            from shoestring.output.masks import vocabulary_of

            # Takes seconds for a large vocabulary, which the first request with a schema need not wait for.
            self._preparing.submit(vocabulary_of, self.model.tokenizer)

    def close(self) -> None:
        """End the thread; what still runs ends with an error."""
        self._closing = True
        self._engine.stop()
        self._preparing.shutdown(wait=False, cancel_futures=True)

    def refuse_new(self) -> None:
        """From now on requests are refused with 503; those that run go on."""
        self._closing = True

    @property
    def busy(self) -> bool:
        return bool(self._tickets or self._prepared)

    @property
    def ready(self) -> bool:
        """Whether new requests are taken."""
        return self._engine.alive and not self._closing

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def waiting(self) -> int:
        """Requests that no step has touched yet."""
        return self._prepared + sum(not ticket.started for ticket in self._tickets)

    @property
    def running(self) -> int:
        return sum(ticket.started for ticket in self._tickets)

    async def counts(self) -> Counts | None:
        """The engine's sums, told between two steps; None when it has ended."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Counts] = loop.create_future()
        if not self._engine.alive:
            return None

        def take(counts: Counts) -> None:
            if not told.done():
                told.set_result(counts)

        def tell(counts: Counts) -> None:
            loop.call_soon_threadsafe(take, counts)

        self._engine.ask(tell)
        try:
            return await asyncio.wait_for(told, 5.0)
        except (asyncio.TimeoutError, TimeoutError):
            return None

    def check_model(self, name: str | None) -> None:
        """Raises ApiError (404) for a model that is not served here."""
        if not self.info.answers_to(name):
            raise model_not_found(str(name), self.info.id)

    # --- requests ----------------------------------------------------------------------------------------------

    async def chat(self, request: ChatRequest) -> Stream:
        """Answer a conversation. Raises ApiError."""
        self._check_options(request.options)
        if len(request.messages) > self.limits.messages:
            raise bad_request(
                f"{len(request.messages)} messages, at most {self.limits.messages} are taken", param="messages"
            )
        check_tools(request, self.limits)
        return await self._submit(request)

    async def complete(self, request: CompletionRequest) -> Stream:
        """Go on from a raw prompt. Raises ApiError."""
        self._check_options(request.options)
        return await self._submit(request)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt that `chat` would make. Raises ApiError."""
        check_tools(request, self.limits)
        prompt = await self._prepare(self.model.prompt_of, request)
        return len(prompt.tokens)

    async def render(self, request: ChatRequest) -> Prompt:
        """The prompt that `chat` would make. Raises ApiError."""
        check_tools(request, self.limits)
        prompt: Prompt = await self._prepare(self.model.prompt_of, request)
        return prompt

    def _check_options(self, options: GenerationOptions) -> None:
        limits = self.limits
        if not 1 <= options.n <= limits.answers:
            raise bad_request(f"n is {options.n}: choose a value from 1 to {limits.answers}", param="n")
        if options.max_tokens is not None and options.max_tokens < (0 if options.prompt_logprobs else 1):
            raise bad_request(f"max_tokens is {options.max_tokens}: choose at least 1", param="max_tokens")
        if len(options.stop) > limits.stop_strings:
            raise bad_request(
                f"{len(options.stop)} stop strings, at most {limits.stop_strings} are taken", param="stop"
            )
        if any(not stop or len(stop) > limits.stop_characters for stop in options.stop):
            raise bad_request(f"a stop string has 1 to {limits.stop_characters} characters", param="stop")

    async def _submit(self, request: ChatRequest | CompletionRequest) -> Stream:
        if self._closing:
            raise shutting_down()
        if self.waiting >= self.queue:
            raise busy(self._retry_after())
        self._prepared += 1
        loop = asyncio.get_running_loop()
        try:
            ticket = await self._prepare(self._ticket, request, record.current(), loop, loop.create_future())
            if self._closing or not self._engine.alive:
                raise shutting_down()
            self._tickets.add(ticket)
        finally:
            self._prepared -= 1
        stream = Stream(ticket, self._release)
        self._engine.submit(ticket)
        try:
            await ticket.accepted
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def _prepare(self, function: Any, *arguments: Any) -> Any:
        """Templates and tokenizers take their time, so they run beside the event loop."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._preparing, function, *arguments)
        except ShoestringError as error:
            raise from_exception(error) from error

    def _ticket(
        self,
        request: ChatRequest | CompletionRequest,
        kept: record.Record,
        loop: asyncio.AbstractEventLoop,
        accepted: asyncio.Future[None],
    ) -> Ticket:
        prompt, form = self.model.prompt_of(request), self.model.form_of(request)
        self._check_length(len(prompt.tokens), request.options.max_tokens)
        kept.generates = True
        kept.prompt_tokens += len(prompt.tokens)
        return Ticket(prompt, request.options, form, kept, loop, accepted)

    def _check_length(self, tokens: int, max_tokens: int | None) -> None:
        context = self.model.context
        if tokens >= context and not (tokens == context and max_tokens == 0):
            raise context_exceeded(
                f"the prompt has {tokens} tokens and the context {context}, which the answer needs a part of: "
                "shorten the conversation, or serve with a larger --context"
            )

    def _retry_after(self) -> int:
        """Seconds until a place may be free: what recent requests took, shared among those that run."""
        mean = sum(self._durations) / len(self._durations) if self._durations else 2.0
        return int(min(60.0, max(1.0, mean * self.waiting / max(1, self.running))))

    def _release(self, ticket: Ticket) -> None:
        self._engine.cancel(ticket)
        self._tickets.discard(ticket)
        self._durations.append(time.perf_counter() - ticket.record.arrived)


class Stream:
    """The items of one request. `aclose` cancels what is not over; a stream must be read to its end or closed."""

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
        # The last resort, for a response that was given up before it began to read.
        if self._open:
            self._release(self._ticket)
