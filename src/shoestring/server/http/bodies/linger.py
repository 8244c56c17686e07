"""Middleware: lets a client read a response that came before its whole body was read.

A connection that is closed while the client still sends is reset, and a reset discards the response. So the rest of the
body is read and dropped before the response ends, for a short time.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Most seconds that the rest of a body is read.
_SECONDS = 3.0


class Linger:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        whole = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        # Such a client sends its body only when it is asked to, which reading would do.
        waits = headers.get("expect", "").lower() == "100-continue"

        async def watched() -> Message:
            nonlocal whole, waits
            waits = False
            message = await receive()
            whole = whole or message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def rest() -> None:
            while not whole:
                await watched()

        async def lingering(message: Message) -> None:
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not ends or whole or waits:
                await send(message)
                return
            await send({**message, "more_body": True})
            reading = asyncio.ensure_future(rest())
            with contextlib.suppress(asyncio.CancelledError):  # the server ends
                await asyncio.wait({reading}, timeout=_SECONDS)
            reading.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, watched, lingering)
