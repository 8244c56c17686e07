"""System messages anywhere, answers that continue a message, histories with arguments that are no objects."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.checkpoint.text.messages import UNREADABLE, arguments_of
from shoestring.errors import RequestError
from shoestring.output.request import Constraint
from shoestring.runtime.model import Model
from shoestring.runtime.prompt import Prompt
from shoestring.runtime.request import ChatRequest, GenerationOptions, Message
from shoestring.runtime.turns import ordered
from shoestring.testing import Asked, Family, Reply, scripted_model

FAMILIES: tuple[Family, ...] = get_args(Family)
HI: Message = {"role": "user", "content": "hi"}
DONE: Message = {"role": "assistant", "content": "Hello."}
CONTENT = "one two three."


def system(text: Any, role: str = "system") -> Message:
    return {"role": role, "content": text}


def reminder(text: str) -> str:
    return f"<system-reminder>\n{text}\n</system-reminder>"


def test_system_messages_at_the_beginning_become_one() -> None:
    assert ordered([system("a"), system("b", "developer"), HI]) == [system("a\nb"), HI]
    parts = [{"type": "text", "text": "b"}]
    assert ordered([system("a"), system(parts), HI])[0]["content"] == [
        *({"type": "text", "text": text} for text in ("a", "\n")),
        *parts,
    ]


def test_later_ones_become_reminders() -> None:
    """As Claude Code writes them after the user's message; templates allow a system message only at the start."""
    assert ordered([HI, system("a")]) == [{"role": "user", "content": f"hi\n{reminder('a')}"}]
    assert ordered([HI, DONE, system("a", "developer")]) == [HI, DONE, {"role": "user", "content": reminder("a")}]
    both = [HI, DONE, {"role": "user", "content": f"{reminder('a')}\n{reminder('b')}"}, HI]
    assert ordered([HI, DONE, system("a"), system("b"), HI]) == both


turn = st.sampled_from(["system", "developer", "user", "assistant", "tool"])


@given(st.lists(st.tuples(turn, st.text("ab<>&", min_size=1, max_size=5)), max_size=8))
def test_nothing_is_lost_and_others_stay(turns: list[tuple[str, str]]) -> None:
    messages = [{"role": role, "content": text} for role, text in turns]
    found = ordered(messages)
    assert ordered(found) == found
    assert all(message["role"] != "system" for message in found[1:])
    assert not any(message["role"] == "developer" for message in found)
    place = 0
    whole = "\n".join(message["content"] for message in found)
    for message in messages:
        place = whole.index(message["content"], place) + len(message["content"])
    if not any(role in ("system", "developer") for role, _ in turns):
        assert found == messages


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_has_the_reminder_at_its_place(family: Family) -> None:
    model = scripted_model(family=family)
    text = model.decode(model.prompt(messages=[system("Be short."), HI, DONE, system("In French."), HI]).tokens)
    places = [text.index(part) for part in ("Be short.", "hi", "Hello.", reminder("In French."))]
    assert places == sorted(places)


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        (json.dumps('{"a": 1}'), {"a": 1}),
        (None, {}),
        ("", {}),
        ("null", {}),
        ('{"a": "Os', {UNREADABLE: '{"a": "Os'}),
        ('["Oslo"]', {UNREADABLE: '["Oslo"]'}),
        (["Oslo"], {UNREADABLE: ["Oslo"]}),
        ("5", {UNREADABLE: "5"}),
        ("[" * 500, {UNREADABLE: "[" * 500}),
        (json.dumps(json.dumps(json.dumps({}))), {UNREADABLE: json.dumps(json.dumps(json.dumps({})))}),
    ],
)
def test_arguments(arguments: Any, shown: dict[str, Any]) -> None:
    assert arguments_of(arguments) == shown


@given(st.text() | st.none() | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers()))
def test_any_arguments_are_an_object(arguments: Any) -> None:
    assert isinstance(arguments_of(arguments), dict)
    assert arguments_of(json.dumps({"a": arguments})) == {"a": arguments}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("arguments", ["{city: Os", "['Oslo'", "Oslo"])
def test_a_model_sees_its_call_as_it_was_written(family: Family, arguments: str) -> None:
    model = scripted_model(family=family)
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": arguments}}
    messages = [HI, {"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "no"}, HI]
    assert arguments in model.decode(model.prompt(messages=messages).tokens)


# --- answers that continue a message


def prompt(model: Model, *messages: Message, **fields: Any) -> Prompt:
    return model.prompt_of(ChatRequest(messages, **fields))


def model_of(family: Family) -> Model:
    return scripted_model({"hi": Reply(CONTENT, thinking="hm")}, family=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_continues_the_text_as_it_is(family: Family) -> None:
    model = model_of(family)
    for start in ("one", "one ", "one two", " ", "<think>", "<|im_end|><|eot|>", "a\n\n"):
        begun = {"role": "assistant", "content": start}
        continued = prompt(model, HI, begun, continues=True)
        new_turn = prompt(model, HI, thinking=False)
        assert continued.tokens == (*new_turn.tokens, *model.encode(start, add_bos=False))
        assert continued.boundaries == new_turn.boundaries
        assert not continued.inside_thinking


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cut", range(1, len(CONTENT)))
def test_the_rest_of_an_answer_is_what_was_missing(family: Family, cut: int) -> None:
    """White space at its beginning belongs to it, though other answers begin without any."""
    model = model_of(family)
    request = ChatRequest((HI, {"role": "assistant", "content": CONTENT[:cut]}), continues=True)
    answers = model.submit(model.prompt_of(request), GenerationOptions({"temperature": 0}), model.form_of(request))
    text = ""
    while answers.numbers:
        model.engine.step()
        for delivery in model.engine.collect():
            for item in answers.take(delivery):
                text += "".join(getattr(event, "text", "") for event in getattr(item, "events", ()))
    assert text == CONTENT[cut:]


def test_thinking_is_continued_too() -> None:
    model = model_of("qwen3_5")
    thought = prompt(model, HI, {"role": "assistant", "content": "", "reasoning_content": "h"}, continues=True)
    assert thought.inside_thinking
    assert model.decode(thought.tokens).endswith("<think>\nh")
    both = prompt(model, HI, {"role": "assistant", "content": "one", "reasoning_content": "hm"}, continues=True)
    assert not both.inside_thinking
    assert model.decode(both.tokens).endswith("<think>\nhm</think>\n\none")


def test_an_empty_message_starts_a_new_answer() -> None:
    model = model_of("qwen3_5")
    empty = prompt(model, HI, {"role": "assistant", "content": ""}, continues=True)
    assert empty == prompt(model, HI)


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (HI, "not the assistant's"),
        ({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}, "calls tools"),
        ({"role": "assistant", "content": [{"type": "image"}]}, "only text"),
        ({"role": "assistant", "content": 5}, "content must be"),
    ],
)
def test_what_cannot_be_continued(last: Message, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        prompt(model_of("qwen3_5"), HI, last, continues=True)


def test_a_form_cannot_be_continued() -> None:
    options = GenerationOptions(constraint=Constraint("json_object", where="response_format"))
    request = ChatRequest((HI, {"role": "assistant", "content": "{"}), options, continues=True)
    with pytest.raises(RequestError, match="remove response_format"):
        model_of("qwen3_5").form_of(request)


def test_a_last_answer_without_the_wish_is_followed_by_a_new_turn() -> None:
    asked: list[Asked] = []

    def rule(question: Asked) -> Reply:
        asked.append(question)
        return Reply("x")

    model = scripted_model(rule)
    text = model.decode(prompt(model, HI, DONE).tokens)
    assert text.index("Hello.<|im_end|>") < text.rindex("<|im_start|>assistant")
