"""Anthropic's own client on /v1/messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from questions import ADA, BOTH, HELLO, HELLO_REPLY, OSLO, ROME, SUM, WEATHER, WEATHER_SCHEMA

from shoestring.testing import Family

anthropic = pytest.importorskip("anthropic", reason="the client, PyPI's anthropic, is not installed")

TOOL = {"name": "get_weather", "description": "Forecast of a city.", "input_schema": WEATHER_SCHEMA}


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def ask(model: str) -> Any:
    def arguments(text: str, **more: Any) -> dict[str, Any]:
        return {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **more}

    return arguments


def test_message(client: Any, ask: Any) -> None:
    message = client.messages.create(**ask(HELLO, system="Be brief."))
    assert [(block.type, block.text) for block in message.content] == [("text", HELLO_REPLY)]
    assert (message.role, message.stop_reason) == ("assistant", "end_turn")
    assert message.usage.output_tokens > len(HELLO_REPLY)


def test_max_tokens_and_stop_sequences(client: Any, ask: Any) -> None:
    assert client.messages.create(**{**ask(HELLO), "max_tokens": 3}).stop_reason == "max_tokens"
    stopped = client.messages.create(**ask(HELLO, stop_sequences=[" — "]))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " — ")
    assert stopped.content[0].text == "Hello"


def test_stream(client: Any, ask: Any) -> None:
    with client.messages.stream(**ask(HELLO)) as stream:
        assert "".join(stream.text_stream) == HELLO_REPLY
        final = stream.get_final_message()
    assert final.content[0].text == HELLO_REPLY
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > len(HELLO_REPLY)


def test_raw_events_in_order(client: Any, ask: Any) -> None:
    kinds = [event.type for event in client.messages.create(**ask(HELLO), stream=True) if event.type != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_loop(client: Any, ask: Any, streamed: bool) -> None:
    request = ask(BOTH, tools=[TOOL])
    if streamed:
        with client.messages.stream(**request) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**request)
    uses = [block for block in message.content if block.type == "tool_use"]
    assert [(use.name, use.input) for use in uses] == [("get_weather", OSLO), ("get_weather", ROME)]
    assert message.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": f"sun in {use.input['city']}"} for use in uses]
    request["messages"] += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    answer = client.messages.create(**request)
    assert answer.content[0].text == "It says: sun in Rome"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_tool_choice(client: Any, ask: Any, choice: dict[str, str]) -> None:
    message = client.messages.create(**ask(WEATHER, tools=[TOOL], tool_choice=choice))
    assert [block.input for block in message.content if block.type == "tool_use"] == [OSLO]


def test_thinking(client: Any, ask: Any, family: Family) -> None:
    request = ask(SUM, thinking={"type": "enabled", "budget_tokens": 1024})
    request["max_tokens"] = 2000
    message = client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == [block.type for block in message.content]
    assert final.content[-1].text == "42"
    assert message.content[-1].text == "42"
    if family == "qwen3_5":
        assert message.content[0].type == "thinking"
        assert message.content[0].thinking.strip() == "Six sevens are forty-two."
    assert [block.type for block in client.messages.create(**ask(SUM)).content] == ["text"]


def test_structured_output(client: Any, ask: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "born": {"type": "integer"}},
        "required": ["name", "born"],
        "additionalProperties": False,
    }
    message = client.messages.create(**ask(ADA, output_config={"format": {"type": "json_schema", "schema": schema}}))
    assert message.content[0].text == '{"name": "Ada Lovelace", "born": 1815}'


def test_count_tokens_is_what_the_prompt_costs(client: Any, ask: Any) -> None:
    request = ask("A question that only this test asks.", system="Be brief.", tools=[TOOL])
    usage = client.messages.create(**request).usage
    del request["max_tokens"]
    counted = client.messages.count_tokens(**request).input_tokens
    cache = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    assert usage.input_tokens + cache == counted


def test_models(client: Any, model: str) -> None:
    assert [entry.id for entry in client.models.list()] == [model]
    assert client.models.retrieve(model).id == model


def test_errors_are_the_clients_own(client: Any, ask: Any) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**{**ask(HELLO), "model": "claude-none"})
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as bad:
        client.messages.create(**ask("x" * 20_000))
    assert bad.value.body["error"]["type"] == "invalid_request_error"


def test_answers_and_errors_have_a_request_id(client: Any, ask: Any) -> None:
    assert client.messages.create(**ask(HELLO))._request_id.startswith("req_")
    with client.messages.stream(**ask(HELLO, extra_headers={"X-Request-Id": "mine-1"})) as stream:
        stream.until_done()
        assert stream.request_id == "mine-1"
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**ask(HELLO, stop_sequences=["x"] * 99))
    assert caught.value.request_id.startswith("req_")
    assert caught.value.body["request_id"] == caught.value.request_id
