"""Nothing that a client sends is a bug of the server: each field of each API with hostile values, and odd requests."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from answering import answering
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import running
from starlette.testclient import TestClient
from thorough import some

from shoestring.printable import printable
from shoestring.server.http.app import create_app
from shoestring.server.service import Service
from shoestring.testing import scripted_model

USER: dict[str, Any] = {"role": "user", "content": "hello"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CHAT = {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "r"}, USER]}
#: A valid body for each endpoint; hostile values replace each of its parts, and each field of its model.
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {**CHAT, "max_tokens": 2, "tools": [TOOL], "chat_template_kwargs": {"a": 1}},
    "/v1/completions": {"prompt": "One, two", "max_tokens": 2, "logit_bias": {"1": 1.0}},
    "/v1/messages": {
        "model": "scripted",
        "max_tokens": 2,
        "messages": [
            USER,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    },
    "/v1/messages/count_tokens": {"model": "scripted", "messages": [USER]},
    "/api/chat": {
        "model": "scripted",
        "stream": False,
        "messages": [
            USER,
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            USER,
        ],
        "options": {"num_predict": 2},
        "tools": [{"function": {"name": "f", "parameters": {"type": "object"}}}],
    },
    "/api/generate": {"model": "scripted", "prompt": "hello", "stream": False, "options": {"num_predict": 2}},
    "/api/show": {"model": "scripted"},
    "/tokenize": {"messages": [USER], "tools": [TOOL], "chat_template_kwargs": {"a": 1}},
    "/detokenize": {"tokens": [1, 2]},
    "/apply-template": {"messages": [USER], "tools": [TOOL], "chat_template_kwargs": {"a": 1}},
}


def nested(depth: int, kind: str = "list") -> str:
    opening, closing = ("[", "]") if kind == "list" else ('{"a":', "}")
    return opening * depth + "1" + closing * depth


#: As JSON text, because Python cannot write some of them.
HOSTILE = [
    *("null", "true", "0", "-1", "1.5", "1e308", "1e999", "-1e999", "9" * 390, "9" * 5000, "NaN", "-Infinity"),
    *(
        "18446744073709551616",
        '""',
        '"\\ud800"',
        '"\\u0000"',
        '"\\u202e\\u001b]52;c;x\\u0007"',
        '"[[[["',
        '"{}"',
        '"NaN"',
    ),
    *(
        json.dumps("x" * 3000),
        "[]",
        "{}",
        "[null]",
        "[[]]",
        "[{}]",
        '{"":{}}',
        '{"self":1}',
        '{"messages":1}',
        '[1,"a"]',
    ),
    *('{"a":1,"a":2}', '["\\ud800"]', '{"type":"function"}', '{"role":"user"}'),
    '[{"role":"user","content":[{"type":"text","text":"\\udfff"}]}]',
    *(nested(60), nested(120, "object"), nested(490), nested(490, "object"), nested(3000)),
    *(json.dumps(nested(depth)) for depth in (490, 100_000)),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each part of a body."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def replaced(body: Any, path: tuple[Any, ...], text: str) -> str:
    """The body as JSON, with `text` at a path."""
    mark = "\x01here\x01"

    def copy(value: Any, path: tuple[Any, ...]) -> Any:
        if not path:
            return mark
        whole = dict(value) if isinstance(value, dict) else list(value)
        whole[path[0]] = copy(whole[path[0]] if isinstance(value, list) or path[0] in value else None, path[1:])
        return whole

    return json.dumps(copy(body, path)).replace(json.dumps(mark), text)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with answering() as client:
        yield client


def check(response: Any, what: str) -> None:
    assert response.status_code < 500 or response.status_code == 503, f"{what[:300]}: {response.text[:300]}"
    if response.status_code >= 400:
        assert len(response.text) < 2000, what[:300]
        message = response.json()["error"]
        message = message if isinstance(message, str) else message["message"]
        assert len(message) <= 500
        assert message == printable(message)
        assert "bug" not in message


@pytest.mark.parametrize("url", BODIES)
def test_any_value_anywhere_is_answered_or_refused(client: TestClient, url: str) -> None:
    body = BODIES[url]
    assert client.post(url, json=body).status_code == 200
    schema = client.get("/openapi.json").json()
    reference = schema["paths"][url]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
    for number, path in enumerate([*places(body), *((name,) for name in fields if name not in body)]):
        for text in some(HOSTILE[number % 4 :], 4):
            sent = replaced(body, path, text)
            check(client.post(url, content=sent.encode()), f"{url} {path} {text}")


NAMES = st.sampled_from(
    [*"abn", "role", "content", "type", "function", "name", "arguments", "parameters", "text", "self"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(url=st.sampled_from(sorted(BODIES)), data=st.data())
def test_random_values_are_answered_or_refused(client: TestClient, url: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(places(BODIES[url]))[1:]))
    sent = replaced(BODIES[url], path, json.dumps(data.draw(JSON)))
    check(client.post(url, content=sent.encode()), f"{url} {path} {sent}")


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b" ",
            b"\xff",
            b'{"a":',
            b"[]",
            b"1",
            b"null",
            b'"x"',
            b"\xef\xbb\xbf{}",
            b"{}" * 2,
            b"\x00",
            b"[" * 100_000,
        ),
        *('{"messages": []}'.encode("utf-16"), b'{"\x00": 1}', b"{,}", b'{"a":1,}', b"/**/{}", b"{'a':1}"),
    ],
)
@pytest.mark.parametrize("url", BODIES)
def test_bodies_that_are_no_objects(client: TestClient, url: str, body: bytes) -> None:
    response = client.post(url, content=body)
    check(response, f"{url} {body!r}")
    assert 400 <= response.status_code < 500


PATHS = [
    *("/", "/%00", "/v1/models/%00", "/v1/models/%ff%fe", "/page/%2e%2e/app.py", "/page/../../x"),
    *("//evil.org/%0d%0aX: y", "/v1/models/" + "x" * 5000, "/v1/chat/completions?a=%00&a=%ff"),
    *("/health?" + "x" * 5000, "/v1/models/%E2%80%AE"),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X" * 300])
def test_paths_and_methods(client: TestClient, path: str, method: str) -> None:
    response = client.request(method, path)
    assert response.status_code < 500
    assert len(response.text) < 2000 or response.status_code == 200


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
#: Raw heads. The connection may be closed, but the server must go on.
HEADS = [
    *(b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
    *(GET + b"Host: localhost\r\n\r\n", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    *(b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    *(b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    *(b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    *(GET + b"X: y\r\n" * 20_000 + b"\r\n", GET + b"X: " + b"y" * 200_000 + b"\r\n\r\n"),
    *(GET + b"Origin: http://[\r\n\r\n", GET + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
    *(GET + b"If-None-Match: \xff,,,W/\r\n\r\n", GET + b"Authorization: Bearer \xff\r\n\r\n"),
    *(
        POST + header + b"\r\n\r\n" + body
        for header, body in (
            *(
                (b"Content-Length: " + length, b"{}")
                for length in (b"-1", b"1e3", b"9" * 5000, b"9" * 20, b"\xb2", b"2, 2")
            ),
            (b"Content-Length: 2\r\nContent-Length: 3", b"{}"),
            (b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
            (b"Transfer-Encoding: gzip", b"{}"),
            *((b"Transfer-Encoding: chunked", body) for body in (b"zz\r\n{}", b"-1\r\n", b"f" * 19 + b"\r\n{}")),
            (b"Expect: 100-continue\r\nContent-Length: 2", b"[]"),
            (b"Content-Type: application/json; charset=\xff\r\nContent-Length: 2", b"[]"),
            (b"Origin: http://localhost\r\nContent-Type: \xff/;;=\r\nContent-Length: 2", b"[]"),
            (b"Content-Encoding: gzip\r\nContent-Length: 2", b"[]"),
        )
    ),
]


def test_heads_that_are_odd_or_no_http(caplog: pytest.LogCaptureFixture) -> None:
    with running(create_app(Service(scripted_model()))) as url:
        host, port = url.removeprefix("http://").split(":")
        for head in HEADS:
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                answer = b""
                with contextlib.suppress(ConnectionError):  # refused before all of it was read
                    connection.sendall(head)
                    connection.shutdown(socket.SHUT_WR)
                    while part := connection.recv(65536):
                        answer += part
            status = answer.split(b" ")[1:2]
            assert status in ([], [b"200"]) or status[0].startswith(b"4"), (head[:200], answer[:300])
    assert "Traceback" not in caplog.text
