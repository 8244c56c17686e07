"""Middleware: reads a request's whole body within the limits, before the application runs.

413 for a body that is too large, 408 for one that is too slow, 503 if all bodies together are too many. Bodies count as
JSON, whatever type a program names.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shoestring.server.errors import ApiError
from shoestring.server.http import record
from shoestring.server.http.bodies.in_flight import Claim, InFlight, overloaded
from shoestring.server.http.error_responses import error_response
from shoestring.server.limits import Limits

#: Programs mean JSON whatever type they send (curl -d sends a form's). Pages must send this type, which a page of
#: another site cannot do without a preflight request.
_JSON = (b"content-type", b"application/json")


class Arrival:
    """ASGI middleware. The application gets the body as one message, and in the scope's state its parts and its
    claim."""

    def __init__(self, app: ASGIApp, limits: Limits, in_flight: InFlight) -> None:
        self._app = app
        self._limits = limits
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if headers.get("origin") is None and scope["method"] == "POST":
            scope["headers"] = [*(h for h in scope["headers"] if h[0] != b"content-type"), _JSON]
        if length == "0" and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        claim: Claim | None = None
        try:
            if not (length.isascii() and length.isdecimal()) or int(length[:20]) > self._limits.body_bytes:
                raise self._too_large()
            claim = self._in_flight.enter()
            body = Body(await self._read(receive, claim), receive)
            scope.setdefault("state", {}).update(claim=claim, body=body)
            await self._app(scope, body, send)
        except ApiError as error:  # an error of the application has become a response in it
            await error_response(scope["path"], error, close=True)(scope, receive, send)
        except ConnectionError:
            record.current().failure = "the client disconnected"
        finally:
            if claim is not None:
                self._in_flight.release(claim)

    async def _read(self, receive: Receive, claim: Claim) -> list[bytes]:
        """The parts of the body. Raises ApiError, and ConnectionError if the client disconnects."""
        # One task a body, not one a part: each costs the event loop several turns. Not asyncio.wait_for: before Python
        # 3.12 it may swallow a cancellation.
        reading = asyncio.ensure_future(self._parts(receive, claim))
        either: set[asyncio.Future[Any]] = {reading, claim.lost}
        try:
            left = claim.began + self._limits.body_seconds - asyncio.get_running_loop().time()
            await asyncio.wait(either, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
            if claim.lost.done():
                raise overloaded("the body arrived too slowly while the server is busy")
            if reading.done():
                claim.arriving = False
                return reading.result()
            raise ApiError(408, f"the body did not arrive within {self._limits.body_seconds:g} s", "body_timeout")
        finally:
            reading.cancel()

    async def _parts(self, receive: Receive, claim: Claim) -> list[bytes]:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ConnectionError
            part = message.get("body", b"")
            size += len(part)
            if size > self._limits.body_bytes:
                raise self._too_large()
            self._in_flight.grow(claim, len(part))
            parts.append(bytes(part))
            if not message.get("more_body", False):
                return parts

    def _too_large(self) -> ApiError:
        most = self._limits.body_bytes
        return ApiError(
            413, f"the body is larger than {most} bytes: send less, or serve with a larger --max-body", "body_too_large"
        )


class Body:
    """`receive` with the whole body as its first message; what follows (a disconnect) passes through."""

    def __init__(self, parts: list[bytes], receive: Receive) -> None:
        self._parts: list[bytes] | None = parts
        self._receive = receive

    def take(self) -> list[bytes]:
        """The parts of the body, which are then no longer here."""
        parts, self._parts = self._parts, None
        return parts or []

    async def __call__(self) -> Message:
        if self._parts is None:
            return await self._receive()
        return {"type": "http.request", "body": b"".join(self.take()), "more_body": False}
