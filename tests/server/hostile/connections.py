"""Attacks with connections: clients that stop sending, send slowly, do not read, leave in the middle or reset."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from hostile.attack import Attack, Piece, head, post
from hostile.endpoints import VALID
from hostile.forms import CHAT

_LONG = {"max_tokens": 200, "ignore_eos": True}
#: Requests whose answers stream.
STREAMS: dict[str, dict[str, Any]] = {
    CHAT: {**_LONG, "stream": True},
    "/v1/completions": {**_LONG, "stream": True},
    "/v1/messages": {"max_tokens": 200, "stream": True},
    "/api/chat": {"options": {"num_predict": 200}},
}


def hostile_connections(source: random.Random) -> Iterator[Attack]:
    """Without end: a random way to misuse a connection."""
    while True:
        path, fields = source.choice(list(STREAMS.items()))
        yield source.choice((_half, _slow, _leaves, _does_not_read, _idle, _half_head))(path, fields, source)


def _request(path: str, fields: dict[str, Any]) -> tuple[bytes, bytes]:
    body = json.dumps({**VALID[path], **fields}).encode()
    length = {"Host": "localhost", "Content-Length": str(len(body)), "Connection": "close"}
    return head("POST", path, length), body


def _half(path: str, fields: dict[str, Any], source: random.Random) -> Attack:
    start, body = _request(path, fields)
    cut, wait = source.randrange(len(body)), source.choice((0.0, 0.3))
    then = source.choice(("close", "reset"))
    return Attack(f"{path}: half a body, then {then}", lambda: (start, body[:cut], wait), then, False)  # type: ignore[arg-type]


def _half_head(path: str, fields: dict[str, Any], source: random.Random) -> Attack:
    start, _ = _request(path, fields)
    cut = source.randrange(len(start))
    return Attack(f"{path}: half a head", lambda: (start[:cut], 0.3), "close", False)


def _slow(path: str, fields: dict[str, Any], source: random.Random) -> Attack:
    """A byte at a time."""
    start, body = _request(path, {"max_tokens": 3} if "options" not in fields else {})

    def pieces() -> Iterator[Piece]:
        for byte in start + body:
            yield bytes((byte,))
            yield 0.005

    return Attack(f"{path}: a byte at a time", pieces)


def _leaves(path: str, fields: dict[str, Any], source: random.Random) -> Attack:
    """Goes while its answer streams."""
    start, body = _request(path, fields)
    wait, then = source.choice((0.0, 0.05, 0.2)), source.choice(("close", "reset"))
    return Attack(f"{path}: {then} after {wait} s", lambda: (start, body, wait), then, False)  # type: ignore[arg-type]


def _does_not_read(path: str, fields: dict[str, Any], source: random.Random) -> Attack:
    body = json.dumps({**VALID[path], **fields}).encode()
    return post("reads slowly", path, body, then="read slowly")


def _idle(path: str, fields: dict[str, Any], source: random.Random) -> Attack:
    wait = source.choice((0.0, 0.5))
    return Attack("a connection without a request", lambda: (wait,), "close", False)
