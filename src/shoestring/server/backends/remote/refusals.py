"""What another server refuses, and how it fails, as errors of ours: with its words, and never a wrong status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring import bounded_json
from shoestring.server.errors import ApiError

#: Refusals of a request that are the client's own to hear.
_PASSED_ON = frozenset({400, 404, 413, 422, 429, 503})
#: What servers write about a prompt that is too long.
_TOO_LONG = ("maximum context length", "context length", "exceeds the available context", "max_model_len")


def refused(status: int, text: str, headers: Mapping[str, str]) -> ApiError:
    """The error for a response that is none of 200. text: its body."""
    try:
        body = bounded_json.loads(text)
    except ValueError:
        body = {}
    if status in (401, 403):
        return ApiError(502, "the server that answers here does not accept this server's key", "upstream_key")
    if status not in _PASSED_ON:
        return ApiError(502, f"the server that answers here returned {status}: {message_of(body)}", "upstream_failed")
    retry = {"Retry-After": headers["retry-after"]} if "retry-after" in headers else {}
    code, param = fields_of(body)
    message = message_of(body)
    if status in (400, 413, 422) and code is None and any(words in message for words in _TOO_LONG):
        code = "context_length_exceeded"
    return ApiError(400 if status == 422 else status, message, code or _CODES.get(status), param, retry)


_CODES = {400: "invalid_request", 404: "model_not_found", 429: "queue_full", 503: "overloaded"}


def broke_off(body: Mapping[str, Any]) -> ApiError:
    """The error for one that the server sends in the middle of an answer."""
    code = fields_of(body)[0] or "upstream_failed"
    return ApiError(502, f"the server that answers here failed: {message_of(body)}", code)


def failed(what: str) -> ApiError:
    """The error for a connection that fails. what: in which way."""
    return ApiError(502, f"the server that answers here {what}: try again", "upstream_failed")


def message_of(body: Any) -> str:
    """What an error's body says."""
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("detail") or "no reason given"
    return str(error)


def fields_of(body: Any) -> tuple[str | None, str | None]:
    """Its code, if that is a word, and the field that it names."""
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    error = error if isinstance(error, Mapping) else {}
    code, param = error.get("code"), error.get("param")
    return (code if isinstance(code, str) else None), (param if isinstance(param, str) else None)
