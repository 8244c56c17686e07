"""Streaming responses: send events as they arrive, keep-alives in between, and stop when the client disconnects.

Handles what endpoints would otherwise repeat: disconnects, slow readers, errors in the middle of a stream.
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

#: A comment in server-sent events: clients ignore it, but it keeps the connection open.
KEEP_ALIVE = ": keep-alive\n\n"


class Closable(Protocol):
    async def aclose(self) -> None: ...


class ClientGoneError(Exception):
    """The client has disconnected."""


def event(data: Any, name: str | None = None) -> str:
    """A server-sent event; `data` becomes JSON, text stays unchanged."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n" if name else f"data: {text}\n\n"


class EventStream(Response):
    """Sends what `chunks` yields. Closes the iterator if the client disconnects or does not read for too long.

    source: what `chunks` reads from; closed, too. keep_alive: text to send while there is nothing to send; None: none.
    on_error: formats an error in the middle of the stream; default: a `data:` event in the shape of the path's API.
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
                    await self._say(send, self._error_text(scope["path"], error))
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

    def _error_text(self, path: str, error: Exception) -> str:
        api_error = from_exception(error)
        record.current().failure = api_error.message
        if self._on_error is not None:
            return self._on_error(api_error)
        return (
            event(error_json(path, api_error))
            if self.media_type == "text/event-stream"
            else error_json(path, api_error) + "\n"
        )

    async def _say(self, send: Send, text: str) -> None:
        await self._send(send, {"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _send(self, send: Send, message: Message) -> None:
        """Send a message. A client that does not read for too long counts as disconnected."""
        try:
            await asyncio.wait_for(send(message), self._limits.write_seconds)
        except (asyncio.TimeoutError, TimeoutError):
            record.current().failure = f"the client did not read for {self._limits.write_seconds:.0f} s"
            raise ClientGoneError from None


async def _next(chunks: AsyncIterator[str]) -> str | None:
    """The next chunk; None at the end, because a future cannot hold StopAsyncIteration."""
    return await anext(chunks, None)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, T], *, source: Closable | None = None) -> T:
    """The result of `work`. If the client disconnects first, cancels it and raises ClientGoneError.

    source: what `work` reads from; always closed.
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
