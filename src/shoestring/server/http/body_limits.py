"""Bodies: not larger than allowed, not slower, and read as JSON."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shoestring.server.errors import ApiError
from shoestring.server.http.error_responses import send_error
from shoestring.server.limits import Limits

#: What programs mean whatever type they name (curl -d names a form's); pages of browsers have to name it, since
#: a page of another site cannot without asking first.
_JSON = (b"content-type", b"application/json")


class BodyLimits:
    """ASGI middleware: 413 for a body that is too large, told or found, 408 for one that does not come."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        told = headers.get("content-length", "0")
        if told.isdigit() and int(told) > self._limits.body_bytes:
            await send_error(scope, send, ApiError(413, self._too_large(), "body_too_large"))
            return
        if headers.get("origin") is None and scope["method"] == "POST":
            scope["headers"] = [*(h for h in scope["headers"] if h[0] != b"content-type"), _JSON]
        await self._app(scope, _Bounded(receive, self._limits, self._too_large()), send)

    def _too_large(self) -> str:
        return f"the body is larger than {self._limits.body_bytes} bytes: send less, or serve with a larger --max-body"


class _Bounded:
    """`receive` with both limits; what comes behind the body (a disconnect) passes."""

    def __init__(self, receive: Receive, limits: Limits, too_large: str) -> None:
        self._receive = receive
        self._limits = limits
        self._too_large = too_large
        self._bytes = 0
        self._whole = False
        self._until = asyncio.get_running_loop().time() + limits.body_seconds

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        left = self._until - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except (TimeoutError, asyncio.TimeoutError):
            self._whole = True
            raise HTTPException(408, f"the body did not arrive within {self._limits.body_seconds:g} s") from None
        self._bytes += len(message.get("body", b""))
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self._bytes > self._limits.body_bytes:
            self._whole = True
            raise HTTPException(413, self._too_large)
        return message
