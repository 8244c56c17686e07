"""Every answer of every API has an id, which the log has, too: the client's own, or a new one."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from shoestring.errors import RequestError
from shoestring.server.http.app import create_app
from shoestring.server.http.logs.log import RequestLog
from shoestring.server.http.logs.log_writer import LogHandler, LogWriter
from shoestring.server.http.logs.request_ids import request_id
from shoestring.server.http.record import CURRENT, Record
from shoestring.server.http.settings import Settings
from shoestring.server.http.streaming import EventStream
from shoestring.server.limits import Limits
from shoestring.server.service import Service
from shoestring.testing import scripted_model

OURS = re.compile(r"req_[0-9a-f]{24}")
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
KEY = {"x-api-key": "k"}


@pytest.fixture(scope="module")
def logged() -> Iterator[tuple[TestClient, list[str]]]:
    lines: list[str] = []
    app = create_app(
        Service(scripted_model(context=2048)),
        Settings(api_keys=("k",), allow_origins=("https://a.example",), max_body=5000),
        RequestLog(as_json=True, write=lines.append),
    )
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client, lines


#: method, path, more arguments of the request, status
REQUESTS: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/v1/chat/completions", {"json": CHAT, "headers": KEY}, 200),
    ("POST", "/v1/chat/completions", {"json": {**CHAT, "stream": True}, "headers": KEY}, 200),
    ("POST", "/v1/completions", {"json": {"prompt": "a", "max_tokens": 1}, "headers": KEY}, 200),
    ("POST", "/v1/messages", {"json": {**CHAT, "max_tokens": 1}, "headers": KEY}, 200),
    ("POST", "/api/chat", {"json": CHAT, "headers": KEY}, 200),
    ("POST", "/tokenize", {"json": {"prompt": "a"}, "headers": KEY}, 200),
    ("GET", "/v1/models", {"headers": KEY}, 200),
    ("GET", "/", {}, 200),
    ("GET", "/health", {}, 200),
    ("GET", "/metrics", {"headers": KEY}, 200),
    ("POST", "/v1/chat/completions", {"json": {"messages": 5}, "headers": KEY}, 400),
    ("POST", "/v1/messages", {"json": {"messages": 5}, "headers": KEY}, 400),
    ("POST", "/v1/chat/completions", {"content": b"{", "headers": KEY}, 400),
    ("POST", "/v1/chat/completions", {"json": CHAT}, 401),
    ("POST", "/v1/messages", {"json": CHAT}, 401),
    ("GET", "/v1/nothing", {"headers": KEY}, 404),
    ("PUT", "/v1/chat/completions", {"headers": KEY}, 405),
    ("POST", "/api/chat", {"content": b"x" * 6000, "headers": KEY}, 413),
    (
        "OPTIONS",
        "/v1/messages",
        {"headers": {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}},
        400,
    ),
]


@pytest.mark.parametrize(("method", "path", "arguments", "status"), REQUESTS)
@pytest.mark.parametrize("own", ["", "client-1.2:3_4"])
def test_every_answer_and_its_log_line_have_the_id(
    logged: tuple[TestClient, list[str]], method: str, path: str, arguments: dict[str, Any], status: int, own: str
) -> None:
    client, lines = logged
    lines.clear()
    headers = arguments.get("headers", {}) | ({"X-Request-Id": own} if own else {})
    answer = client.request(method, path, **(arguments | {"headers": headers}))
    assert answer.status_code == status
    (id,) = answer.headers.get_list("x-request-id")
    assert id == own if own else OURS.fullmatch(id)
    anthropic = path.startswith("/v1/messages")
    assert answer.headers.get_list("request-id") == ([id] if anthropic else [])
    if anthropic and status >= 400 and method == "POST":
        assert answer.json()["request_id"] == id
    if lines or status >= 400 or path.startswith(("/v1", "/api", "/tok")):
        (line,) = lines
        assert json.loads(line)["request_id"] == id


@pytest.mark.parametrize("sent", ["", " ", "-a", "a b", "é", "a\x1b[2J", "a" * 65, "a;b", "a,b", '"a"', "a\\n"])
def test_other_ids_are_replaced(sent: str) -> None:
    assert OURS.fullmatch(request_id(Headers({"x-request-id": sent})))


@given(st.text(st.characters(max_codepoint=255)))
def test_an_id_is_harmless_whatever_a_client_sends(sent: str) -> None:
    id = request_id(Headers(raw=[(b"x-request-id", sent.encode("latin-1"))]))
    assert id == sent or OURS.fullmatch(id)
    assert re.fullmatch(r"[\w.:-]{1,64}", id, re.ASCII)


def test_ids_differ() -> None:
    assert len({request_id(Headers({})) for _ in range(1000)}) == 1000


def test_the_browser_may_read_the_id(logged: tuple[TestClient, list[str]]) -> None:
    answer = logged[0].get("/v1/models", headers={**KEY, "Origin": "https://a.example"})
    assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_bug_has_an_answer_with_the_id_a_line_and_a_traceback(path: str, tmp_path: Any) -> None:
    lines: list[str] = []
    service = Service(scripted_model(context=2048))

    async def broken(request: object) -> None:
        raise LookupError("internals")

    service.chat = broken  # type: ignore[assignment, method-assign]
    log = logging.getLogger("shoestring.server")
    with open(tmp_path / "log", "wb") as file:
        writer = LogWriter(file.fileno())
        handler = LogHandler(writer)
        log.addHandler(handler)
        try:
            app = create_app(service, log=RequestLog(as_json=True, write=lines.append))
            with TestClient(app, "http://127.0.0.1") as client:
                answer = client.post(path, json={**CHAT, "max_tokens": 5})
        finally:
            log.removeHandler(handler)
        assert writer.close(10)
    id = answer.headers["x-request-id"]
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "internals" not in answer.text
    assert "bug in shoestring (LookupError)" in answer.text
    (line,) = map(json.loads, lines)
    assert (line["status"], line["request_id"]) == (500, id)
    assert "bug" in line["failure"]
    text = (tmp_path / "log").read_text()
    assert text.startswith(f"ERROR shoestring.server: a bug  {id}\nTraceback")


def test_an_error_inside_a_stream_names_the_id_where_the_api_does() -> None:
    async def events(path: str) -> list[dict[str, Any]]:
        async def chunks() -> AsyncGenerator[Any, None]:
            yield {"first": 1}
            raise RequestError("it broke")

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        CURRENT.set(Record(request_id="req_1"))
        source = chunks()
        await EventStream(source, source=source, limits=Limits())({"path": path}, receive, send)
        text = b"".join(message.get("body", b"") for message in sent).decode()
        return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]

    first, error = asyncio.run(events("/v1/messages"))
    assert (first, error["type"], error["request_id"]) == ({"first": 1}, "error", "req_1")
    assert "request_id" not in asyncio.run(events("/v1/chat/completions"))[1]
