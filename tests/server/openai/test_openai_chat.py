"""/v1/chat/completions on the wire: order, shapes, extensions, refusals by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from behind import BY_BACKEND, on, on_every_backend
from starlette.testclient import TestClient

from shoestring.testing import Reply, scripted_model

REPLIES = {
    "hi": Reply("hällo", thinking="hmm"),
    "act": Reply("", calls=[("f", {"a": 1}), ("f", {"a": 2})]),
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}
URL = "/v1/chat/completions"


@pytest.fixture(scope="module", params=BY_BACKEND)
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with on(request.param, partial(scripted_model, REPLIES, context=4096)) as client:
        yield client


def body(text: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def answer(client: TestClient, **fields: Any) -> dict[str, Any]:
    response = client.post(URL, json=body(**fields))
    assert response.status_code == 200, response.text
    return dict(response.json())


def events(client: TestClient, **fields: Any) -> list[str]:
    response = client.post(URL, json=body(**fields, stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    return [event for event in response.text.split("\n\n") if event]


def chunks(client: TestClient, **fields: Any) -> list[dict[str, Any]]:
    *data, last = [event for event in events(client, **fields) if not event.startswith(":")]
    assert last == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in data]


def test_a_stream_has_the_order_that_clients_need(client: TestClient) -> None:
    found = chunks(client, stream_options={"include_usage": True})
    assert len({chunk["id"] for chunk in found}) == 1
    *choices, usage = found
    assert choices[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("role" not in chunk["choices"][0]["delta"] for chunk in choices[1:])
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in choices]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert all(chunk["usage"] is None for chunk in choices)
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == usage["usage"]["prompt_tokens"] + usage["usage"]["completion_tokens"]


@on_every_backend
def test_a_stream_adds_up_to_the_whole_answer(client: TestClient) -> None:
    whole = answer(client)["choices"][0]["message"]
    added: dict[str, str] = {}
    for chunk in chunks(client):
        assert "usage" not in chunk
        for name, text in chunk["choices"][0]["delta"].items():
            added[name] = added.get(name, "") + text
    assert added == {name: whole[name] for name in added}
    assert whole["content"] == "hällo"
    assert whole["reasoning_content"] == whole["reasoning"] == added["reasoning"]


@on_every_backend
def test_a_call_sends_id_and_name_once(client: TestClient) -> None:
    calls: dict[int, list[dict[str, Any]]] = {}
    for chunk in chunks(client, text="act", tools=[TOOL]):
        for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
            calls.setdefault(call["index"], []).append(call)
    assert sorted(calls) == [0, 1]
    for index, (first, *rest) in calls.items():
        assert {"id", "type"} <= set(first)
        assert first["function"]["name"] == "f"
        assert all(set(call) == {"index", "function"} and set(call["function"]) == {"arguments"} for call in rest)
        assert json.loads("".join(call["function"]["arguments"] for call in calls[index])) == {"a": index + 1}
    message = answer(client, text="act", tools=[TOOL])["choices"][0]
    assert message["finish_reason"] == "tool_calls"
    assert message["message"]["content"] is None
    assert [json.loads(c["function"]["arguments"]) for c in message["message"]["tool_calls"]] == [{"a": 1}, {"a": 2}]


def test_answers_to_one_prompt_are_numbered(client: TestClient) -> None:
    whole = answer(client, n=3)
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    text = {0: "", 1: "", 2: ""}
    for chunk in chunks(client, n=3):
        text[chunk["choices"][0]["index"]] += chunk["choices"][0]["delta"].get("content", "")
    assert set(text.values()) == {"hällo"}


@on_every_backend
def test_logprobs_cover_only_content(client: TestClient) -> None:
    found = answer(client, logprobs=True, top_logprobs=1)["choices"][0]["logprobs"]["content"]
    assert bytes(byte for entry in found for byte in entry["bytes"]).decode() == "hällo"
    assert all(entry["top_logprobs"] for entry in found)
    assert answer(client)["choices"][0]["logprobs"] is None
    streamed = [
        entry
        for chunk in chunks(client, logprobs=True)
        for entry in (chunk["choices"][0]["logprobs"] or {"content": ()})["content"]
    ]
    assert [entry["bytes"] for entry in streamed] == [entry["bytes"] for entry in found]


def test_progress_is_a_comment_and_optionally_a_chunk(client: TestClient) -> None:
    long = "p" * 3000
    comments = [event for event in events(client, text=long) if event.startswith(": prefill ")]
    assert len(comments) > 1
    assert not any("prefill" in chunk for chunk in chunks(client, text=long + "q"))
    told = [
        chunk["prefill"]
        for chunk in chunks(client, text=long + "r", stream_options={"include_progress": True})
        if "prefill" in chunk
    ]
    assert [one["computed"] for one in told] == sorted(one["computed"] for one in told)
    assert told[-1]["computed"] <= told[-1]["prompt_tokens"]


@pytest.mark.parametrize(
    "fields",
    [
        {"enable_thinking": False},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "none"},
        {"reasoning": {"effort": "none"}},
        {"reasoning": {"enabled": False}},
        {"thinking_budget": 0},
    ],
)
def test_thinking_can_be_switched_off_in_every_spelling(client: TestClient, fields: dict[str, Any]) -> None:
    message = answer(client, **fields)["choices"][0]["message"]
    assert message["content"] == "hällo"
    assert "reasoning_content" not in message


def test_a_thinking_budget_closes_thinking(client: TestClient) -> None:
    short = answer(client, thinking_budget=1)
    assert short["choices"][0]["message"]["content"] == "hällo"
    assert short["choices"][0]["message"]["reasoning_content"] != "hmm"


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "prompt_cache_key": "k"},
        {"safety_identifier": "s", "prediction": {"type": "content", "content": "x"}, "modalities": ["text"]},
        {"temperature": None, "stop": None, "tools": None, "logit_bias": None, "n": None, "stream": None},
        {"functions": None, "audio": None},
        {"seed": -1},
        {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": False},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"messages": [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi", "name": "bo"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}]},
        {
            "messages": [
                {"role": "user", "content": "act"},
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "hm",
                    "refusal": None,
                    "annotations": [],
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": "hi"},
            ]
        },
    ],
)
def test_requests_of_real_clients_are_accepted(client: TestClient, fields: dict[str, Any]) -> None:
    assert answer(client, **fields)["choices"][0]["message"]["content"] == "hällo"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"foo": 1}, "foo"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"audio": {}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"verbosity": "low"}, "verbosity"),
        ({"guided_json": {}}, "guided_json"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 1000}, "temperature"),
        ({"top_logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [TOOL]}, "'g'"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": [1]}}]}, "parameters"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0"),
        ({"response_format": {"type": "json_schema"}}, "json_schema"),
        ({"response_format": {"type": "text", "x": 1}}, "response_format"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
        ({"reasoning_effort": "enormous"}, "enormous"),
        ({"enable_thinking": True, "reasoning": {"enabled": False}}, "enable_thinking"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "image_url"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "role"),
        ({"messages": [{"role": "assistant", "content": "a", "prefix": True}]}, "prefix"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "message"),
        ({"model": "gpt-9"}, "gpt-9"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_unsupported_fields_are_refused_by_name(
    client: TestClient, fields: dict[str, Any], named: str, stream: bool
) -> None:
    response = client.post(URL, json=body(**fields, stream=stream))
    assert response.status_code == (404 if "model" in fields else 400)
    error = response.json()["error"]
    assert named in error["message"], error
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["code"], str)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"a"', b"null", b"\xff", b"[" * 100_000, b'{"messages":[{"role":"user"}],"n":1e400}']
)
def test_invalid_bodies_are_refused(client: TestClient, content: bytes) -> None:
    response = client.post(URL, content=content)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_a_lone_surrogate_is_text(client: TestClient) -> None:
    content = b'{"messages": [{"role": "user", "content": "a\\ud800b"}], "user": "\\udc00"}'
    response = client.post(URL, content=content)
    assert response.status_code == 200
    assert "a\ufffdb" in response.json()["choices"][0]["message"]["content"]


@on_every_backend
def test_a_too_long_conversation_has_the_code_that_clients_know(client: TestClient) -> None:
    error = client.post(URL, json=body("z" * 5000)).json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "4096" in error["message"]
