"""OpenAI's own client: the calls of its users, and its view of our answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from questions import (
    ADA,
    BOTH,
    HELLO,
    HELLO_REPLY,
    OSLO,
    RAW,
    RAW_REPLY,
    ROME,
    SUM,
    WEATHER,
    WEATHER_TOOL,
)

from shoestring.testing import Family

openai = pytest.importorskip("openai", reason="the client, PyPI's openai, is not installed")


class Person(BaseModel):
    name: str
    born: int


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_chat(client: Any, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=user(HELLO))
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", HELLO_REPLY, "stop")
    assert answer.model == model
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens > len(HELLO_REPLY)


def test_second_turn_comes_from_the_cache(client: Any, model: str) -> None:
    messages = user("An opening that no other test has, long enough for a page or two of the cache. " * 8)
    first = client.chat.completions.create(model=model, messages=messages)
    messages += [{"role": "assistant", "content": first.choices[0].message.content}, *user(HELLO)]
    second = client.chat.completions.create(model=model, messages=messages)
    assert second.choices[0].message.content == HELLO_REPLY
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens * 0.9


def test_stream(client: Any, model: str) -> None:
    stream = client.chat.completions.create(
        model=model, messages=user(HELLO), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    said = [chunk for chunk in chunks if chunk.choices]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == HELLO_REPLY
    assert said[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in said if chunk.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > len(HELLO_REPLY)
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_helper_assembles_the_answer(client: Any, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=user(BOTH), tools=[WEATHER_TOOL]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    message = final.choices[0].message
    assert message.content.strip() == "I look it up."
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [OSLO, ROME]
    assert "tool_calls.function.arguments.delta" in kinds
    assert final.choices[0].finish_reason == "tool_calls"


def test_an_abandoned_stream_is_harmless(client: Any, model: str) -> None:
    stream = client.chat.completions.create(model=model, messages=user("long " * 500), stream=True)
    next(iter(stream))
    stream.close()
    test_chat(client, model)


def test_thinking(client: Any, model: str, family: Family) -> None:
    answer = client.chat.completions.create(model=model, messages=user(SUM), reasoning_effort="high")
    message = answer.choices[0].message
    assert message.content == "42"
    if family == "qwen3_5":
        assert message.reasoning_content.strip() == "Six sevens are forty-two."
        assert answer.usage.completion_tokens_details.reasoning_tokens > 0
    quiet = client.chat.completions.create(model=model, messages=user(SUM), reasoning_effort="none")
    assert quiet.choices[0].message.content == "42"
    assert not getattr(quiet.choices[0].message, "reasoning_content", None)


def test_tool_loop(client: Any, model: str) -> None:
    messages = user(WEATHER)
    answer = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER_TOOL])
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name, json.loads(call.function.arguments)) == ("function", "get_weather", OSLO)
    assert choice.finish_reason == "tool_calls"
    messages += [
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "12 degrees, rain"},
    ]
    answer = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER_TOOL])
    assert answer.choices[0].message.content == "It says: 12 degrees, rain"
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_tool_choice(client: Any, model: str, choice: Any) -> None:
    """The script calls the tool anyway; the test checks that the constraint allows it and the shape is right."""
    answer = client.chat.completions.create(
        model=model, messages=user(WEATHER), tools=[WEATHER_TOOL], tool_choice=choice
    )
    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == OSLO


def test_parse(client: Any, model: str) -> None:
    answer = client.chat.completions.parse(model=model, messages=user(ADA), response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada Lovelace", born=1815)


def test_parse_strict_tool(client: Any, model: str) -> None:
    class get_weather(BaseModel):
        city: str
        days: int

    tool = openai.pydantic_function_tool(get_weather)
    answer = client.chat.completions.parse(model=model, messages=user(WEATHER), tools=[tool])
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.parsed_arguments == get_weather(**OSLO)


def test_models(client: Any, model: str) -> None:
    assert [entry.id for entry in client.models.list()] == [model]
    assert client.models.retrieve(model).id == model


def test_completions(client: Any, model: str) -> None:
    answer = client.completions.create(model=model, prompt=RAW, max_tokens=100)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (RAW_REPLY, "stop")
    short = client.completions.create(model=model, prompt=RAW, max_tokens=6)
    assert (short.choices[0].text, short.choices[0].finish_reason) == (" jumps", "length")
    chunks = list(client.completions.create(model=model, prompt=RAW, max_tokens=100, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == RAW_REPLY


def test_errors_are_the_clients_own(client: Any, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-none", messages=user(HELLO))
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model=model, messages=user("x" * 20_000))
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="web_search_options"):
        client.chat.completions.create(model=model, messages=user(HELLO), web_search_options={})


def test_parallel_async_clients(url: str, model: str) -> None:
    async def answers() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            calls = [client.chat.completions.create(model=model, messages=user(f"number {n}")) for n in range(12)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(answers()) == [f"You said: number {n}" for n in range(12)]


def test_answers_and_errors_have_a_request_id(client: Any, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=user(HELLO), extra_headers={"X-Request-Id": "mine-1"})
    assert answer._request_id == "mine-1"
    assert client.models.list()._request_id.startswith("req_")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=user(HELLO), n=99)
    assert caught.value.request_id.startswith("req_")
