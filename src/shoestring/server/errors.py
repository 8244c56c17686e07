"""Errors for clients, in the shape of the API that they use.

Raise ApiError anywhere below an endpoint; the handlers in http/app.py turn it into a response. Use `error_body` for
errors after a stream has started.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.errors import (
    BusyError,
    CapacityError,
    NumericsError,
    RequestError,
    ShoestringError,
    StoppedError,
    TokenizerError,
)
from shoestring.printable import quoted, shortened

log = logging.getLogger("shoestring.server")

#: OpenAI's `type` of an error by status.
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {**_TYPES, 413: "request_too_large", 503: "overloaded_error"}
#: How the paths of Anthropic's API begin.
ANTHROPIC = "/v1/messages"

#: Most characters of a field's name in an error.
MOST_PARAM = 200


@dataclass
class ApiError(Exception):
    """An error response. code: identifier for programs; param: the invalid field.

    The message is shortened to one printable line.
    """

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # One place for all APIs and the log: a message quotes what clients send.
        self.message = shortened(self.message)
        self.param = None if self.param is None else shortened(self.param, MOST_PARAM)

    def __str__(self) -> str:
        return self.message


def bad_request(message: str, *, code: str | None = None, param: str | None = None) -> ApiError:
    return ApiError(400, message, code or "invalid_request", param)


def context_exceeded(message: str) -> ApiError:
    """The request can never fit; raised before any work."""
    return ApiError(400, message, "context_length_exceeded", "messages")


def busy(retry_after: int) -> ApiError:
    message = f"the server is busy and its queue is full: try again in {retry_after} s"
    return ApiError(429, message, "queue_full", headers={"Retry-After": str(retry_after)})


def shutting_down() -> ApiError:
    return ApiError(503, "the server is shutting down", "shutting_down", headers={"Retry-After": "10"})


def model_not_found(name: str, known: str) -> ApiError:
    return ApiError(
        404,
        f"this server does not serve the model {quoted(name)}: use {known}, or start the server with --alias NAME",
        "model_not_found",
        "model",
    )


def from_exception(error: Exception) -> ApiError:
    """Convert any error to an ApiError: 400 if the caller caused it, else 500 without internal details."""
    if isinstance(error, ApiError):
        return error
    message = " ".join(str(error).split())
    if isinstance(error, CapacityError):
        return context_exceeded(message)
    if isinstance(error, BusyError):
        return ApiError(503, f"{message}: try again in 5 s", "overloaded", headers={"Retry-After": "5"})
    if isinstance(error, StoppedError):
        return shutting_down()
    if isinstance(error, RequestError | TokenizerError):
        return bad_request(message)
    if isinstance(error, RecursionError):
        return bad_request("the request nests too deep to be processed")
    if isinstance(error, NumericsError):
        log.error("%s", message)  # with the file's name, which is not for clients
        return ApiError(500, "a logit is not a finite number: the model's weights are damaged", "numerics_error")
    if isinstance(error, ShoestringError):
        # About files: their names are for the log, not for clients.
        log.error("%s", message)
        return ApiError(500, "the server's model cannot be used: see the server's log", "server_error")
    if isinstance(error, MemoryError):
        return ApiError(500, "out of memory in this step", "out_of_memory")
    log.error("a bug", exc_info=error)
    return ApiError(500, f"this is a bug in shoestring ({type(error).__name__}); see the server's log", "bug")


def error_body(path: str, error: ApiError, request_id: str = "") -> dict[str, Any]:
    """The JSON object of an error, for an endpoint with this path. request_id: for APIs whose errors name it."""
    if path.startswith(ANTHROPIC):
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
        body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": error.message}}
        return body | ({"request_id": request_id} if request_id else {})
    if path.startswith("/api/"):
        return {"error": error.message}
    kind = _TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}
