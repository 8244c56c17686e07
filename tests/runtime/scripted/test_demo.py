"""demo-scripted: thinks, calls tools and answers by its script, in Python, in commands and on a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shoestring
from shoestring.errors import CheckpointError, RequestError
from shoestring.runtime.finding import find
from shoestring.runtime.model import Model
from shoestring.runtime.scripted.demo import example, tools_of

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}, "note": {"type": "string"}},
    "required": ["city", "unit"],
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "…", "parameters": SCHEMA}}


@pytest.fixture(scope="module")
def model() -> Model:
    return shoestring.load("demo-scripted", context="16k", parallel=2)


def said(model: Model, text: str, **options: Any) -> tuple[str, str, list[tuple[str, Any]]]:
    """Thinking, content, calls."""
    thinking, content, calls = "", "", []
    for piece in model.generate(messages=[{"role": "user", "content": text}], **options):
        thinking, content = (thinking + piece.text, content) if piece.thinking else (thinking, content + piece.text)
        calls += [(call.name, json.loads(call.arguments)) for call in piece.calls]
    return thinking, content, calls


def test_it_thinks_and_answers(model: Model) -> None:
    thinking, content, calls = said(model, "Which gas?", thinking=True)
    assert thinking
    assert (content, calls) == ("You said: Which gas?", [])
    assert said(model, "Which gas?", thinking=False)[:2] == ("", "You said: Which gas?")
    assert "call NAME" in said(model, "hello")[1]
    assert said(model, "count 3", thinking=False)[1] == "1\n2\n3"
    assert "|---|" in said(model, "markdown")[1]


@pytest.mark.parametrize(
    "sampling", [{"temperature": 100.0}, {"frequency_penalty": 10.0}, {"repetition_penalty": 10.0}]
)
def test_no_sampling_changes_its_words(model: Model, sampling: dict[str, float]) -> None:
    text = "a" * 200
    assert said(model, text, thinking=False, top_k=0, top_p=1.0, **sampling)[1] == f"You said: {text}"


def test_it_calls_tools_and_reads_their_answers(model: Model) -> None:
    made_up = {"city": "example", "unit": "C"}
    assert said(model, "Please call weather.", tools=[WEATHER])[1:] == ("", [("weather", made_up)])
    asked = 'call weather {"city": "Oslo", "unit": "F"} now'
    assert said(model, asked, tools=[WEATHER])[2] == [("weather", {"city": "Oslo", "unit": "F"})]
    assert "offers weather" in said(model, "call nothing", tools=[WEATHER])[1]
    assert "no tools" in said(model, "call weather")[1]
    assert "not valid JSON" in said(model, "call weather {oops", tools=[WEATHER])[1]
    call = {"type": "function", "function": {"name": "weather", "arguments": made_up}}
    messages = [
        {"role": "user", "content": "call weather"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "4 °C"},
    ]
    assert model.generate(messages=messages, tools=[WEATHER]).texts() == ["The tool answered: 4 °C"]


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=5) | st.integers(), st.lists, max_leaves=5), st.text())
def test_any_schema_has_an_example_and_any_prompt_tools(value: Any, text: str) -> None:
    for key in ("type", "properties", "required", "enum", "items", "anyOf", "minItems"):
        json.dumps(example({key: value, "type": value if key == "type" else "object"}))
        json.dumps(example({key: value, "type": "array"}))
    assert isinstance(tools_of(f"<tools>\n{text}\n</tools>"), dict)


def test_a_schema_that_contains_itself_has_an_example() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    schema["properties"]["inner"] = schema
    json.dumps(example(schema))


def test_its_size_is_checked() -> None:
    with shoestring.load("demo-scripted", context=64) as model:
        assert model.context == 64
    for arguments in ({"context": 0}, {"context": 10**9}, {"parallel": 0}, {"parallel": 1000}):
        with pytest.raises(RequestError, match=f"^{next(iter(arguments))} is"):
            shoestring.load("demo-scripted", **arguments)  # type: ignore[arg-type]


def test_it_has_no_file() -> None:
    with pytest.raises(CheckpointError, match="is a script without a file"):
        find("demo-scripted")
