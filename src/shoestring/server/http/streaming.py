"""Responses of endpoints that generate: a stream of events, or one JSON object, until the client disconnects.

Handles what endpoints would otherwise repeat: disconnects, slow readers, keep-alives, errors in the middle of a stream.
An endpoint returns before its answer is complete, so the request's body does not stay in memory.
"""

from __future__ import annotations

import asyncio
import json
import time
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


#: Chunks that are sent before other work has a turn.
_AT_ONCE = 8


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
        #: when a message was last sent; while one is being sent, when that began
        self._sent = self._sending = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(
                receive, self._send_all(scope["path"], send), source=self._source, stuck=self._watch(send)
            )
        except (ClientGoneError, OSError):
            record.current().failure = record.current().failure or "the client disconnected"

    async def _send_all(self, path: str, send: Send) -> None:
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sent = 0
        try:
            while True:
                try:
                    chunk = await anext(self._chunks, None)
                except Exception as exception:
                    error = from_exception(exception)
                    entry = record.current()
                    entry.failure = error.message
                    await self._say(send, error_body(path, error, entry.request_id))
                    break
                if chunk is None:
                    break
                await self._say(send, chunk)
                sent += 1
                if sent % _AT_ONCE == 0:  # others have a turn, however many chunks are there
                    await asyncio.sleep(0)
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._chunks.aclose()

    async def _say(self, send: Send, chunk: Any) -> None:
        text = chunk if isinstance(chunk, str) else self._write(chunk)
        if text:
            await self._send(
                send, {"type": "http.response.body", "body": text.encode("utf-8", "replace"), "more_body": True}
            )

    async def _send(self, send: Send, message: Message) -> None:
        self._sending = time.monotonic()
        await send(message)
        self._sent, self._sending = self._sending, 0.0

    async def _watch(self, send: Send) -> None:
        """Send keep-alives while nothing else is sent. Ends if the client does not read for too long.

        One task beside the stream: a timeout of each chunk would cost more than the chunk.
        """
        limits = self._limits
        while True:
            now = time.monotonic()
            due = self._sent + limits.keep_alive_seconds
            if self._sending:
                due = self._sending + limits.write_seconds
                if now >= due:
                    break
            elif now >= due:
                self._sent, due = now, now + limits.keep_alive_seconds
                saying = asyncio.ensure_future(self._say(send, self._keep_alive))
                try:
                    await asyncio.wait({saying}, timeout=limits.write_seconds)
                    if not saying.done() or saying.exception() is not None:
                        break
                finally:
                    saying.cancel()
            await asyncio.sleep(min(due - now, limits.keep_alive_seconds, limits.write_seconds))
        record.current().failure = f"the client did not read for {limits.write_seconds:.0f} s"


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(
    receive: Receive,
    work: Coroutine[Any, Any, T],
    *,
    source: Closable | None = None,
    stuck: Coroutine[Any, Any, None] | None = None,
) -> T:
    """The result of `work`. If the client disconnects first, cancels it and raises ClientGoneError.

    source: what `work` reads from; closed at the end. stuck: ends when the client counts as disconnected.
    """
    task = asyncio.ensure_future(work)
    gone = {asyncio.ensure_future(end) for end in (_disconnect(receive), stuck) if end is not None}
    try:
        await asyncio.wait({task, *gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        record.current().failure = record.current().failure or "the client disconnected"
        raise ClientGoneError
    finally:
        for end in gone:
            end.cancel()
        task.cancel()
        await asyncio.wait({task})
        if source is not None:
            await source.aclose()
