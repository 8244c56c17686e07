"""Grammars that would stop or end the process are refused in time; the same ones that fit are not."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.errors import BusyError, RequestError
from shoestring.output import form
from shoestring.output.form import form_of
from shoestring.output.masks import lark
from shoestring.output.request import Constraint, ToolChoice
from shoestring.output.trials import trial
from shoestring.output.trials.plain import plain
from shoestring.testing import scripted_model

TOKENIZER = scripted_model(family="qwen3_5").tokenizer


def chain(length: int) -> str:
    return "\n".join(["start: r0", *(f"r{n}: r{n + 1}" for n in range(length)), f'r{length}: "a"'])


def doubling(length: int) -> str:
    return "\n".join(["start: R0", *(f"R{n}: R{n + 1} R{n + 1}" for n in range(length)), f'R{length}: "a"'])


def references(length: int) -> dict[str, Any]:
    steps = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{length}": {"type": "string"}}}


#: The stack, the processor, memory.
BOMBS = {
    "a chain of rules": Constraint("lark", chain(4000)),
    "doubling terminals": Constraint("lark", doubling(3000)),
    "a chain of references": Constraint("json_schema", references(5000)),
    "a large multiple": Constraint("json_schema", {"type": "integer", "multipleOf": 99999999}),
    "intersections": Constraint(
        "json_schema", {"allOf": [{"type": "string", "pattern": f".*{chr(97 + n)}.{{20}}.*"} for n in range(20)]}
    ),
    "many properties": Constraint("json_schema", {"properties": {f"p{n}": {"type": "integer"} for n in range(8000)}}),
    "deep groups in gbnf": Constraint("gbnf", "root ::= " + "(" * 9000 + '"a"' + ")" * 9000),
    "deep groups in a pattern": Constraint("regex", "(" * 30000 + ")" * 30000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_form_that_takes_too_much_is_refused_in_time(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(RequestError) as refusal:
        form_of(TOKENIZER, "qwen3_5", constraint=BOMBS[name])
    assert time.monotonic() - began < 10  # 5 on an idle machine
    assert len(str(refusal.value)) < 500
    assert "panic" not in str(refusal.value)
    form_of(TOKENIZER, "qwen3_5", constraint=Constraint("regex", "[0-9]{3}"))


def test_smaller_ones_of_the_same_kinds_compile() -> None:
    for constraint in (
        Constraint("lark", chain(100)),
        Constraint("lark", doubling(5)),
        Constraint("json_schema", references(30)),
        Constraint("json_schema", {"type": "integer", "multipleOf": 7}),
        Constraint("json_schema", {"type": "string", "pattern": "^[a-z]+$", "maxLength": 20}),
        Constraint("gbnf", 'root ::= (("a" | "b")+ ","){1,3}'),
    ):
        assert form_of(TOKENIZER, "qwen3_5", constraint=constraint).answer is not None


def test_strict_tools_share_the_time_of_one_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "_SECONDS", 0.5)
    numbers = [{"type": "integer", "multipleOf": 99999990 + n} for n in range(100)]
    tools = [
        {"function": {"name": f"f{n}", "strict": True, "parameters": {"properties": {"a": number}}}}
        for n, number in enumerate(numbers)
    ]
    began = time.monotonic()
    with pytest.raises(RequestError, match="too complex"):
        form_of(TOKENIZER, "qwen3_5", tools=tools)
    assert time.monotonic() - began < 10


def test_definitions_are_not_repeated_for_ever() -> None:
    parameters = {
        "$defs": {"a": {"description": "x" * 100_000}},
        "properties": {f"p{n}": {"type": "integer"} for n in range(500)},
    }
    with pytest.raises(RequestError, match="definitions are too long"):
        form_of(
            TOKENIZER,
            "qwen3_5",
            tools=[{"function": {"name": "f", "parameters": parameters, "strict": True}}],
            tool_choice=ToolChoice("required"),
        )


def test_a_child_that_was_killed_is_replaced_and_results_are_remembered() -> None:
    later = time.monotonic() + 30
    assert trial.check(TOKENIZER, lark('start: "x"'), "it", later) == ""
    children = trial._of_tokenizer[TOKENIZER]
    for child in children._idle:
        os.kill(child._process.pid, signal.SIGKILL)
        child._process.wait()
    assert trial.check(TOKENIZER, lark('start: "x"'), "it", later) == ""  # remembered
    assert trial.check(TOKENIZER, lark('start: "y"'), "it", later) == ""
    assert "lexer error" in trial.check(TOKENIZER, lark('start: "'), "it", later)


def test_a_form_waits_for_others_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    trial.check(TOKENIZER, lark('start: "x"'), "it", time.monotonic() + 30)
    children = trial._of_tokenizer[TOKENIZER]
    monkeypatch.setattr(trial, "_WAIT_SECONDS", 0.05)
    for _ in range(2):
        children._free.acquire()
    with pytest.raises(BusyError, match="wait"):
        trial.check(TOKENIZER, lark('start: "z"'), "it", time.monotonic() + 30)
    children._free.release(2)


def test_which_forms_need_no_trial() -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}}}
    assert plain(None, [])
    assert plain(Constraint("json_object"), [person])
    assert plain(Constraint("json_schema", {**person, "$defs": {"p": person}, "anyOf": [{"$ref": "#/$defs/p"}]}), [])
    assert not plain(Constraint("regex", "a"), [])
    for more in (
        {"pattern": "a"},
        {"multipleOf": 3},
        {"allOf": [{}]},
        {"patternProperties": {}},
        {"minItems": 10**9},
        {"maximum": 1e300},
        {"x-guidance": {}},
        {"properties": {str(n): {} for n in range(201)}},
        {"items": 5},
    ):
        assert not plain(None, [{**person, "properties": {"inner": more}}]), more


WORDS = ("type", "properties", "items", "anyOf", "enum", "const", "$ref", "required", "minimum", "minItems")
NAMES = st.sampled_from(WORDS)
TEXTS = st.sampled_from(["string", "object", "#"]) | st.text(max_size=5)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-9999, 9999) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, ANY, max_size=5))
def test_any_schema_compiles_or_is_refused(schema: dict[str, Any]) -> None:
    with contextlib.suppress(RequestError):
        form_of(TOKENIZER, "qwen3_5", constraint=Constraint("json_schema", schema))
