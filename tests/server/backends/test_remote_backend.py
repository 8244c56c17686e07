"""The front door before another server: what reaches it, how its failures look, and that nothing hangs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from behind import client_of, remote
from faulty import Faulty
from running import running
from starlette.testclient import TestClient

from shoestring.errors import RequestError
from shoestring.server.backends.remote.upstream import Kind, find_upstream
from shoestring.server.errors import ApiError
from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.request import ChatRequest, Delta

KEY, OURS = "sk-client", "sk-ours"
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg"]
CHAT, MESSAGES, OLLAMA = "/v1/chat/completions", "/v1/messages", "/api/chat"


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[Faulty, str]]:
    faulty = Faulty()
    with running(faulty.app) as url:
        yield faulty, url


@pytest.fixture(scope="module")
def client(upstream: tuple[Faulty, str]) -> Iterator[TestClient]:
    backend = remote(upstream[1], key=OURS, timeout_seconds=0.3)
    with client_of(create_app(backend, Settings(api_keys=(KEY,)))) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        yield client


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 50, **fields}


@pytest.mark.parametrize(
    ("text", "status", "code", "says"),
    [
        ("400", 400, "context_length_exceeded", "maximum context length"),
        ("401", 502, "upstream_key", "this server's key"),
        ("429", 429, "queue_full", "no reason"),
        ("503", 503, "overloaded", "no reason"),
        ("500", 502, "upstream_failed", "500"),
        ("418", 502, "upstream_failed", "418"),
        ("hang", 504, "upstream_timeout", "too long"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_it_refuses_is_an_error_before_the_answer(
    client: TestClient, text: str, status: int, code: str, says: str, stream: bool
) -> None:
    answer = client.post(CHAT, json=body(text, stream=stream))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert says in error["message"]
    assert "sk-" not in answer.text
    assert answer.headers.get("Retry-After") == ("7" if status in (400, 429, 503) else None)
    assert not client.app.state.service.busy  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dies", "closed the connection"),
        ("ends early", "before the answer ended"),
        ("goes silent", "sent nothing for too long"),
        ("error event", "the engine is dead"),
        ("no json", "does not speak OpenAI's API"),
    ],
)
def test_what_breaks_off_is_an_error_of_each_api_and_soon(client: TestClient, text: str, says: str) -> None:
    began = time.monotonic()
    for path, shape in ((CHAT, "error"), (MESSAGES, "error"), (OLLAMA, "error")):
        fields = body(text, stream=True)
        if path == OLLAMA:
            del fields["max_tokens"]
        *_, last = [line for line in client.post(path, json=fields).text.splitlines() if line.strip()]
        error = json.loads(last.removeprefix("data: "))[shape]
        assert says in (error if isinstance(error, str) else error["message"])
        whole = client.post(path, json={**fields, "stream": False})
        assert whole.status_code in (502, 504)
        assert says in whole.text
    assert time.monotonic() - began < 10
    assert not client.app.state.service.busy  # type: ignore[attr-defined]


def test_a_clients_key_is_never_passed_on(client: TestClient, upstream: tuple[Faulty, str]) -> None:
    faulty = upstream[0]
    client.post(CHAT, json=body("no usage", user="me"), headers={"x-api-key": KEY, "cookie": "a=b"})
    headers = faulty.headers[-1]
    assert headers["authorization"] == f"Bearer {OURS}"
    assert KEY not in json.dumps([headers, faulty.bodies[-1]])
    assert not {"x-api-key", "cookie", "x-request-id"} & set(headers)


def test_calls_of_every_shape_are_calls_of_ours(client: TestClient) -> None:
    choice = client.post(CHAT, json=body("calls", tools=TOOLS)).json()["choices"][0]
    calls = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("f", '{"a": 1}'), ("g", "{}"), ("f", "{}")
    ]  # fmt: skip
    assert calls[0]["id"] == "a"
    assert len({call["id"] for call in calls}) == 3
    blocks = client.post(MESSAGES, json=body("calls", tools=[{"name": n, "input_schema": {}} for n in "fg"])).json()
    assert [block["input"] for block in blocks["content"]] == [{"a": 1}, {}, {}]
    assert blocks["stop_reason"] == "tool_use"


def test_why_an_answer_ended_keeps_its_meaning(client: TestClient) -> None:
    stopped = client.post(MESSAGES, json=body("stops", stop_sequences=["llo"])).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "llo")
    full = client.post(MESSAGES, json=body("full")).json()
    assert full["stop_reason"] == "model_context_window_exceeded"
    assert full["usage"]["input_tokens"] + full["usage"]["cache_read_input_tokens"] == 7
    assert client.post(MESSAGES, json=body("full", max_tokens=3)).json()["stop_reason"] == "max_tokens"
    vain = client.post(CHAT, json=body("thinks in vain")).json()
    assert vain["choices"][0]["ended_inside_thinking"]
    assert vain["choices"][0]["message"]["reasoning_content"] == "hm"
    unknown = client.post(CHAT, json=body("no usage")).json()
    assert (unknown["usage"]["total_tokens"], unknown["choices"][0]["message"]["content"]) == (0, "hi")


def test_tokens_are_counted_there(client: TestClient, upstream: tuple[Faulty, str]) -> None:
    fields = body("x")
    del fields["max_tokens"]
    assert client.post(f"{MESSAGES}/count_tokens", json=fields).json() == {"input_tokens": 42}
    assert upstream[0].bodies[-1]["messages"] == fields["messages"]


@pytest.mark.parametrize(
    ("owner", "fields", "named"),
    [
        ("someone", {"top_k": 3}, "top_k"),
        ("someone", {"enable_thinking": True}, "thinking"),
        ("someone", {"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
        ("someone", {"structured_outputs": {"regex": "a"}}, "structured_outputs.regex"),
        ("llamacpp", {"structured_outputs": {"choice": ["a"]}}, "structured_outputs.choice"),
        ("llamacpp", {"thinking_budget": 5}, "thinking_budget"),
        ("vllm", {"repetition_penalty": 1.1, "repeat_last_n": 5}, "repeat_last_n"),
        ("sglang", {"structured_outputs": {"lark": "a"}}, "structured_outputs.lark"),
    ],
)
def test_what_a_server_cannot_honour_is_refused_by_name(
    owner: str, fields: dict[str, Any], named: str, upstream: tuple[Faulty, str]
) -> None:
    faulty, url = upstream
    kinds: dict[str, Kind] = {"someone": "openai", "llamacpp": "llama.cpp", "vllm": "vllm", "sglang": "sglang"}
    seen = len(faulty.bodies)
    with client_of(create_app(remote(url, kind=kinds[owner]))) as client:
        answer = client.post(CHAT, json=body("no usage", **fields))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_field")
    assert named in answer.json()["error"]["message"]
    assert len(faulty.bodies) == seen


def test_a_closed_stream_is_cancelled_there(upstream: tuple[Faulty, str]) -> None:
    faulty, url = upstream
    left = faulty.left

    async def scene() -> None:
        backend = remote(url)
        backend.start()
        stream = await backend.chat(ChatRequest(({"role": "user", "content": "slow"},)))
        async for item in stream:
            if isinstance(item, Delta):
                break
        await stream.aclose()
        until = time.monotonic() + 5
        while faulty.left == left and time.monotonic() < until:
            await asyncio.sleep(0.02)
        assert faulty.left == left + 1
        assert not backend.busy
        # and a backend whose server is gone for good ends what runs
        running_one = await backend.chat(ChatRequest(({"role": "user", "content": "slow"},)))
        backend.fail("it was killed")
        with pytest.raises(ApiError, match="it was killed"):
            [item async for item in running_one]
        with pytest.raises(ApiError, match="it was killed"):
            await backend.chat(ChatRequest(({"role": "user", "content": "slow"},)))
        assert await backend.health() == "it was killed"
        await asyncio.to_thread(backend.close)
        await backend.ended()

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_connection_is_used_again(client: TestClient, upstream: tuple[Faulty, str]) -> None:
    """Also one whose stream ended a moment after its last event; an answer does not wait for that."""
    faulty = upstream[0]
    client.post(CHAT, json=body("stops"))
    faulty.ports.clear()
    for stream in (False, True) * 5:
        assert client.post(CHAT, json=body("stops", stream=stream)).status_code == 200
    assert len(faulty.ports) == 1
    began = time.monotonic()
    assert client.post(CHAT, json=body("lingers")).json()["choices"][0]["message"]["content"] == "hi"
    assert time.monotonic() - began < 0.9
    assert client.post(CHAT, json=body("stops")).status_code == 200
    assert len(faulty.ports) == 2


def test_a_server_that_is_gone_is_an_error_and_no_hang() -> None:
    faulty = Faulty()
    with running(faulty.app) as url:
        backend = remote(url)
    with client_of(create_app(backend)) as client:
        answer = client.post(CHAT, json=body("x"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
        assert "cannot be reached" in answer.json()["error"]["message"]
        assert client.get("/health").status_code == 503
        assert client.get("/health/live").status_code == 200
        assert "shoestring_requests_running" in client.get("/metrics").text


def test_which_model_is_served(upstream: tuple[Faulty, str]) -> None:
    url = upstream[1]
    assert find_upstream(url, None, None).model == "m"
    found = find_upstream(f"{url}/v1/", "other", None)
    assert (found.model, found.kind, found.root) == ("other", "openai", f"{url}/")
    # ray.serve.llm, which has vLLM behind it
    found = find_upstream(url, "on ray", None)
    assert (found.kind, found.context) == ("vllm", 20)
    assert found.honours("top_k")
    assert not found.honours("count_tokens")
    with pytest.raises(RequestError, match="does not serve 'third'"):
        find_upstream(url, "third", None)
    with pytest.raises(RequestError, match="404"):
        find_upstream(f"{url}/nothing", None, None)
    with pytest.raises(RequestError, match="no answer"):
        find_upstream("http://127.0.0.1:1", None, None)
