"""LiteLLM (of the group "clients"), by each of the three APIs that it can reach us with."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

import pytest
from questions import HELLO, HELLO_REPLY, OSLO, WEATHER, WEATHER_TOOL

pytestmark = pytest.mark.filterwarnings("ignore")  # their dependencies' own affair

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import asks the network for prices
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    litellm = pytest.importorskip("litellm", reason="litellm is not installed: make clients")

ROUTES = {"openai": "/v1", "anthropic": "", "ollama_chat": ""}


@pytest.fixture(params=list(ROUTES))
def ask(request: pytest.FixtureRequest, url: str, model: str) -> Any:
    def ask(text: str, **more: Any) -> Any:
        return litellm.completion(
            model=f"{request.param}/{model}",
            api_base=url + ROUTES[request.param],
            api_key="none",
            messages=[{"role": "user", "content": text}],
            max_tokens=500,
            num_retries=0,
            **more,
        )

    return ask


def test_completion(ask: Any) -> None:
    answer = ask(HELLO)
    assert answer.choices[0].message.content == HELLO_REPLY
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > len(HELLO_REPLY)


def test_stream(ask: Any) -> None:
    chunks = list(ask(HELLO, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == HELLO_REPLY


def test_tools(ask: Any) -> None:
    answer = ask(WEATHER, tools=[WEATHER_TOOL])
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", OSLO)
    assert answer.choices[0].finish_reason == "tool_calls"


def test_errors_are_the_clients_own(url: str) -> None:
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(
            model="openai/none",
            api_base=f"{url}/v1",
            api_key="none",
            messages=[{"role": "user", "content": HELLO}],
            num_retries=0,
        )
