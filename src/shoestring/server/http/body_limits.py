"""Middleware: limits the size (413) and upload time (408) of request bodies, and treats them as JSON."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shoestring.server.errors import ApiError
from shoestring.server.http.error_responses import error_response
from shoestring.server.limits import Limits

#: Programs mean JSON whatever type they send (curl -d sends a form's). Pages must send this type, which a page of
#: another site cannot do without a preflight request.
_JSON = (b"content-type", b"application/json")


class BodyLimits:
    """ASGI middleware: 413 for a body that is too large, by its header or its bytes; 408 for one that is too slow."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limits.body_bytes:
            error = ApiError(413, self._too_large(), "body_too_large")
            await error_response(scope["path"], error, close=True)(scope, receive, send)
            return
        if headers.get("origin") is None and scope["method"] == "POST":
            scope["headers"] = [*(h for h in scope["headers"] if h[0] != b"content-type"), _JSON]
        await self._app(scope, _Bounded(receive, self._limits, self._too_large()), send)

    def _too_large(self) -> str:
        return f"the body is larger than {self._limits.body_bytes} bytes: send less, or serve with a larger --max-body"


class _Bounded:
    """`receive` with both limits; messages after the body (a disconnect) pass through."""

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
