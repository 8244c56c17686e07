"""Log one line per request, as text or JSON; and the middleware that opens and closes each request's record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shoestring.printable import shortened
from shoestring.server.http.record import CURRENT, Record

Observer = Callable[[Record], None]

#: Requested all the time, so only failures are logged.
_QUIET = ("/health", "/metrics", "/page", "/favicon.ico")

#: Most characters of what clients can choose.
_MOST_METHOD = 20
_MOST_PATH = 120
_MOST_FAILURE = 400
#: Most characters of a line with a failure, and fewest that are left for it.
_MOST_LINE = 500
_FEWEST = 40


class Observe:
    """The outermost ASGI middleware: records each request, and calls the observers when the response has ended.

    No answer is sniffed for another type than the one that its header names.
    """

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = Record(method=scope["method"], path=scope["path"])
        token = CURRENT.set(entry)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            CURRENT.reset(token)
            entry.ended = time.perf_counter()
            # The route's path, so that path parameters do not multiply the metrics' endpoints.
            entry.endpoint = str(getattr(scope.get("route"), "path", "unknown"))
            for observer in self._observers:
                observer(entry)


class RequestLog:
    """Writes one line per record."""

    def __init__(self, *, as_json: bool, write: Callable[[str], None]) -> None:
        self._line = json_line if as_json else text_line
        self._write = write

    def __call__(self, entry: Record) -> None:
        if entry.status < 400 and not entry.failure and entry.endpoint.startswith(_QUIET):
            return
        self._write(self._line(entry))


def text_line(entry: Record) -> str:
    """The log line as text: what the client waited for, and how the request ended."""
    parts = [
        datetime.now().strftime("%H:%M:%S"),
        f"{shortened(entry.method, _MOST_METHOD)} {shortened(entry.path, _MOST_PATH)}",
        str(entry.status or 499),
    ]
    if entry.prompt_tokens:
        cached = f" ({entry.cached_tokens / entry.prompt_tokens:.0%} cached)" if entry.cached_tokens else ""
        parts.append(f"prompt {entry.prompt_tokens}{cached}")
    if entry.first_token_seconds is not None:
        parts.append(f"first token {entry.first_token_seconds:.2f} s")
    if entry.output_tokens:
        rate = entry.tokens_per_second
        parts.append(f"{entry.output_tokens} tokens" + (f", {rate:.1f}/s" if rate is not None else ""))
    if entry.finish:
        parts.append(entry.finish)
    parts.append(f"{entry.total_seconds:.2f} s")
    line = "  ".join(parts)
    if entry.failure:
        most = min(_MOST_FAILURE, _MOST_LINE - len(line) - len("  failed: "))
        line += "  failed: " + shortened(" ".join(entry.failure.split()), most)
    return line


def json_line(entry: Record) -> str:
    """The log line as JSON: seconds and tokens; null: not reached."""
    facts: dict[str, object] = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "method": shortened(entry.method, _MOST_METHOD),
        "path": shortened(entry.path, _MOST_PATH),
        "status": entry.status or 499,
        "prompt_tokens": entry.prompt_tokens,
        "cached_tokens": entry.cached_tokens,
        "first_token_seconds": entry.first_token_seconds,
        "output_tokens": entry.output_tokens,
        "tokens_per_second": entry.tokens_per_second,
        "finish_reason": entry.finish or None,
        "total_seconds": entry.total_seconds,
        "failure": shortened(entry.failure, _MOST_FAILURE) or None,
    }
    facts = {name: round(fact, 4) if isinstance(fact, float) else fact for name, fact in facts.items()}
    line = json.dumps(facts, ensure_ascii=False)
    if entry.failure and len(line) > _MOST_LINE:
        failure = str(facts["failure"])
        facts["failure"] = shortened(failure, max(_FEWEST, len(failure) - (len(line) - _MOST_LINE)))
        line = json.dumps(facts, ensure_ascii=False)
    return line
