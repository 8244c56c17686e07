"""Chat templates behind the server: what fails while rendering is the request's error, and stops nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.server.http.app import create_app
from shoestring.server.service import Service
from shoestring.testing import scripted_model

HI = [{"role": "user", "content": "hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HI, "max_tokens": 4},
    "/v1/messages": {"model": "scripted", "messages": HI, "max_tokens": 4},
    "/v1/messages/count_tokens": {"model": "scripted", "messages": HI},
    "/api/chat": {"model": "scripted", "messages": HI, "stream": False},
    "/apply-template": {"messages": HI},
    "/tokenize": {"messages": HI},
}
FAILING = {
    "steps": "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "memory": "{% set ns = namespace(x='xx') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "refusal": "{{ raise_exception('\x1b]52;c;x\x07' ~ '\u202e' ~ 'x' * 10 ** 6) }}",
}


@pytest.fixture(scope="module", params=FAILING)
def failing(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    model = scripted_model()
    model.template = ChatTemplate({"default": FAILING[request.param]}, model.tokenizer, "model.gguf")  # type: ignore[arg-type]
    with TestClient(create_app(Service(model)), "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    service = Service(scripted_model())
    with TestClient(create_app(service), "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("path", BODIES)
def test_a_template_that_fails_is_the_requests_error(path: str, failing: TestClient) -> None:
    answer = failing.post(path, json=BODIES[path])
    assert answer.status_code == 400, answer.text
    assert "model.gguf: the chat template " in answer.text
    assert len(answer.text) < 700
    assert failing.get("/health").status_code == 200
    assert failing.post("/v1/completions", json={"prompt": "a", "max_tokens": 1}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/apply-template", "/tokenize"])
@pytest.mark.parametrize(
    "name",
    ["self", "loop", "super", "caller", "varargs", "kwargs", "context", "messages", "tools", "range", "a b", "", "_x"],
)
def test_names_of_template_arguments(path: str, name: str, client: TestClient) -> None:
    for value in (1, None, "<think>", {"a": [1]}):
        answer = client.post(path, json={**BODIES[path], "chat_template_kwargs": {name: value}})
        assert answer.status_code == (200 if name == "context" else 400), answer.text


def test_values_of_template_arguments(client: TestClient) -> None:
    for levels, status in ((50, 200), (490, 400)):
        nested = "[" * levels + "]" * levels
        body = '{"messages": [{"role": "user", "content": "hi"}], "chat_template_kwargs": {"x": ' + nested + "}}"
        answer = client.post("/apply-template", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status, answer.text
        calls = '[{"function": {"name": "f", "arguments": {"x": ' + nested + "}}}]"
        body = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": ' + calls + "}]}"
        answer = client.post("/apply-template", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status, answer.text
