"""Ollama's own Python client on /api."""

from __future__ import annotations

from typing import Any

import pytest
from questions import ADA, BOTH, HELLO, HELLO_REPLY, OSLO, RAW, RAW_REPLY, ROME, SUM, WEATHER, WEATHER_TOOL

from shoestring.testing import Family

ollama = pytest.importorskip("ollama", reason="the client, PyPI's ollama, is not installed")


@pytest.fixture
def client(url: str) -> Any:
    client = ollama.Client(host=url, trust_env=False)
    yield client
    client._client.close()


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_chat(client: Any, model: str) -> None:
    answer = client.chat(model=model, messages=user(HELLO))
    assert (answer.message.role, answer.message.content) == ("assistant", HELLO_REPLY)
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert answer.eval_count > len(HELLO_REPLY)
    assert answer.prompt_eval_count > len(HELLO)


def test_stream(client: Any, model: str) -> None:
    parts = list(client.chat(model=model, messages=user(HELLO), stream=True))
    assert "".join(part.message.content or "" for part in parts) == HELLO_REPLY
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_loop(client: Any, model: str, streamed: bool) -> None:
    messages: list[Any] = user(BOTH)
    answer = client.chat(model=model, messages=messages, tools=[WEATHER_TOOL], stream=streamed)
    parts = list(answer) if streamed else [answer]
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [(call.function.name, dict(call.function.arguments)) for call in calls] == [
        ("get_weather", OSLO),
        ("get_weather", ROME),
    ]
    if not streamed:
        messages += [answer.message, {"role": "tool", "tool_name": "get_weather", "content": "12 degrees, rain"}]
        again = client.chat(model=model, messages=messages, tools=[WEATHER_TOOL])
        assert again.message.content == "It says: 12 degrees, rain"


def test_a_python_function_is_a_tool(client: Any, model: str) -> None:
    def get_weather(city: str, days: int) -> str:
        """Forecast of a city.

        Args:
            city: its name
            days: how far ahead
        """
        return ""

    answer = client.chat(model=model, messages=user(WEATHER), tools=[get_weather])
    (call,) = answer.message.tool_calls
    assert dict(call.function.arguments) == OSLO


def test_thinking(client: Any, model: str, family: Family) -> None:
    if family == "qwen3_5":
        answer = client.chat(model=model, messages=user(SUM), think=True)
        assert (answer.message.thinking.strip(), answer.message.content) == ("Six sevens are forty-two.", "42")
    quiet = client.chat(model=model, messages=user(SUM), think=False)
    assert (quiet.message.thinking or "", quiet.message.content) == ("", "42")


def test_format(client: Any, model: str) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "born": {"type": "integer"}},
        "required": ["name", "born"],
    }
    answer = client.chat(model=model, messages=user(ADA), format=schema)
    assert answer.message.content == '{"name": "Ada Lovelace", "born": 1815}'


def test_generate(client: Any, model: str) -> None:
    assert client.generate(model=model, prompt=HELLO).response == HELLO_REPLY
    assert "".join(part.response for part in client.generate(model=model, prompt=HELLO, stream=True)) == HELLO_REPLY
    assert client.generate(model=model, prompt=RAW, raw=True, options={"num_predict": 100}).response == RAW_REPLY


def test_list_and_show(client: Any, model: str, family: Family) -> None:
    (entry,) = client.list().models
    (loaded,) = client.ps().models
    assert (loaded.name, loaded.digest, loaded.size_vram) == (entry.model, entry.digest, 0)
    assert entry.model.removesuffix(":latest") == model
    shown = client.show(entry.model)
    assert "tools" in shown.capabilities
    assert ("thinking" in shown.capabilities) == (family == "qwen3_5")


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        client.chat(model="none", messages=user(HELLO))
    assert missing.value.status_code == 404
