"""Responses of endpoints that generate: a stream of events, or one JSON object, until the client disconnects.

Handles what endpoints would otherwise repeat: disconnects, slow readers, keep-alives, errors in the middle of a stream.
An endpoint returns before its answer is complete, so the request's body does not stay in memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from shoestring.server.errors import error_body, from_exception
from shoestring.server.http import record
from shoestring.server.limits import Limits

T = TypeVar("T")

#: A comment in server-sent events: clients ignore it, but it keeps the connection open.
KEEP_ALIVE = ": keep-alive\n\n"


class Closable(Protocol):
    async def aclose(self) -> None: ...


class ClientGoneError(Exception):
    """The client has disconnected."""


def event(data: Any) -> str:
    """A server-sent event; `data` becomes JSON, text stays unchanged."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n"


class Beside(Protocol):
    def __call__(self, function: Callable[..., T], /, *arguments: Any) -> Coroutine[Any, Any, T]: ...


def json_bytes(value: Any) -> bytes:
    """JSON in UTF-8. Written in Python, so that other threads run: json's C code keeps the interpreter lock."""
    return "".join(_JSON.iterencode(value)).encode("utf-8", "replace")


_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class WholeAnswer(Response):
    """Sends the value of `work` as JSON.

    source: what `work` reads from; closed if the client disconnects. beside: runs a function in a worker thread.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], *, source: Closable, beside: Beside) -> None:
        super().__init__(media_type="application/json")
        self._work = work
        self._source = source
        self._beside = beside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        value = await unless_gone(receive, self._work, source=self._source)
        body = await self._beside(json_bytes, value)
        await Response(body, media_type=self.media_type)(scope, receive, send)


class EventStream(Response):
    """Sends what `chunks` yields. Closes the generator if the client disconnects or does not read for too long.

    source: what `chunks` reads from; closed, too. write: formats chunks that are not text, and errors in the middle of
    the stream. keep_alive: text to send while there is nothing to send; "": none.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[Any, None],
        *,
        source: Closable,
        write: Callable[[Any], str] = event,
        media_type: str = "text/event-stream",
        keep_alive: str = KEEP_ALIVE,
        limits: Limits,
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self.raw_headers = [header for header in self.raw_headers if header[0] != b"content-length"]
        self._chunks = chunks
        self._source = source
        self._write = write
        self._keep_alive = keep_alive
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self._send_all(scope["path"], send), source=self._source)
        except (ClientGoneError, OSError):
            record.current().failure = record.current().failure or "the client disconnected"

    async def _send_all(self, path: str, send: Send) -> None:
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        following: asyncio.Future[Any] = asyncio.ensure_future(_next(self._chunks))
        try:
            while True:
                await asyncio.wait({following}, timeout=self._limits.keep_alive_seconds)
                if not following.done():
                    await self._say(send, self._keep_alive)
                    continue
                try:
                    chunk = following.result()
                except Exception as exception:
                    error = from_exception(exception)
                    entry = record.current()
                    entry.failure = error.message
                    await self._say(send, error_body(path, error, entry.request_id))
                    break
                if chunk is None:
                    break
                await self._say(send, chunk)
                following = asyncio.ensure_future(_next(self._chunks))
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            following.cancel()
            await asyncio.wait({following})
            await self._chunks.aclose()

    async def _say(self, send: Send, chunk: Any) -> None:
        text = chunk if isinstance(chunk, str) else self._write(chunk)
        if text:
            await self._send(
                send, {"type": "http.response.body", "body": text.encode("utf-8", "replace"), "more_body": True}
            )

    async def _send(self, send: Send, message: Message) -> None:
        """Send a message. A client that does not read for too long counts as disconnected."""
        sending = asyncio.ensure_future(send(message))
        try:
            # Not asyncio.wait_for: before Python 3.12 it may swallow a cancellation.
            await asyncio.wait({sending}, timeout=self._limits.write_seconds)
            if not sending.done():
                record.current().failure = f"the client did not read for {self._limits.write_seconds:.0f} s"
                raise ClientGoneError
            sending.result()
        finally:
            sending.cancel()


async def _next(chunks: AsyncGenerator[Any, None]) -> Any:
    """The next chunk; None at the end, because a future cannot hold StopAsyncIteration."""
    return await anext(chunks, None)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T], *, source: Closable | None = None) -> T:
    """The result of `work`. If the client disconnects first, cancels it and raises ClientGoneError.

    source: what `work` reads from; closed at the end.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        record.current().failure = "the client disconnected"
        raise ClientGoneError
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.wait({task})
        if source is not None:
            await source.aclose()
