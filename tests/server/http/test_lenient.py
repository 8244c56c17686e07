"""`serve --lenient`: unknown fields are dropped and logged once each; what is known and not supported stays refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from shoestring.server import field_rules
from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import scripted_model


@pytest.fixture(autouse=True)
def _no_names_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_rules, "_logged", set())


@pytest.fixture(params=[True, False], ids=["lenient", "strict"])
def client(request: pytest.FixtureRequest) -> Iterator[tuple[TestClient, bool]]:
    app = create_app(Service(scripted_model(context=65536)), Settings(lenient=request.param))
    with TestClient(app, "http://127.0.0.1") as client:
        yield client, request.param


MESSAGES = [{"role": "user", "content": "hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "scripted", "messages": MESSAGES},
    "/v1/completions": {"model": "scripted", "prompt": "hi", "max_tokens": 2},
    "/v1/messages": {"model": "scripted", "messages": MESSAGES, "max_tokens": 2},
}


@pytest.mark.parametrize("path", BODIES)
def test_unknown_fields(path: str, client: tuple[TestClient, bool], caplog: pytest.LogCaptureFixture) -> None:
    http, lenient = client
    body = {**BODIES[path], "frobnicate": {"a": [1]}, "x\x1b": 1}
    with caplog.at_level(logging.WARNING, "shoestring.server"):
        for _ in range(3):
            reply = http.post(path, json=body)
            assert reply.status_code == (200 if lenient else 400), reply.text
    names = [record.getMessage() for record in caplog.records]
    expected = ["ignored a field that is not known: frobnicate", "ignored a field that is not known: x\\x1b"]
    assert sorted(names) == (expected if lenient else [])


def test_unknown_fields_inside_of_objects(client: tuple[TestClient, bool]) -> None:
    http, lenient = client
    parts = [{"type": "text", "text": "hi", "mood": "good"}]
    messages = [{"role": "user", "content": parts, "mood": "good"}, {"role": "assistant", "content": "x"}] * 200
    body = {**BODIES["/v1/messages"], "messages": [*messages, *MESSAGES], "thinking": {"type": "disabled", "mood": 1}}
    reply = http.post("/v1/messages", json=body)
    assert reply.status_code == (200 if lenient else 400), reply.text


def test_what_is_known_and_not_supported_stays_refused(client: tuple[TestClient, bool]) -> None:
    http, _ = client
    for field in ({"temperature": "hot"}, {"n": 0}, {"functions": [{"name": "f"}]}):
        reply = http.post("/v1/chat/completions", json={**BODIES["/v1/chat/completions"], **field})
        assert reply.status_code == 400
        assert next(iter(field)) in reply.json()["error"]["message"]


def test_clients_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "shoestring.server"):
        for number in range(1000):
            field_rules.note_ignored(f"field {number}")
    assert len(caplog.records) == 100


def test_a_model_that_is_not_served_names_the_option() -> None:
    with TestClient(create_app(Service(scripted_model(context=64))), "http://127.0.0.1") as http:
        for reply in (
            http.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": MESSAGES}),
            http.get("/v1/models/gpt-4o"),
        ):
            assert reply.status_code == 404
            assert "start the server with --alias NAME" in reply.json()["error"]["message"]
