"""The Python API has the server's features: tools, forms, budgets, several answers, usage, closing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shoestring import Constraint, ToolChoice
from shoestring.errors import CapacityError, CheckpointError, RequestError
from shoestring.runtime.model import Model
from shoestring.samples.embedded import EMBEDDED
from shoestring.testing import Family, Reply, scripted_model

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
CALLS = [("look", {"city": "Oslo", "days": 2}), ("look", {"city": "Rome"})]
REPLIES = {
    "hi": Reply("hello", thinking="a greeting"),
    "long": Reply("x" * 500, thinking="y" * 100),
    "act": Reply("I look.", calls=CALLS),
    "json": Reply('{"ok": "hello", "no": 1}'),
}


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def text(model: Model, *arguments: Any, thinking_text: bool = False, **options: Any) -> str:
    return "".join(p.text for p in model.generate(*arguments, **options) if p.thinking == thinking_text)


@pytest.fixture(params=["qwen3_5", "llama4"])
def model(request: pytest.FixtureRequest) -> Model:
    return scripted_model(REPLIES, family=request.param, completions={"One": " two"}, context=4096)


def test_calls_come_complete_and_are_no_text(model: Model) -> None:
    pieces = list(model.generate(messages=user("act"), tools=[TOOL]))
    calls = [call for piece in pieces for call in piece.calls]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == CALLS
    assert len({call.id for call in calls}) == 2
    assert "".join(p.text for p in pieces if not p.thinking) == "I look."
    assert pieces[-1].finish_reason == "tool_calls"


def test_without_tools_a_call_is_text(model: Model) -> None:
    pieces = list(model.generate(messages=user("act")))
    assert not any(piece.calls for piece in pieces)
    assert "Oslo" in "".join(piece.text for piece in pieces)
    assert pieces[-1].finish_reason == "stop"


def test_tool_choice(model: Model) -> None:
    none = list(model.generate(messages=user("act"), tools=[TOOL], tool_choice="none", max_tokens=200))
    assert not any(piece.calls for piece in none)
    for choice in ("required", ToolChoice("required", "look")):
        forced = list(model.generate(messages=user("hi"), tools=[TOOL], tool_choice=choice, max_tokens=300))
        assert "hello" not in "".join(piece.text for piece in forced)
    one = list(model.generate(messages=user("act"), tools=[TOOL], parallel_tool_calls=False))
    assert [call.name for piece in one for call in piece.calls] == ["look"]


def test_forms(model: Model) -> None:
    schema = {"type": "object", "properties": {"ok": {"enum": ["hello"]}}, "required": ["ok"]}
    schema["additionalProperties"] = False
    said = text(model, messages=user("json"), constraint=Constraint("json_schema", schema), max_tokens=200)
    assert json.loads(said) == {"ok": "hello"}
    for constraint, answer in (
        (Constraint("regex", "[hH][a-z]{3}"), "hell"),
        (Constraint("choice", ["hello there", "good bye"]), "hello there"),
    ):
        assert text(model, messages=user("hi"), constraint=constraint, max_tokens=200).strip() == answer
    assert text(model, "One", constraint=Constraint("regex", " t[a-z]o")) == " two"


def test_a_thinking_budget_leads_to_the_answer() -> None:
    model = scripted_model(REPLIES, context=4096)
    options: dict[str, Any] = {"messages": user("long"), "thinking": True, "max_tokens": 400}
    assert text(model, **options, thinking_text=True).count("y") == 100
    for budget in (0, 7):
        thought = text(model, **options, thinking_budget=budget, thinking_text=True)
        assert thought.count("y") <= budget
        assert text(model, **options, thinking_budget=budget).startswith("xxx")


def test_an_answer_that_ended_inside_its_thinking_says_so() -> None:
    """Its last piece does, and no other one: with several answers, each of those that did."""
    replies = {"stops": Reply(raw="<think>\nthis thought ends"), "hi": REPLIES["hi"]}
    model = scripted_model(replies, sequences=3, context=1024)
    stream = model.generate(messages=[user("stops"), user("hi")], n=2, thinking=True)
    ends = {(piece.index, piece.choice): piece.ended_inside_thinking for piece in stream if piece.finish_reason}
    assert ends == {(0, 0): True, (0, 1): True, (1, 0): False, (1, 1): False}
    for most, inside in ((3, True), (200, False)):
        *before, last = model.generate(messages=user("hi"), thinking=True, max_tokens=most)
        assert last.ended_inside_thinking is inside
        assert last.finish_reason == ("length" if inside else "stop")
        assert not any(piece.ended_inside_thinking for piece in before)
    assert not [*model.generate("hi", max_tokens=3)][-1].ended_inside_thinking


def test_several_answers_to_several_prompts() -> None:
    model = scripted_model(REPLIES, sequences=3, context=1024)
    said: dict[tuple[int, int], str] = {}
    ends: list[tuple[int, int]] = []
    stream = model.generate(messages=[user("hi"), user("act")], n=3, tools=[TOOL])
    for piece in stream:
        key = (piece.index, piece.choice)
        assert key not in ends, "nothing follows the piece with a finish_reason"
        said[key] = said.get(key, "") + ("" if piece.thinking else piece.text)
        ends += [key] if piece.finish_reason else []
    assert said == {(0, i): "hello" for i in range(3)} | {(1, i): "I look." for i in range(3)}
    assert sorted(ends) == sorted(said)
    assert model.engine.idle


def test_usage_counts_what_was_computed_and_what_was_not() -> None:
    model = scripted_model(REPLIES, context=4096)
    first = model.generate(messages=user("hi"))
    assert first.usage.completion_tokens == 0
    tokens = sum(len(piece.tokens) for piece in first)
    assert first.usage.prompt_tokens == len(model.prompt(messages=user("hi")).tokens)
    assert (first.usage.cached_tokens, first.usage.completion_tokens) == (0, tokens)
    assert 0 < first.usage.thinking_tokens < tokens
    again = model.generate(messages=user("hi"))
    next(again)
    assert again.usage.cached_tokens == again.usage.prompt_tokens - 1
    again.close()
    assert again.usage.cached_tokens == again.usage.prompt_tokens - 1


@pytest.mark.parametrize("family", ["qwen3_5", "llama4"])
def test_an_edited_message_in_the_middle_keeps_what_precedes_it(family: Family) -> None:
    """Recurrent state resumes only from snapshots: before every message."""
    model = scripted_model(REPLIES, family=family, context=4096)
    turns = [{"role": "system", "content": "s" * 300}, *user("u" * 100), {"role": "assistant", "content": "a" * 100}]
    turns += [*user("b" * 100), {"role": "assistant", "content": "c" * 100}, *user("hi")]
    list(model.generate(messages=turns, max_tokens=5))
    turns[3] = {"role": "user", "content": "other"}
    stream = model.generate(messages=turns, max_tokens=5)
    list(stream)
    before = model.prompt(messages=turns).boundaries[2 if family == "qwen3_5" else 3]
    assert before > 500
    assert stream.usage.cached_tokens >= before


def test_an_unread_stream_frees_its_memory() -> None:
    model = scripted_model(REPLIES, context=4096)
    model.generate(messages=user("long")).close()
    assert model.engine.idle
    stream = model.generate(messages=user("long"))
    assert not model.engine.idle
    del stream
    assert model.engine.idle
    with model.generate(messages=user("long")) as stream:
        next(stream)
    assert model.engine.idle
    assert len(list(stream)) < 2, "a piece that is computed already may still be read"


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"tools": [{"type": "function"}]}, RequestError, "tool"),
        ({"tool_choice": "required"}, RequestError, "no tools"),
        ({"tool_choice": "look"}, RequestError, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": ToolChoice("required", "no")}, RequestError, "'no'"),
        ({"constraint": Constraint("json_schema", {"type": 5})}, RequestError, "schema"),
        ({"thinking_budget": -1}, RequestError, "budget"),
        ({"n": 0}, RequestError, "n is 0"),
        ({"logit_bias": {10**6: 1.0}}, RequestError, "logit_bias"),
        ({"temprature": 1}, TypeError, "temprature"),
        ({"messages": user("z" * 5000)}, CapacityError, "tokens"),
    ],
)
def test_impossible_arguments_are_refused_at_the_call(
    options: dict[str, Any], error: type[Exception], match: str
) -> None:
    model = scripted_model(REPLIES, context=4096)
    with pytest.raises(error, match=match):
        model.generate(**{"messages": user("hi"), **options})
    assert model.engine.idle
    assert model.engine.runner.rows == 0  # type: ignore[attr-defined]


def test_text_and_back() -> None:
    model = scripted_model(family="llama4")
    tokens = model.encode("Hé <|eot|>")
    assert tokens[0] == model.tokenizer.bos_id
    assert tuple(tokens) == model.prompt("Hé <|eot|>").tokens
    assert model.decode(tokens[1:]) == "Hé <|eot|>"
    assert model.encode("Hé <|eot|>", add_bos=False) == tokens[1:]
    special = model.encode("Hé <|eot|>", add_bos=False, allow_special=True)
    assert len(special) < len(tokens) - 1
    assert model.decode(special, skip_special=True) == "Hé "


def test_a_closed_model_says_so() -> None:
    with scripted_model(REPLIES, context=4096) as model:
        stream = model.generate(messages=user("long"))
        next(stream)
    model.close()
    for use in (
        lambda: model.encode("a"),
        lambda: model.decode([1]),
        lambda: model.logits([1]),
        lambda: model.hidden_states([1]),
        lambda: model.perplexity("a" * 2000),
        lambda: model.generate("a"),
        lambda: model.context,
        lambda: list(stream),
    ):
        with pytest.raises(RequestError, match="closed"):
            use()
    stream.close()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_closing_gives_the_memory_back() -> None:
    try:
        EMBEDDED["demo-qwen3.5"](None)
    except CheckpointError as error:
        pytest.skip(str(error))
    code = """if True:
        import shoestring

        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * 4096

        def used(model):
            pieces = model.generate([1, 2, 3], ignore_eos=True)
            next(pieces)
            return pieces

        for _ in range(3):  # until code and the allocator's heap are resident
            first = shoestring.load("demo-qwen3.5", context=256)
            used(first)
            first.close()
        before = resident()
        model = shoestring.load("demo-qwen3.5", context=256)
        pieces = used(model)
        loaded = resident()
        model.close()
        print(before, loaded, resident())
        """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, loaded, after = map(int, result.stdout.split())
    assert loaded - before > 50 << 20
    assert after - before < (loaded - before) / 10
