"""Streams of a response: events as they come, a sign of life in between, and an end as soon as the client is gone.

Owns everything about sockets that endpoints would otherwise repeat: disconnects, slow readers, errors in the middle.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from fastapi import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from shoestring.server.errors import ApiError, error_json, from_exception
from shoestring.server.http import record
from shoestring.server.limits import Limits

T = TypeVar("T")

#: A comment of server-sent events: no client sees it, proxies and clients learn that we live.
KEEP_ALIVE = ": keep-alive\n\n"


class Closable(Protocol):
    async def aclose(self) -> None: ...


class ClientGoneError(Exception):
    """Nobody reads the response any more."""


def event(data: Any, name: str | None = None) -> str:
    """A server-sent event; `data` is written as JSON, text as it is."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n" if name else f"data: {text}\n\n"


class EventStream(Response):
    """Sends what `chunks` yields. The iterator is closed when the client goes, or does not read for too long.

    source: what `chunks` reads from, closed too. keep_alive: sent when there was nothing to say for a while; None:
    nothing is. on_error: the text that tells an error in the middle of the stream; default: a `data:` event in the
    shape of the API that the path belongs to.
    """

    def __init__(
        self,
        chunks: AsyncIterator[str],
        *,
        source: Closable | None = None,
        media_type: str = "text/event-stream",
        keep_alive: str | None = KEEP_ALIVE,
        on_error: Callable[[ApiError], str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self.raw_headers = [header for header in self.raw_headers if header[0] != b"content-length"]
        self._chunks = chunks
        self._source = source
        self._keep_alive = keep_alive
        self._on_error = on_error
        self._limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnect(receive))
        pending: asyncio.Future[str | None] | None = None
        try:
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while True:
                pending = pending or asyncio.ensure_future(_next(self._chunks))
                both: set[asyncio.Future[Any]] = {pending, gone}
                await asyncio.wait(
                    both,
                    timeout=self._limits.keep_alive_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if gone.done():
                    raise ClientGoneError
                if not pending.done():
                    if self._keep_alive is not None:
                        await self._say(send, self._keep_alive)
                    continue
                finished, pending = pending, None
                try:
                    chunk = finished.result()
                except Exception as error:
                    await self._say(send, self._told(scope["path"], error))
                    break
                if chunk is None:
                    break
                await self._say(send, chunk)
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except (ClientGoneError, OSError):
            record.current().failure = record.current().failure or "the client disconnected"
        finally:
            gone.cancel()
            if pending is not None:
                pending.cancel()
                await asyncio.wait({pending})
            for closable in (self._chunks, self._source):
                close = getattr(closable, "aclose", None)
                if close is not None:
                    await close()

    def _told(self, path: str, error: Exception) -> str:
        told = from_exception(error)
        record.current().failure = told.message
        if self._on_error is not None:
            return self._on_error(told)
        return (
            event(error_json(path, told)) if self.media_type == "text/event-stream" else error_json(path, told) + "\n"
        )

    async def _say(self, send: Send, text: str) -> None:
        await self._send(send, {"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _send(self, send: Send, message: Message) -> None:
        """A client that does not read blocks this; after a while it counts as gone."""
        try:
            await asyncio.wait_for(send(message), self._limits.write_seconds)
        except (asyncio.TimeoutError, TimeoutError):
            record.current().failure = f"the client did not read for {self._limits.write_seconds:.0f} s"
            raise ClientGoneError from None


async def _next(chunks: AsyncIterator[str]) -> str | None:
    """The next chunk, None at the end: a future cannot hold StopAsyncIteration."""
    return await anext(chunks, None)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, T], *, source: Closable | None = None) -> T:
    """The result of `work`, which is cancelled when the client goes meanwhile. Raises ClientGoneError then.

    source: what `work` reads from, closed in any case.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        record.current().failure = "the client disconnected"
        raise ClientGoneError
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if source is not None:
            await source.aclose()
