"""The prefix cache belongs to an API key, across all APIs; a client is its key, else its address."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import scripted_model

LETTER = "The number of the safe is one of four digits, and you know it well. " * 4
MESSAGES = [{"role": "user", "content": LETTER}]
#: chat requests with the same prompt in each API, and raw ones
CHATS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/messages": {"model": "scripted", "messages": MESSAGES, "max_tokens": 50},
    "/api/chat": {"model": "scripted", "messages": MESSAGES, "stream": False, "think": False},
}
RAW: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": LETTER},
    "/api/generate": {"model": "scripted", "prompt": LETTER, "raw": True, "stream": False},
}
Ask = Callable[..., int]


@contextmanager
def asking(keys: tuple[str, ...], **service: Any) -> Iterator[Ask]:
    """A function that sends a request with a key, and returns how many of its tokens came from the cache."""
    model = scripted_model(lambda _: "Yes.", context=4096)
    app = create_app(Service(model, **service), Settings(api_keys=keys))
    with TestClient(app, "http://127.0.0.1") as client:

        def ask(path: str, body: dict[str, Any], key: str = "") -> int:
            before = model.engine.counts().cached_tokens
            answer = client.post(path, json=body, headers={"Authorization": f"Bearer {key}"} if key else {})
            assert answer.status_code == 200, answer.text
            model.engine.check()
            return model.engine.counts().cached_tokens - before

        ask.model = model  # type: ignore[attr-defined]
        yield ask


@pytest.mark.parametrize("requests", [CHATS, RAW], ids=["chat", "raw"])
def test_one_key_shares_across_all_apis_and_no_other_key_does(requests: dict[str, dict[str, Any]]) -> None:
    for first in requests:
        with asking(("ann's", "bob's")) as ask:
            assert ask(first, requests[first], "ann's") == 0
            assert ask(first, requests[first], "bob's") == 0
            for path, body in requests.items():
                assert ask(path, body, "ann's") > 50, f"{path} after {first}"


def test_without_keys_all_clients_share() -> None:
    with asking(()) as ask:
        paths = [*CHATS]
        assert ask(paths[0], CHATS[paths[0]]) == 0
        assert all(ask(path, CHATS[path]) > 50 for path in paths)


def test_other_keys_share_whole_strides_only_if_the_server_says_so() -> None:
    long = {"prompt": LETTER * 10}
    for shared in (False, True):
        with asking(("ann's", "bob's"), share_cache=shared) as ask:
            ask("/v1/completions", long, "ann's")
            cached = ask("/v1/completions", long, "bob's")
            assert cached % 1024 == 0
            assert (cached > 0) == shared


def test_no_key_reaches_the_engine() -> None:
    with asking(("ann's secret key",)) as ask:
        ask("/v1/completions", RAW["/v1/completions"], "ann's secret key")
        engine = ask.model.engine  # type: ignore[attr-defined]
        owners = [*engine.tree.roots]
        assert owners
        assert "secret" not in json.dumps(owners)
