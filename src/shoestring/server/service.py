"""Service: the backend whose model is in this process. It turns requests into tickets for the engine's thread, and
results into streams.

The awaited call refuses everything that can be refused, before the response begins. A stream that is closed cancels its
request.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from shoestring.checkpoint.text.text_work import proceed, stoppable
from shoestring.engine.request import Counts
from shoestring.errors import BusyError, ShoestringError
from shoestring.output.form import Form
from shoestring.output.masks import vocabulary_of
from shoestring.output.trials.plain import plain
from shoestring.runtime.model import Model
from shoestring.runtime.prompt import Prompt
from shoestring.server.backends.admission import Admission
from shoestring.server.backends.backend import KEY, Experts, Spellings
from shoestring.server.backends.stream import Stream as Stream
from shoestring.server.engine_thread import EngineThread
from shoestring.server.errors import ApiError, busy, context_exceeded, from_exception, shutting_down
from shoestring.server.facts import ServedModel, served_model
from shoestring.server.http import record
from shoestring.server.limits import SMALL, Limits
from shoestring.server.media.fetch import Web
from shoestring.server.media.reading import Cost, MediaReading, media_bytes
from shoestring.server.media.unread import Unread
from shoestring.server.request import ChatRequest, CompletionRequest
from shoestring.server.ticket import Ticket
from shoestring.server.tools import check_tools
from shoestring.server.workers import Workers

T = TypeVar("T")

#: Forms that may wait to be compiled.
_MOST_FORMS = 8
#: How long a form waits for a thread.
_FORM_WAIT_SECONDS = 1.5
#: How long `counts` waits for the end of a step.
_COUNTS_SECONDS = 5.0


class Service(Admission[Ticket]):
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
        super().__init__(info or served_model(model, "scripted"), queue, limits or Limits())
        model.engine.share_cache(share_cache)
        self.model = model
        self._engine = EngineThread(model)
        self._short_texts, self._long_texts = Workers(2, "short text"), Workers(1, "long text")
        #: for forms that may take seconds to compile, so that other requests do not wait for them
        self._forming = Workers(4, "form")
        self._media = MediaReading(model.vision, self.limits, web)
        self._workers += (self._short_texts, self._long_texts, self._forming, *self._media.workers)

    def start(self) -> None:
        self._engine.start()
        if importlib.util.find_spec("llguidance") is not None:
            # A large vocabulary takes seconds: load it before the first request with a schema.
            self._long_texts.start(vocabulary_of, self.model.tokenizer)

    def close(self) -> None:
        """Stop the threads; running requests end with an error. Waits for the step in progress, but not long."""
        super().close()
        self._engine.stop()

    @property
    def idle(self) -> bool:
        return super().idle and not self._engine.alive

    @property
    def ready(self) -> bool:
        """Whether the service accepts new requests."""
        return self._engine.alive and not self.closing

    async def health(self) -> str | None:
        if self.closing:
            return "shutting down"
        return None if self._engine.alive else "the engine has stopped"

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

    async def replicas(self) -> Mapping[str, Counts]:
        return {}

    @property
    def experts(self) -> Experts:
        streaming = self.model.streaming
        return Experts() if streaming is None else Experts(streaming.share, streaming.totals)

    @property
    def spellings(self) -> Spellings:
        return self.model.tokenizer

    # --- requests ----------------------------------------------------------------------------------------------

    async def chat(self, request: ChatRequest) -> Stream:
        """Answer a conversation. Raises ApiError."""
        self.check_chat(request)
        return await self._submit(request)

    async def complete(self, request: CompletionRequest) -> Stream:
        """Continue a raw prompt. Raises ApiError."""
        self.check_options(request.options)
        return await self._submit(request)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Number of tokens in the prompt of `chat`, also if it is longer than the context. Raises ApiError."""
        return len((await self.render(request)).tokens)

    async def render(self, request: ChatRequest) -> Prompt:
        """The prompt of `chat`, also if it is longer than the context. Raises ApiError."""
        return await self.on_prompt(_prompt, request)

    def rendered(self, request: ChatRequest) -> Prompt:
        """As `render`, for functions of `text_work`; pictures have been read. Raises ApiError, RequestError."""
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

    async def on_text(self, function: Callable[..., T], /, *arguments: Any) -> T:
        return await self.text_work(function, self, *arguments)

    async def on_prompt(self, function: Callable[..., T], request: ChatRequest, /, *arguments: Any) -> T:
        def work(read: ChatRequest) -> T:
            return function(self, self.rendered(read), *arguments)

        with self._preparation() as stop, self._media.claim(request):
            read = await self._media.read(request)
            return await self._on_text(stop, work, read, media=media_bytes(read))

    async def text_work(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function that works on a request's text, beside the event loop. Raises ApiError.

        Counts as a waiting request. A cancelled call and a closed service end it, where it calls `text_work.proceed`.
        """
        with self._preparation() as stop:
            return await self._on_text(stop, function, *arguments)

    async def _on_text(self, stop: threading.Event, function: Callable[..., T], *arguments: Any, media: int = 0) -> T:
        """media: bytes of the pictures and videos in the request."""
        texts = self._short_texts if record.current().body_bytes <= SMALL else self._long_texts
        workers = self._media.decoding if media else texts
        try:
            return await workers.run(_stoppable, stop, function, *arguments)
        except ShoestringError as error:
            raise from_exception(error) from error

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
            self._open.add(ticket)
        stream = Stream(ticket.items, partial(self._release_ticket, ticket))
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
        waiting = sum(other.held_bytes for other in self._open if not other.started)
        if waiting and waiting + ticket.held_bytes > self.limits.waiting_bytes:
            raise busy(self.retry_after())

    def _release_ticket(self, ticket: Ticket) -> None:
        self._engine.cancel(ticket)
        self._release(ticket)


def _stoppable(stop: threading.Event, function: Callable[..., T], *arguments: Any) -> T:
    with stoppable(stop):
        proceed()
        return function(*arguments)


def _prompt(service: Service, prompt: Prompt) -> Prompt:
    return prompt


def _forms_wait() -> ApiError:
    return from_exception(BusyError("too many schemas and grammars wait to be compiled"))


def _is_plain(request: ChatRequest | CompletionRequest) -> bool:
    """Whether its form compiles fast."""
    tools = request.tools if isinstance(request, ChatRequest) else ()
    functions = [tool.get("function") for tool in tools]
    schemas = [function.get("parameters") or {} for function in functions if isinstance(function, Mapping)]
    return plain(request.options.constraint, schemas)
