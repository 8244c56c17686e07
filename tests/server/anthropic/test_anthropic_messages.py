"""/v1/messages over HTTP: details that the vendor's client hides (tests/server/clients uses that client)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from answering import ANSWER, PARAMETERS, answering, breaking, idle
from behind import BY_BACKEND, on_every_backend
from starlette.testclient import TestClient

from shoestring.server.anthropic.wire import assembled

PATH = "/v1/messages"


@pytest.fixture(scope="module", params=BY_BACKEND)
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with answering(backend=request.param) as client:
        yield client


def body(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "scripted", "max_tokens": 500, "messages": [{"role": "user", "content": text}], **fields}


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and data of each event."""
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


LOOK = {"name": "look", "input_schema": PARAMETERS}


@on_every_backend
@pytest.mark.parametrize(
    "fields",
    [body(), body(thinking={"type": "adaptive"}), body("weather", tools=[LOOK]), body(max_tokens=3)],
    ids=["text", "thinking", "tools", "cut"],
)
def test_streamed_and_whole_messages_are_equal(client: TestClient, fields: dict[str, Any]) -> None:
    whole = client.post(PATH, json={**fields, "temperature": 0}).json()
    streamed = client.post(PATH, json={**fields, "temperature": 0, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    message = assembled(event for _, event in events(streamed.text)).model_dump(exclude_none=False)
    for own in ("id", "usage"):
        del whole[own], message[own]
    for block in (*whole["content"], *message["content"]):
        block.pop("id", None)
    assert message == whole


def test_every_event_has_a_name_and_progress_is_a_ping(client: TestClient) -> None:
    found = events(client.post(PATH, json=body(stream=True)).text)
    assert all(name == event["type"] for name, event in found)
    pings = [event for name, event in found if name == "ping"]
    assert pings[-1]["prefill"]["computed"] == pings[-1]["prefill"]["prompt_tokens"]
    assert found[0][0] == "message_start"
    assert found[0][1]["message"]["usage"]["output_tokens"] == 0


@on_every_backend
def test_cached_tokens_are_separate_and_the_sum_matches_count_tokens(client: TestClient) -> None:
    fields = body("A question that is asked twice. " * 20)
    counted = client.post(f"{PATH}/count_tokens", json={key: fields[key] for key in ("model", "messages")}).json()
    first, second = (client.post(PATH, json=fields).json()["usage"] for _ in range(2))
    for usage in (first, second):
        prompt = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
        assert prompt == counted["input_tokens"]
    assert second["cache_read_input_tokens"] > first["cache_read_input_tokens"]


def test_stop_sequence(client: TestClient) -> None:
    answer = client.post(PATH, json=body(stop_sequences=["你", "llo"])).json()
    assert (answer["content"][0]["text"], answer["stop_reason"]) == ("Hé", "stop_sequence")
    assert answer["stop_sequence"] == "llo"


def test_omitted_thinking(client: TestClient) -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    content = client.post(PATH, json=body(thinking=thinking)).json()["content"]
    assert content == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ANSWER},
    ]


@pytest.mark.parametrize("path", [PATH, f"{PATH}/count_tokens"])
@pytest.mark.parametrize(
    ("sent", "status", "kind", "says"),
    [
        (b"[]", 400, "invalid_request_error", ""),
        (b"{", 400, "invalid_request_error", "JSON"),
        (b"null", 400, "invalid_request_error", ""),
        (b"{}", 400, "invalid_request_error", "required"),
        (json.dumps(body(nonsense=1)).encode(), 400, "invalid_request_error", "nonsense is not supported"),
        (json.dumps(body(mcp_servers=[1])).encode(), 400, "invalid_request_error", "mcp_servers is not supported"),
        (json.dumps({**body(), "model": "gpt"}).encode(), 404, "not_found_error", "does not serve the model 'gpt'"),
        (
            json.dumps(body(tools=[LOOK], tool_choice={"type": "tool", "name": "other"})).encode(),
            400,
            "invalid_request_error",
            "other",
        ),
    ],
)
def test_errors_have_anthropics_shape(
    client: TestClient, path: str, sent: bytes, status: int, kind: str, says: str
) -> None:
    if path != PATH and sent[:1] == b"{" and b"model" in sent:
        fields = json.loads(sent)
        sent = json.dumps({key: value for key, value in fields.items() if key != "max_tokens"}).encode()
    answer = client.post(path, content=sent, headers={"content-type": "application/json"})
    assert answer.status_code == status
    error = answer.json()
    assert (error["type"], error["error"]["type"]) == ("error", kind)
    assert says in error["error"]["message"]
    assert idle(client)


@on_every_backend
def test_an_error_in_the_middle_is_an_event(client: TestClient) -> None:
    with breaking(client) as streams:
        streamed, whole = client.post(PATH, json=body(stream=True)), client.post(PATH, json=body())
    found = events(streamed.text)
    assert [name for name, _ in found] == ["message_start", "content_block_start", "content_block_delta", "error"]
    error = {"type": "error", "error": {"type": "api_error", "message": "the step failed"}}
    assert found[-1][1] == error | {"request_id": streamed.headers["request-id"]}
    assert (whole.status_code, whole.json()) == (500, error | {"request_id": whole.headers["request-id"]})
    assert all(stream.closed for stream in streams)


def test_llama_4_answers_too() -> None:
    with answering("llama4") as client:
        answer = client.post(PATH, json=body("weather", tools=[LOOK], thinking={"type": "adaptive"})).json()
    assert [block["type"] for block in answer["content"]][-2:] == ["tool_use", "tool_use"]
    assert answer["stop_reason"] == "tool_use"
