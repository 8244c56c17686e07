"""Completions, Ollama's endpoints, the tokenizer's: streamed equals whole, refusals by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from answering import ANSWER, ARGUMENTS, PARAMETERS, answering, breaking, data, idle
from behind import BY_BACKEND, on_every_backend
from starlette.testclient import TestClient

from shoestring.server.ollama.requests import chat_request as ollama_request
from shoestring.server.ollama.types import ChatBody as OllamaBody
from shoestring.server.openai.chat_requests import chat_request as openai_request
from shoestring.server.openai.chat_types import ChatBody


@pytest.fixture(scope="module", params=BY_BACKEND)
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with answering(backend=request.param) as client:
        yield client


@pytest.fixture(scope="module")
def local() -> Iterator[TestClient]:
    """A server that has the tokenizer."""
    with answering() as client:
        yield client


# --- /v1/completions


def complete(client: TestClient, **fields: Any) -> Any:
    return client.post("/v1/completions", json={"temperature": 0, **fields})


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("n", [1, 2])
def test_streamed_and_whole_completions_are_equal(client: TestClient, echo: bool, n: int) -> None:
    prompts = ["One, two", "A, b", "x"] * 4
    fields: dict[str, Any] = {"prompt": prompts, "echo": echo, "n": n, "max_tokens": 30}
    whole = complete(client, **fields).json()
    lines = data(complete(client, **fields, stream=True, stream_options={"include_usage": True}).text)
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    texts = [""] * (len(prompts) * n)
    reasons: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["text"]
            if choice["finish_reason"]:
                reasons[choice["index"]] = choice["finish_reason"]
    assert texts == [choice["text"] for choice in whole["choices"]]
    assert [reasons[i] for i in range(len(texts))] == [choice["finish_reason"] for choice in whole["choices"]]
    assert texts[0] == ("One, two" if echo else "") + ", three. 👋"
    alone = [complete(client, **{**fields, "prompt": prompt}).json()["usage"] for prompt in prompts]
    for usage in (chunks[-1]["usage"], whole["usage"]):
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            assert usage[name] == sum(one[name] for one in alone)
    assert idle(client)


@on_every_backend
def test_logprobs_have_tokens_and_offsets(client: TestClient) -> None:
    choice = complete(client, prompt="One, two", max_tokens=30, logprobs=1).json()["choices"][0]
    logprobs = choice["logprobs"]
    assert len({len(values) for values in logprobs.values()}) == 1
    assert logprobs["text_offset"][:3] == [0, 1, 2]
    assert logprobs["tokens"][:3] == [",", " ", "t"]
    assert "bytes:\\xf0" in logprobs["tokens"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "max_tokens": 0, "logprobs": 1}, "max_tokens"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "prompt_logprobs": 1}, "prompt_logprobs"),
        ({"prompt": ""}, "empty"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [99999]}, "token ids"),
        ({"prompt": "a", "logit_bias": {"x": 1}}, "logit_bias"),
        ({"prompt": "a", "nonsense": 1}, "nonsense"),
        ({}, "prompt"),
    ],
)
def test_completions_refuse_by_name(client: TestClient, fields: dict[str, Any], says: str) -> None:
    answer = complete(client, **fields)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert idle(client)


@on_every_backend
def test_a_failing_completion(client: TestClient) -> None:
    with breaking(client) as streams:
        lines = data(complete(client, prompt=["a", "b"], stream=True).text)
        assert complete(client, prompt=["a", "b"]).status_code == 500
    assert json.loads(lines[-1])["error"]["message"] == "the step failed"
    assert all(stream.closed for stream in streams)


# --- Ollama


def chat(client: TestClient, text: str = "hello", **fields: Any) -> Any:
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}], "options": {"temperature": 0}}
    return client.post("/api/chat", json={**body, **fields})


TOOL = {"type": "function", "function": {"name": "look", "parameters": PARAMETERS}}


@pytest.mark.parametrize("fields", [{}, {"think": False}, {"text": "weather", "tools": [TOOL]}], ids=str)
def test_ollamas_lines_add_up_to_the_whole_answer(client: TestClient, fields: dict[str, Any]) -> None:
    whole = chat(client, **fields, stream=False).json()
    lines = [json.loads(line) for line in chat(client, **fields).text.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    for field in ("content", "thinking"):
        assert "".join(line["message"].get(field, "") for line in lines) == whole["message"].get(field, "")
    calls = [call["function"] for line in lines for call in line["message"].get("tool_calls", ())]
    assert calls == [call["function"] for call in whole["message"].get("tool_calls", ())]
    assert lines[-1]["eval_count"] == whole["eval_count"]
    parts = ("load_duration", "prompt_eval_duration", "eval_duration")
    assert sum(whole[part] for part in parts) == whole["total_duration"]


@on_every_backend
def test_ollamas_calls_and_generate(client: TestClient) -> None:
    calls = chat(client, "weather", tools=[TOOL], stream=False).json()["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == [ARGUMENTS, {"city": "Rome"}]
    asked = {"model": "scripted", "prompt": "hello", "stream": False}
    answer = client.post("/api/generate", json=asked).json()
    assert (answer["response"], answer["thinking"].strip()) == (ANSWER, "a greeting")
    short = client.post("/api/generate", json={**asked, "think": False, "options": {"num_predict": 2}}).json()
    assert (short["done_reason"], short["eval_count"]) == ("length", 2)
    for empty in ({"prompt": ""}, {"prompt": "", "keep_alive": 0}):
        assert client.post("/api/generate", json={**asked, **empty}).json()["done"]


@pytest.mark.parametrize(("window", "expected"), [(None, None), (-1, None), (0, 0), (64, 64)])
def test_repeat_last_n_is_the_penalties_window(window: int | None, expected: int | None) -> None:
    options = {"repeat_penalty": 1.1, **({} if window is None else {"repeat_last_n": window})}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "options": options}
    ours = ollama_request(OllamaBody.model_validate(body)).options.sampling
    theirs = openai_request(ChatBody.model_validate({"messages": body["messages"], **options}), "").options.sampling
    assert ours == theirs
    assert (ours["repetition_penalty"], ours.get("penalty_window")) == (1.1, expected)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"options": {"mirostat": 2}}, "mirostat"),
        ({"options": {"repeat_last_n": -2}}, "repeat_last_n"),
        ({"options": {"num_predict": 0}}, "max_tokens"),
        ({"format": "yaml"}, "format"),
        ({"think": "wildly"}, "think"),
        ({"messages": [{"role": "user", "content": "x", "images": ["aa"]}]}, "images"),
        ({"model": "other"}, "other"),
    ],
)
def test_ollama_refuses_by_name(client: TestClient, fields: dict[str, Any], says: str) -> None:
    answer = chat(client, **fields)
    assert answer.status_code in (400, 404)
    assert says in answer.json()["error"]
    assert idle(client)


# --- the tokenizer


@pytest.mark.parametrize("text", ["", "plain", "<think>", "é👋", "<|im_end|>"])
def test_tokenizing_is_reversible(local: TestClient, text: str) -> None:
    for field in ("prompt", "content"):
        for special in (False, True):
            body = {field: text, "parse_special": special}
            tokens = local.post("/tokenize", json=body).json()["tokens"]
            assert local.post("/detokenize", json={"tokens": tokens}).json() == {"prompt": text, "content": text}
            assert (max([0, *tokens]) >= 256) == (special and text.startswith("<"))


def test_a_rendered_conversation_matches_the_count(local: TestClient) -> None:
    messages = [{"role": "user", "content": "<think>"}]
    rendered = local.post("/apply-template", json={"messages": messages}).json()
    tokens = local.post("/tokenize", json={"messages": messages}).json()
    assert tokens["tokens"] == rendered["tokens"]
    assert tokens["count"] == len(rendered["tokens"])
    closed = local.post("/apply-template", json={"messages": messages, "add_generation_prompt": False}).json()
    assert rendered["prompt"].startswith(closed["prompt"])
    assert len(closed["prompt"]) < len(rendered["prompt"])


@pytest.mark.parametrize("body", [{}, {"prompt": "a", "content": "b"}, {"messages": []}, {"messages": [{}]}])
def test_invalid_tokenize_requests_are_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/tokenize", json=body).status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"prompt": "a"}),
        ("/detokenize", {"tokens": [1]}),
        ("/apply-template", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/completions", {"prompt": [1, 2], "echo": True}),
    ],
)
def test_what_needs_a_tokenizer_is_refused_before_another_server(path: str, body: dict[str, Any]) -> None:
    with answering(backend="url") as client:
        answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_endpoint")
    assert "tokenizer" in answer.json()["error"]["message"]
