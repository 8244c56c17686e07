"""LangChain's OpenAI chat model (langchain-openai, of the group "clients")."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from pydantic import BaseModel, Field
from questions import ADA, HELLO, HELLO_REPLY, OSLO, WEATHER

pytestmark = pytest.mark.filterwarnings("ignore")  # their dependencies' own affair

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed: make clients")


class Person(BaseModel):
    """Somebody."""

    name: str
    born: int = Field(description="the year")


class get_weather(BaseModel):
    """Forecast of a city."""

    city: str
    days: int


@pytest.fixture
def chat(url: str, model: str) -> Any:
    return langchain_openai.ChatOpenAI(
        base_url=f"{url}/v1", api_key="none", model=model, max_retries=0, stream_usage=True
    )


def test_invoke(chat: Any) -> None:
    answer = chat.invoke([("system", "Be brief."), ("human", HELLO)])
    assert answer.content == HELLO_REPLY
    assert answer.usage_metadata["output_tokens"] > len(HELLO_REPLY)


def test_stream(chat: Any) -> None:
    whole = None
    for chunk in chat.stream(HELLO):
        whole = chunk if whole is None else whole + chunk
    assert whole.content == HELLO_REPLY
    assert whole.usage_metadata["output_tokens"] > len(HELLO_REPLY)


@pytest.mark.parametrize("choice", ["auto", "any", "get_weather"])
def test_bind_tools(chat: Any, choice: str) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage

    bound = chat.bind_tools([get_weather], tool_choice=choice)
    question = HumanMessage(WEATHER)
    answer = bound.invoke([question])
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", OSLO)
    if choice == "auto":
        result = bound.invoke([question, answer, ToolMessage("12 degrees, rain", tool_call_id=call["id"])])
        assert result.content == "It says: 12 degrees, rain"


def test_streamed_tool_call(chat: Any) -> None:
    whole = None
    for chunk in chat.bind_tools([get_weather]).stream(WEATHER):
        whole = chunk if whole is None else whole + chunk
    assert [call["args"] for call in whole.tool_calls] == [OSLO]


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_with_structured_output(chat: Any, method: str) -> None:
    found = chat.with_structured_output(Person, method=method).invoke(ADA)
    assert found == Person(name="Ada Lovelace", born=1815)


def test_structured_output_by_a_tool(chat: Any) -> None:
    found = chat.with_structured_output(get_weather, method="function_calling").invoke(WEATHER)
    assert found == get_weather(**OSLO)
