"""When an answer continues the last message (prefill): on OpenAI's API only if asked, on Anthropic's always."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from starlette.testclient import TestClient

from shoestring.server.http.app import create_app
from shoestring.server.service import Service
from shoestring.testing import Family, Reply, scripted_model

CONTENT = "one two three."
HI = {"role": "user", "content": "hi"}
ONE = {"role": "assistant", "content": "one"}


@pytest.fixture(scope="module", params=get_args(Family))
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    model = scripted_model({"hi": Reply(CONTENT, thinking="hm")}, family=request.param)
    with TestClient(create_app(Service(model)), "http://127.0.0.1") as client:
        yield client


def openai(client: TestClient, **fields: Any) -> Any:
    return client.post("/v1/chat/completions", json={"messages": [HI, ONE], "temperature": 0, **fields})


def anthropic(client: TestClient, *messages: Any, **fields: Any) -> Any:
    body = {"model": "scripted", "messages": list(messages), "max_tokens": 100, "temperature": 0}
    return client.post("/v1/messages", json={**body, **fields})


def test_openai_continues_only_if_asked(client: TestClient) -> None:
    for fields in ({"continue_final_message": True}, {"continue_final_message": True, "add_generation_prompt": False}):
        assert openai(client, **fields).json()["choices"][0]["message"]["content"] == " two three."
    for fields in ({}, {"continue_final_message": False}, {"add_generation_prompt": True}):
        assert openai(client, **fields).json()["choices"][0]["message"]["content"] == CONTENT


def test_contradictions_are_refused(client: TestClient) -> None:
    for fields, named in (
        ({"continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt"),
        ({"add_generation_prompt": False}, "continue_final_message: true"),
        ({"continue_final_message": True, "messages": [HI]}, "not the assistant's"),
        ({"continue_final_message": True, "response_format": {"type": "json_object"}}, "response_format"),
    ):
        answer = openai(client, **fields)
        assert answer.status_code == 400
        assert named in answer.json()["error"]["message"]


def test_anthropic_always_continues(client: TestClient) -> None:
    for last in (ONE, {"role": "assistant", "content": [{"type": "text", "text": "one"}]}):
        assert anthropic(client, HI, last).json()["content"] == [{"type": "text", "text": " two three."}]
    assert anthropic(client, HI).json()["content"][-1]["text"] == CONTENT
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}
    assert anthropic(client, HI, use).status_code == 400
    counted = client.post("/v1/messages/count_tokens", json={"model": "scripted", "messages": [HI, ONE]}).json()
    usage = anthropic(client, HI, ONE).json()["usage"]
    assert counted["input_tokens"] == usage["input_tokens"] + usage["cache_read_input_tokens"]
