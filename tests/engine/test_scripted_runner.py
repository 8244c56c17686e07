"""The scripted model answers by its rule, for both families, and users cannot forge its added tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoestring.output.events import Content, ToolCall, ToolCallArguments
from shoestring.output.form import form_of
from shoestring.output.machine import OutputMachine
from shoestring.runtime.model import Model
from shoestring.testing import Asked, CallSyntax, Family, Reply, scripted_model, scripted_tokenizer

FAMILIES: tuple[Family, ...] = ("qwen3_5", "llama4")
ARGUMENTS = {"city": "Ålesund", "days": [1, 2], "deep": {"a": None, "b": True}}
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "array"}, "deep": {"type": "object"}},
        },
    },
}


def content(model: Model, messages: list[dict[str, Any]], **options: Any) -> str:
    return "".join(p.text for p in model.generate(messages=messages, **options) if not p.thinking)


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_answers_the_last_message_by_rule_or_echoes_it(family: Family) -> None:
    model = scripted_model({"hi": "hello", "and?": Reply("more", thinking="so")}, family=family)
    assert content(model, user("hi")) == "hello"
    history = [*user("hi"), {"role": "assistant", "content": "hello"}, *user("and?")]
    assert content(model, history) == "more"
    assert content(model, [*history, {"role": "assistant", "content": "more"}, *user("zzz")]) == "You said: zzz"


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(FAMILIES), st.text(max_size=40), st.sampled_from(["", "<|im_end|>", "<|eot|>", "</think>"]))
def test_what_looks_like_a_mark_in_a_message_is_text(family: Family, text: str, mark: str) -> None:
    written = (text + mark + "x").strip()
    written = written.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    arguments_seen: list[Asked] = []

    def rule(one: Asked) -> str:
        arguments_seen.append(one)
        return "seen"

    assert content(scripted_model(rule, family=family), user(written)) == "seen"
    import unicodedata

    expected = unicodedata.normalize("NFC", written) if family == "qwen3_5" else written
    assert arguments_seen[-1].text == expected
    assert arguments_seen[-1].role == "user"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("thinking", [None, True, False])
def test_thinking_appears_if_the_family_thinks_and_the_request_allows_it(family: Family, thinking: bool | None) -> None:
    model = scripted_model({"hi": Reply("hello", thinking="hm")}, family=family)
    pieces = list(model.generate(messages=user("hi"), thinking=thinking))
    thought = "".join(p.text for p in pieces if p.thinking).strip()
    assert thought == ("hm" if family == "qwen3_5" and thinking is not False else "")
    assert "".join(p.text for p in pieces if not p.thinking) == "hello"


SYNTAXES: tuple[tuple[Family, CallSyntax], ...] = (
    ("qwen3_5", "json"),
    ("llama4", "json"),
    ("llama4", "pythonic"),
    ("llama4", "function"),
)


@pytest.mark.parametrize(("family", "syntax"), SYNTAXES)
def test_calls_are_written_as_the_family_writes_them(family: Family, syntax: CallSyntax) -> None:
    """The output machine, which does not know the script, parses its calls."""
    model = scripted_model({"hi": Reply(calls=[("look", ARGUMENTS)])}, family=family, call_syntax=syntax)
    prompt = model.prompt(messages=user("hi"), tools=[TOOL])
    machine = OutputMachine(form_of(model.tokenizer, family, tools=[TOOL]), inside_thinking=prompt.inside_thinking)
    events = []
    number = model.engine.generate(
        prompt.tokens, model.default_sampling(thinking=False), stop_ids=model.tokenizer.eos_ids, guide=machine
    )
    while machine.finish_reason is None:
        for delivery in model.engine.deliveries([number]):
            events += machine.push(delivery.sampled, delivery.finish_reason)
    assert machine.finish_reason == "tool_calls"
    assert [e.name for e in events if isinstance(e, ToolCall)] == ["look"]
    assert json.loads("".join(e.text for e in events if isinstance(e, ToolCallArguments))) == ARGUMENTS
    assert not "".join(e.text for e in events if isinstance(e, Content)).strip()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tools_result_is_answered_too(family: Family) -> None:
    arguments_seen: list[Asked] = []

    def rule(one: Asked) -> str:
        arguments_seen.append(one)
        return "done"

    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        *user("hi"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]
    assert content(scripted_model(rule, family=family), messages) == "done"
    assert (arguments_seen[-1].role, arguments_seen[-1].text) == ("tool", "rain")


def test_raw_prompts_go_on() -> None:
    model = scripted_model(completions={"One": ", two ä.", "One, two ä. T": "hree."})
    assert "".join(p.text for p in model.generate("One")) == ", two ä."
    assert "".join(p.text for p in model.generate("One, t")) == "wo ä."
    assert "".join(p.text for p in model.generate("One, two ä. T")) == "hree."
    assert "".join(p.text for p in model.generate("Else")) == " and so on."


@pytest.mark.parametrize("family", FAMILIES)
def test_every_byte_is_a_token(family: Family) -> None:
    tokenizer = scripted_tokenizer(family)
    assert [tokenizer.token_bytes(id) for id in range(256)] == [bytes([byte]) for byte in range(256)]
    assert (tokenizer.thinking is not None) == (family == "qwen3_5")
