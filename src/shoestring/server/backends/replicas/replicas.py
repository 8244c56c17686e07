"""Replicas: the backend that passes requests on to engines on a Ray cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from shoestring.engine.request import Counts
from shoestring.server.backends.admission import Admission
from shoestring.server.backends.backend import Experts
from shoestring.server.backends.pumped import Pumped
from shoestring.server.backends.replicas.batches import summed
from shoestring.server.backends.replicas.replica import Vocabulary, count
from shoestring.server.backends.replicas.routing import stable_prefix
from shoestring.server.backends.stream import Stream
from shoestring.server.errors import ApiError, from_exception, shutting_down
from shoestring.server.facts import ServedModel
from shoestring.server.http import record
from shoestring.server.limits import Limits
from shoestring.server.media.reading import Cost
from shoestring.server.media.unread import Unread
from shoestring.server.request import ChatRequest, CompletionRequest, StreamItem

log = logging.getLogger("shoestring.server")

T = TypeVar("T")

#: A replica says that it is alive every few seconds (batches.py).
_SILENT_SECONDS = 30.0
_COUNTS_SECONDS = 5.0
#: How often a request that no replica has begun to answer is given to another one.
_TRIES = 3
_END = object()


class Replicas(Admission[Pumped]):
    """handle: Ray's handle of the deployment. closed: called at the end.

    accept_seconds: how long a request may wait for a replica with room.
    """

    def __init__(
        self,
        handle: Any,
        info: ServedModel,
        spellings: Vocabulary,
        *,
        queue: int = 64,
        limits: Limits | None = None,
        accept_seconds: float = 600.0,
        closed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(info, queue, limits or Limits())
        self.spellings = spellings
        self._handle = handle
        self._streaming = handle.options(stream=True)
        self._accept_seconds = accept_seconds
        self._closed = closed

    def start(self) -> None:
        """Nothing: the replicas run."""

    def close(self) -> None:
        super().close()
        for held in tuple(self._open):
            held.cancel()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()

    async def health(self) -> str | None:
        if self.closing:
            return "shutting down"
        return None if await self.replicas() else "no replica answers"

    async def counts(self) -> Counts | None:
        return summed([*(await self.replicas()).values()])

    async def replicas(self) -> Mapping[str, Counts]:
        """The counts by replica; of those that answer in time."""
        try:
            asked = self._handle.broadcast("counts")
            answers = await asked.results_async(timeout_s=_COUNTS_SECONDS, return_exceptions=True)
        except Exception:  # no replica, or none that answers
            return {}
        known = [answer for answer in answers if not isinstance(answer, BaseException)]
        return {name: counts for name, counts in sorted(known, key=itemgetter(0)) if counts is not None}

    @property
    def experts(self) -> Experts:
        return Experts()

    # --- requests

    async def chat(self, request: ChatRequest) -> Stream:
        self.check_chat(request)
        return await self._submit(request)

    async def complete(self, request: CompletionRequest) -> Stream:
        self.check_options(request.options)
        return await self._submit(request)

    async def count_tokens(self, request: ChatRequest) -> int:
        return await self.on_prompt(count, request)

    async def on_text(self, function: Callable[..., T], /, *arguments: Any) -> T:
        result: T = await self._asked(self._handle.on_text, function, arguments)
        return result

    async def on_prompt(self, function: Callable[..., T], request: ChatRequest, /, *arguments: Any) -> T:
        result: T = await self._asked(self._handle.on_prompt, function, (request, *arguments))
        return result

    async def media_cost(self, media: Unread) -> Cost:
        cost: Cost = await self._asked(self._handle.media_cost, media)
        return cost

    async def _asked(self, method: Any, *arguments: Any) -> Any:
        """What any replica answers. Raises ApiError."""
        with self._preparation():
            try:
                answer = await method.remote("", *arguments)
            except Exception as error:
                raise _lost(error) from error
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def _submit(self, request: ChatRequest | CompletionRequest) -> Stream:
        with self._preparation():
            entry = record.current()
            prefix = await self.beside(stable_prefix, request)
            answers = await self._accepted(prefix, request, entry.body_bytes)
            pumped = Pumped(entry, asyncio.get_running_loop(), ending=shutting_down)
            self._open.add(pumped)
        stream = Stream(pumped.items, partial(self._drop, pumped))
        try:
            await pumped.begin(_items(answers))
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def _accepted(self, prefix: str, request: ChatRequest | CompletionRequest, body_bytes: int) -> Any:
        """The batches of a request that a replica has accepted. One that is lost before is given to another replica."""
        for tried in range(1, _TRIES + 1):
            answers = self._streaming.answer.remote(prefix, request, body_bytes)
            try:
                first = await _within(answers, self._accept_seconds)
            except ApiError:
                answers.cancel()
                raise
            except asyncio.CancelledError:
                answers.cancel()
                raise
            except Exception as error:
                if tried == _TRIES:
                    raise _lost(error) from error
                continue
            if isinstance(first, ApiError):
                raise first
            return answers
        raise AssertionError

    def _drop(self, pumped: Pumped) -> None:
        pumped.cancel()
        self._release(pumped)


async def _items(answers: Any) -> AsyncGenerator[list[StreamItem], None]:
    """The batches of an answer. Raises ApiError, also if the replica is lost."""
    ended = False
    try:
        while True:
            try:
                batch = await _within(answers, _SILENT_SECONDS)
            except ApiError:
                raise
            except Exception as error:
                raise _lost(error) from error
            ended = batch is _END or isinstance(batch, ApiError)
            if batch is _END:
                return
            if isinstance(batch, ApiError):
                raise batch
            if batch:
                yield batch
    finally:
        if not ended:
            answers.cancel()


async def _next(answers: Any) -> Any:
    return await anext(answers, _END)


async def _within(answers: Any, seconds: float) -> Any:
    """The next message of a replica. Raises ApiError if it says nothing for too long."""
    following = asyncio.ensure_future(_next(answers))
    try:
        await asyncio.wait({following}, timeout=seconds)
        if not following.done():
            raise ApiError(504, f"no replica has answered for {seconds:.0f} s", "replica_timeout")
        return following.result()
    finally:
        following.cancel()
        following.add_done_callback(_heard)


def _heard(ended: asyncio.Future[Any]) -> None:
    """Take the error of a message that nobody waits for: Ray ends a cancelled request with one of its own."""
    if not ended.cancelled():
        ended.exception()


def _lost(error: Exception) -> ApiError:
    """The error of a request whose replica is gone."""
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    if isinstance(error, RayError | RayServeException):
        log.warning("a replica is lost (%s)", type(error).__name__)
        return ApiError(502, "the replica that answered is gone: try again", "replica_lost")
    return from_exception(error)
