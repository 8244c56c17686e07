"""One line a request, for people or as JSON; and the middleware that opens and closes each request's record."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shoestring.server.http.record import CURRENT, Record

Observer = Callable[[Record], None]

#: Asked for all the time, and not worth a line while all is well.
_QUIET = ("/health", "/metrics", "/page", "/favicon.ico")


class Observe:
    """ASGI middleware, the outermost: keeps a record of each request and hands it on when the response has ended."""

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kept = Record(method=scope["method"])
        token = CURRENT.set(kept)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            CURRENT.reset(token)
            kept.ended = time.perf_counter()
            kept.endpoint = endpoint_of(scope)
            for observer in self._observers:
                observer(kept)


def endpoint_of(scope: Scope) -> str:
    """The route's own path, so that names in paths do not multiply; "unknown" for paths that lead nowhere."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unknown"))


class RequestLog:
    """Writes the line of a record."""

    def __init__(self, *, as_json: bool, write: Callable[[str], None] | None = None) -> None:
        self._line = json_line if as_json else text_line
        self._write = write or _to_stderr

    def __call__(self, kept: Record) -> None:
        if kept.status < 400 and not kept.failure and kept.endpoint.startswith(_QUIET):
            return
        self._write(self._line(kept))


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def text_line(kept: Record) -> str:
    """For people: what a client had to wait for, and why it ended."""
    parts = [datetime.now().strftime("%H:%M:%S"), f"{kept.method} {kept.endpoint}", str(kept.status or 499)]
    if kept.prompt_tokens:
        cached = f" ({kept.cached_tokens / kept.prompt_tokens:.0%} cached)" if kept.cached_tokens else ""
        parts.append(f"prompt {kept.prompt_tokens}{cached}")
    if kept.first_token_seconds is not None:
        parts.append(f"first token {kept.first_token_seconds:.2f} s")
    if kept.output_tokens:
        rate = kept.tokens_per_second
        parts.append(f"{kept.output_tokens} tokens" + (f", {rate:.1f}/s" if rate is not None else ""))
    if kept.finish:
        parts.append(kept.finish)
    parts.append(f"{kept.total_seconds:.2f} s")
    if kept.failure:
        parts.append("failed: " + " ".join(kept.failure.split()))
    return "  ".join(parts)


def json_line(kept: Record) -> str:
    """For programs. Seconds, tokens; null: not reached."""
    facts = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "method": kept.method,
        "endpoint": kept.endpoint,
        "status": kept.status or 499,
        "prompt_tokens": kept.prompt_tokens,
        "cached_tokens": kept.cached_tokens,
        "first_token_seconds": _rounded(kept.first_token_seconds),
        "output_tokens": kept.output_tokens,
        "tokens_per_second": _rounded(kept.tokens_per_second),
        "finish_reason": kept.finish or None,
        "total_seconds": _rounded(kept.total_seconds),
        "failure": kept.failure or None,
    }
    return json.dumps(facts)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def quiet_libraries() -> None:
    """Libraries' own messages: warnings and worse, in our form."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
