"""Observe: the middleware that opens and closes each request's record and names its id; and the log of requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shoestring.server.errors import from_exception, shutting_down
from shoestring.server.http.error_responses import error_response
from shoestring.server.http.logs import request_ids
from shoestring.server.http.logs.lines import Style
from shoestring.server.http.record import CURRENT, Record

Observer = Callable[[Record], None]

#: Requested all the time, so only failures are logged.
_QUIET = ("/health", "/metrics", "/page", "/favicon.ico")


class Observe:
    """Middleware outside of all that answers: records each request, and calls the observers when its answer has ended.

    Every answer has the request's id, also where a bug ended the request. No answer is sniffed for another type than
    the one that its header names.
    """

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = Record(
            method=scope["method"],
            path=scope["path"],
            request_id=request_ids.request_id(Headers(scope=scope)),
            client=(scope.get("client") or ("",))[0],
        )
        token = CURRENT.set(entry)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                for name in request_ids.headers_for(entry.path):
                    headers[name] = entry.request_id
            await send(message)

        try:
            await self._answer(scope, receive, watched, entry)
        finally:
            CURRENT.reset(token)
            entry.ended = time.perf_counter()
            # The route's path, so that path parameters do not multiply the metrics' endpoints.
            entry.endpoint = str(getattr(scope.get("route"), "path", "unknown"))
            for observer in self._observers:
                observer(entry)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, entry: Record) -> None:
        try:
            await self._app(scope, receive, send)
        except (Exception, asyncio.CancelledError) as error:
            # Here and not in an error handler: FastAPI runs that of Exception outside of all middleware. Only the end
            # of the server cancels: uvicorn would log a traceback.
            refusal = from_exception(error) if isinstance(error, Exception) else shutting_down()
            entry.failure = refusal.message
            if not entry.status:
                await error_response(entry.path, refusal, close=True)(scope, receive, send)
            elif isinstance(error, Exception):  # too late for another answer: the connection is cut
                raise


class RequestLog:
    """Writes one line per record."""

    def __init__(self, *, as_json: bool, write: Callable[[str], None], dated: bool = False) -> None:
        self._style = Style(as_json, dated)
        self._write = write

    def __call__(self, entry: Record) -> None:
        if entry.status < 400 and not entry.failure and entry.endpoint.startswith(_QUIET):
            return
        self._write(self._style.request(entry))
