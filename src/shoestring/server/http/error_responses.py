"""Error responses sent by middleware, before routing."""

from __future__ import annotations

from starlette.types import Scope, Send

from shoestring.server.errors import ApiError, error_json
from shoestring.server.http import record


async def send_error(scope: Scope, send: Send, error: ApiError) -> None:
    """Send a complete error response, and close the connection, because the body was not read."""
    record.current().failure = error.message
    body = error_json(scope["path"], error).encode("utf-8", "replace")
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in {**headers, **error.headers}.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
