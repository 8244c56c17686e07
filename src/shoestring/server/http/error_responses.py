"""Error responses, for endpoints and for middleware."""

from __future__ import annotations

from starlette.responses import JSONResponse

from shoestring.server.errors import ApiError, error_body
from shoestring.server.http import record


def error_response(path: str, error: ApiError, *, close: bool = False) -> JSONResponse:
    """An error in the shape of the path's API. close: close the connection, because the body was not read."""
    entry = record.current()
    entry.failure = error.message
    headers = {**error.headers, **({"connection": "close"} if close else {})}
    return JSONResponse(error_body(path, error, entry.request_id), error.status, headers)
