"""Grammars, tool choice and thinking budgets: the answer follows the constraint, whatever the model prefers."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import partial
from typing import Any

import pytest
from assembled import STRICT_TOOL as STRICT
from assembled import end, form, tokenizer, tokens_of, tool
from hypothesis import given, settings
from hypothesis import strategies as st
from played import at_random, play, scripted
from recorded import TOOLS

from shoestring.errors import RequestError
from shoestring.output.machine import CLOSING
from shoestring.output.request import Constraint, ToolChoice

FAMILIES = ("qwen3_5", "llama4")
SEEDS = st.integers(0, 10**6)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def favourites() -> list[int]:
    """Tokens that end strings, tags, objects and answers."""
    return tokens_of('"}])>\n1</parameter>', "qwen3_5") + sorted(tokenizer().eos_ids)


def check_saved(arguments: dict[str, Any]) -> None:
    assert set(arguments) - {"seen"} == {"name", "age", "kind"}
    assert isinstance(arguments["name"], str)
    assert type(arguments["age"]) is int
    assert 0 <= arguments["age"] <= 99
    assert arguments["kind"] in ("cat", "dog")
    assert isinstance(arguments.get("seen", True), bool)


CONSTRAINTS = {
    "json_schema": (Constraint("json_schema", PERSON), lambda text: set(json.loads(text)) == {"name", "age"}),
    "json_object": (Constraint("json_object"), lambda text: isinstance(json.loads(text), dict)),
    "regex": (Constraint("regex", r"[a-f]{3}-[0-9]{2,4}"), lambda text: re.fullmatch(r"[a-f]{3}-[0-9]{2,4}", text)),
    "choice": (Constraint("choice", ["yes", "no", 'per"haps']), lambda text: text in ("yes", "no", 'per"haps')),
    "lark": (Constraint("lark", 'start: "a" NUMBER+\nNUMBER: /[0-9]/'), lambda text: re.fullmatch("a[0-9]+", text)),
    "gbnf": (Constraint("gbnf", 'root ::= "x" [0-9]+ | "yz"'), lambda text: re.fullmatch("x[0-9]+|yz", text)),
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
@settings(max_examples=15)
@given(SEEDS, st.booleans(), st.booleans())
def test_content_follows_the_constraint_and_thinking_is_free(kind: str, seed: int, thinks: bool, chat: bool) -> None:
    constraint, holds = CONSTRAINTS[kind]
    thinks = thinks and chat
    asked = form("qwen3_5", constraint=constraint, chat=chat)
    thought = tokens_of("any </thing> {[ é\n</think>", "qwen3_5") if thinks else []
    played, machine = play(asked, scripted(thought, at_random(seed, favourites())), inside_thinking=thinks)
    if machine.finish_reason == "stop":
        assert holds(played.answer.content)
    assert played.answer.thinking == ("any </thing> {[ é" if thinks else "")
    assert all(ids is None for ids in played.allowed[: len(thought)])
    assert all(ids is not None for ids in played.allowed[len(thought) :])


def test_json_may_be_indented_but_not_endless() -> None:
    asked = form("qwen3_5", constraint=Constraint("json_schema", PERSON))
    stop = tokens_of(end("qwen3_5"), "qwen3_5")
    for text in (json.dumps({"name": "a", "age": 1}, indent=indent) for indent in (None, 2, 40)):
        played, _ = play(asked, scripted([*tokens_of(text, "qwen3_5"), *stop], at_random(0)))
        assert played.answer.content == text
    with pytest.raises(AssertionError, match=r"not allowed|forced"):
        play(asked, scripted(tokens_of("{" + " " * 100, "qwen3_5"), at_random(0)))


#: alternatives that overlap → texts of one of them, of both, and of none
OVERLAPPING: list[tuple[list[Any], list[str], list[str]]] = [
    ([{"type": "integer"}, {"type": "number"}], ["3", "3.5", "-1"], ['"3"', "true"]),
    ([{"enum": ["a", "b"]}, {"enum": ["b", "c"]}], ['"a"', '"b"', '"c"'], ['"d"', "5"]),
    ([{"type": "string", "maxLength": 3}, {"type": "string", "minLength": 2}], ['""', '"ab"', '"abcd"'], ["{}", "1"]),
    ([{"minimum": 5, "type": "integer"}, {"maximum": 9, "type": "integer"}], ["2", "7", "12"], ['"7"', "[]"]),
    ([PERSON, {"type": "object"}], ['{"name": "a", "age": 1}', '{"b": 1}', "{}"], ["[]", "null"]),
    ([{"type": "array", "items": {"type": "integer"}}, {"type": "array"}], ["[]", "[1, 2]", '["a"]'], ["{}", "1"]),
]


@pytest.mark.parametrize("key", ["oneOf", "anyOf"])
@pytest.mark.parametrize(("alternatives", "good", "bad"), OVERLAPPING, ids=lambda value: str(value)[:40])
def test_alternatives_of_one_of_that_overlap_count_as_those_of_any_of(
    key: str, alternatives: list[Any], good: list[str], bad: list[str]
) -> None:
    asked = form("qwen3_5", constraint=Constraint("json_schema", {key: alternatives}))
    stop = tokens_of(end("qwen3_5"), "qwen3_5")
    for text in good:
        played, machine = play(asked, scripted([*tokens_of(text, "qwen3_5"), *stop], at_random(0)))
        assert (played.answer.content, machine.finish_reason) == (text, "stop")
    for text in bad:
        with pytest.raises(AssertionError, match=r"not allowed|forced"):
            play(asked, scripted([*tokens_of(text, "qwen3_5"), *stop], at_random(0)))


@settings(max_examples=25)
@given(SEEDS, st.sampled_from(sorted(CONSTRAINTS)), st.booleans())
def test_forced_tokens_would_have_been_sampled(seed: int, kind: str, calls: bool) -> None:
    """Without forcing, the mask allows only one token wherever one was forced, so the answer is the same."""
    options: dict[str, Any] = {"constraint": CONSTRAINTS[kind][0]}
    if calls:
        options = {"tools": [STRICT], "tool_choice": ToolChoice("required")}
    forced, _ = play(form("qwen3_5", **options), at_random(seed, favourites()), most=120)
    free, _ = play(
        form("qwen3_5", **options, force=False), scripted(forced.tokens, at_random(0)), most=len(forced.tokens)
    )
    assert free.tokens == forced.tokens
    assert not any(free.forced)
    for was_forced, ids, token in zip(forced.forced, free.allowed, free.tokens, strict=False):
        assert not was_forced or ids == [token]
    assert any(forced.forced) or not calls


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15)
@given(SEEDS, st.booleans(), st.sampled_from([ToolChoice("required"), ToolChoice("auto", "save")]))
def test_a_required_call_comes(family: str, seed: int, parallel: bool, choice: ToolChoice) -> None:
    tools = [STRICT, tool("now", additionalProperties=False), tool("free")]
    asked = form(family, tools, tool_choice=choice, parallel_tool_calls=parallel)
    played, machine = play(asked, at_random(seed, favourites()), most=600)
    if machine.finish_reason == "length":
        return
    answer = played.answer
    assert answer.finish_reason == "tool_calls"
    assert answer.content == ""
    assert len(answer.calls) == 1 or (parallel and choice.name is None)
    for name, arguments in answer.arguments:
        assert choice.name in (None, name)
        if name == "save":
            check_saved(arguments)
        elif name == "now":
            assert arguments == {}


_BEGINNINGS = {
    "qwen3_5": ["Well.\n<tool_call>\n<function=save>"],
    "llama4": ['{"name": "save", "parameters": {', "<|python_start|>[save(", "Well.\n[now(), save(", "<function=save>"],
}


@pytest.mark.parametrize(("family", "text"), [(f, text) for f in FAMILIES for text in _BEGINNINGS[f]])
@settings(max_examples=10)
@given(SEEDS)
def test_a_strict_tool_is_constrained_once_its_call_has_started(family: str, text: str, seed: int) -> None:
    beginning = tokens_of(text, family)
    played, machine = play(
        form(family, [STRICT, tool("now")]), scripted(beginning, at_random(seed, favourites())), most=400
    )
    assert all(ids is None for ids in played.allowed[: len(beginning)])
    held = [ids is not None for ids in played.allowed[len(beginning) :]]
    assert any(held)
    for name, arguments, complete in played.answer.calls:
        if name == "save" and complete:
            check_saved(json.loads(arguments))
            break
    else:
        assert machine.finish_reason == "length"


LINES = st.one_of(
    st.integers(0, 12).flatmap(
        lambda n: st.text("</>paremtx é.", max_size=3).map(lambda rest: "</parameter>"[:n] + rest)
    ),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=8),
)


@settings(max_examples=100)
@given(st.lists(LINES, min_size=1, max_size=5).map("\n".join).map(partial(unicodedata.normalize, "NFC")))
def test_text_in_a_call_is_free_up_to_its_closing_tag(text: str) -> None:
    """Any lines are allowed except the closing tag."""
    lines = text.split("\n")
    if "</parameter>" in lines:
        return
    body = f"<tool_call>\n<function=write>\n<parameter=text>\n{text}\n</parameter>\n</function>\n</tool_call>"
    write = tool("write", {"text": {"type": "string"}}, required=["text"], strict=True)
    asked = form("qwen3_5", [write], tool_choice=ToolChoice("required"), force=False)
    played, _ = play(asked, scripted(tokens_of(body + end("qwen3_5"), "qwen3_5"), at_random(0)))
    assert played.answer.arguments == [("write", {"text": text})]


def test_other_tools_are_not_constrained() -> None:
    text = tokens_of(
        "<tool_call>\n<function=get_weather>\n<parameter=odd>\n1\n</parameter>\n</function>\n</tool_call>", "qwen3_5"
    )
    stop = tokens_of(end("qwen3_5"), "qwen3_5")
    played, _ = play(form("qwen3_5", [*TOOLS, STRICT]), scripted([*text, *stop], at_random(0)))
    assert all(ids is None for ids in played.allowed)
    assert played.answer.arguments == [("get_weather", {"odd": 1})]


@pytest.mark.parametrize("family", FAMILIES)
def test_tool_choice_none_allows_no_call(family: str) -> None:
    opener = tokens_of({"qwen3_5": "<tool_call>", "llama4": "<|python_start|>"}[family], family)
    stop = tokens_of(end(family), family)
    played, _ = play(form(family, TOOLS, tool_choice=ToolChoice("none")), scripted([*b"ab", *stop], at_random(0)))
    for ids in played.allowed:
        assert ids is not None
        assert set(range(tokenizer(family).vocab_size)) - set(ids) == set(opener)


def test_after_the_only_call_the_answer_ends() -> None:
    text = tokens_of("<tool_call>\n<function=now>\n</function>\n</tool_call>", "qwen3_5")
    played, _ = play(form("qwen3_5", TOOLS, parallel_tool_calls=False), scripted(text, at_random(1)))
    assert played.answer.finish_reason == "tool_calls"
    assert len(played.answer.calls) == 1
    assert played.allowed[-1] == sorted(tokenizer().eos_ids)


def test_penalties_do_not_apply_inside_arguments() -> None:
    text = "So.\n<tool_call>\n<function=write_file>\n<parameter=text>\naaa\n</parameter>\n</function>\n</tool_call>"
    tokens = tokens_of(text + end("qwen3_5"), "qwen3_5")
    played, _ = play(form("qwen3_5", TOOLS), scripted(tokens, at_random(0)))
    inside = [tokenizer().decode([token]) for token, apply in zip(tokens, played.penalties, strict=True) if not apply]
    assert "".join(inside) == "\n<parameter=text>\naaa\n</parameter>\n</function>\n</tool_call>"


@settings(max_examples=30)
@given(st.text("ab é🎉\n", max_size=30), st.integers(0, 40), st.booleans())
def test_a_budget_closes_thinking(text: str, budget: int, calls: bool) -> None:
    """Sampled thinking has as many tokens as the budget, unless it ends by itself; then an answer follows."""
    stop = tokens_of(end("qwen3_5"), "qwen3_5")
    thought = tokens_of(text + "</think>", "qwen3_5")
    state = {"said": 0}

    def choose(before: Any, ids: Any) -> int:
        place = state["said"]
        state["said"] += 1
        if machine_thinks(before):
            token = thought[min(place, len(thought) - 1)]
            return token if token in ids else ids[0]
        answer = [*tokens_of("Yes.", "qwen3_5"), *stop]
        done = state.setdefault("answered", 0)
        state["answered"] = done + 1
        return answer[done]

    end_think = tokens_of("</think>", "qwen3_5")[0]

    def machine_thinks(before: Any) -> bool:
        return end_think not in before

    played, machine = play(
        form("qwen3_5", TOOLS if calls else (), thinking_budget=budget), choose, inside_thinking=True
    )
    assert played.answer.content == "Yes."
    assert machine.finish_reason == "stop"
    assert not machine.ended_inside_thinking
    sampled = sum(not forced for forced in played.forced[: played.tokens.index(end_think)])
    whole_at_budget = len(thought) - 1 <= budget
    if len(thought) - 1 < budget or budget == 0:
        assert sampled == min(len(thought) - 1, budget)
        assert not any(played.forced)
    elif not whole_at_budget:
        assert budget <= sampled <= budget + 3
        assert CLOSING.strip() in played.answer.thinking
        assert "\ufffd" not in played.answer.thinking
    assert machine.thinking_tokens == played.tokens.index(end_think) + 1


def test_an_answer_that_ends_inside_thinking_reports_it() -> None:
    played, machine = play(form("qwen3_5"), scripted([*b"hm"], at_random(0)), inside_thinking=True, most=2)
    assert machine.finish_reason == "length"
    assert machine.ended_inside_thinking
    assert played.answer.thinking == tokenizer().decode([*b"hm"])


@settings(max_examples=30)
@given(st.text("abc\n ", max_size=30), st.lists(st.text("abc\n", min_size=1, max_size=3), min_size=1, max_size=3))
def test_stop_strings_end_content_and_nothing_else(text: str, stops: list[str]) -> None:
    tokens = tokens_of(f"{text}\n</think>\n\n{text}" + end("qwen3_5"), "qwen3_5")
    played, machine = play(form("qwen3_5", stops=stops), scripted(tokens, at_random(0)), inside_thinking=True)
    content = text.lstrip()
    cut = min((content.find(stop) for stop in stops if stop in content), default=len(content))
    assert played.answer.thinking == text.strip()
    assert played.answer.content == content[:cut]
    assert (machine.stop_sequence in stops) == (cut < len(content))


def test_a_stop_string_inside_arguments_does_not_stop() -> None:
    text = "<tool_call>\n<function=write_file>\n<parameter=text>\na STOP b\n</parameter>\n</function>\n</tool_call>"
    tokens = tokens_of(text + end("qwen3_5"), "qwen3_5")
    played, _ = play(form("qwen3_5", TOOLS, stops=["STOP"]), scripted(tokens, at_random(0)))
    assert played.answer.arguments == [("write_file", {"text": "a STOP b"})]


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"constraint": Constraint("json_schema", [])}, "not an object"),
        ({"constraint": Constraint("json_schema", {"type": "wrong"})}, "JSON schema"),
        ({"constraint": Constraint("json_schema", {"$ref": "http://example.com/x"})}, "JSON schema"),
        ({"constraint": Constraint("json_schema", {"a": float("nan")})}, "JSON"),
        ({"constraint": Constraint("json_schema", _deep(100))}, "deeper than 64 levels"),
        ({"constraint": Constraint("json_schema", {"enum": ["x" * 300_000]})}, "characters"),
        ({"constraint": Constraint("json_schema", {"type": "string", "pattern": "(a"})}, "JSON schema"),
        ({"constraint": Constraint("regex", "(a")}, "pattern"),
        ({"constraint": Constraint("regex", 5)}, "pattern"),
        ({"constraint": Constraint("lark", "start: " + "x" * 70_000)}, "characters"),
        ({"constraint": Constraint("lark", "start: nothing")}, "grammar"),
        ({"constraint": Constraint("lark", "\ud800")}, "surrogate"),
        ({"constraint": Constraint("gbnf", "root ::= (")}, "GBNF"),
        ({"constraint": Constraint("choice", [])}, "choice"),
        ({"constraint": Constraint("choice", ["a", 1])}, "choice"),
        ({"constraint": Constraint("choice", ["a"] * 2000)}, "choice"),
        ({"tool_choice": ToolChoice("required")}, "no tools"),
        ({"tool_choice": ToolChoice("auto", "fly"), "tools": TOOLS}, "'fly'"),
        ({"tools": [{"type": "function"}]}, "name"),
        ({"tools": [tool("a"), tool("a")]}, "two tools"),
        ({"tools": [{"function": {"name": "a", "parameters": [1]}}]}, "JSON schema"),
        ({"tools": [tool("a", {"x": {"type": "wrong"}}, strict=True)]}, "strict tool a"),
        ({"thinking_budget": -1}, "budget"),
        ({"constraint": Constraint("json_object"), "hidden_ids": ()}, "end token"),
    ],
)
def test_invalid_constraints_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(RequestError, match=match) as error:
        form("qwen3_5", **options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_a_grammar_that_exceeds_its_limits_ends_only_its_answer() -> None:
    asked = form("qwen3_5", constraint=Constraint("regex", "(a|ab|abc|[a-z]{1,200}){1,400}x"))
    with pytest.raises(RequestError, match="too many"):
        play(asked, at_random(0), most=200)


def test_without_llguidance_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    form("qwen3_5", TOOLS, thinking_budget=3)
    with pytest.raises(RequestError, match="pip install"):
        form("qwen3_5", constraint=Constraint("json_object"))


def test_a_schema_without_a_grammar_is_an_error_only_if_strict() -> None:
    """A tool that is not strict may have a schema without a grammar: a call is forced anyway."""
    odd = tool("odd", {"x": {"type": "integer", "not": {"const": 3}}})
    asked = form("llama4", [odd], tool_choice=ToolChoice("required"))
    played, _ = play(asked, at_random(3, favourites()))
    assert played.answer.calls[0][0] == "odd"
