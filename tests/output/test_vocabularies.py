"""The vendors' vocabularies: marks are tokens, and grammars work with 200,000 tokens as with 280."""

from __future__ import annotations

import json
from functools import cache

import pytest
import vocabularies
from assembled import run, tool
from played import at_random, play, scripted
from recorded import LLAMA, QWEN, TOOLS, Recorded

from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.output.form import form_of
from shoestring.output.request import Constraint, ToolChoice
from shoestring.output.syntax import syntax_of

FAMILIES = {"qwen3_5": "qwen35", "llama4": "llama4"}
END = {"qwen3_5": "<|im_end|>", "llama4": "<|eot|>"}
SAVE = tool("save", {"name": {"type": "string"}, "age": {"type": "integer"}}, required=["name", "age"], strict=True)


@cache
def published(family: str) -> Tokenizer:
    return Tokenizer.from_gguf(vocabularies.gguf_metadata(vocabularies.VOCABULARIES[FAMILIES[family]]()))


@pytest.mark.parametrize("family", FAMILIES)
def test_marks_are_tokens(family: str) -> None:
    syntax = syntax_of(published(family), family)
    for mark in (*syntax.openers, *syntax.closers):
        assert syntax.is_token(mark)
    assert syntax.is_token(syntax.think) == (published(family).thinking is not None)


@pytest.mark.parametrize("family", FAMILIES)
def test_recorded_answers_in_published_tokens(family: str) -> None:
    vocabulary = published(family)
    recorded: tuple[Recorded, ...] = QWEN if family == "qwen3_5" else LLAMA
    for one in recorded:
        if "<think>" in one.text and vocabulary.thinking is None:
            continue
        tokens = vocabulary.encode(one.text + END[family], allow_special=True)
        answer, _ = run(form_of(vocabulary, family, tools=TOOLS), tokens, inside_thinking=one.inside_thinking)
        assert (answer.thinking, answer.content) == (one.thinking, one.content), one.name
        assert answer.arguments == [(name, dict(arguments)) for name, arguments in one.calls], one.name


@pytest.mark.parametrize("family", FAMILIES)
def test_forced_tokens_are_the_only_allowed_ones(family: str) -> None:
    vocabulary = published(family)
    ends = [*vocabulary.encode('",}]>1'), *sorted(vocabulary.eos_ids)]
    schema = {"type": "object", "properties": {"first_name": {"type": "string"}}, "required": ["first_name"]}
    for options in (
        {"tools": [SAVE], "tool_choice": ToolChoice("required")},
        {"constraint": Constraint("json_schema", {**schema, "additionalProperties": False})},
    ):
        for seed in range(2):
            forced, _ = play(form_of(vocabulary, family, **options), at_random(seed, ends), most=60)  # type: ignore[arg-type]
            replay = scripted(forced.tokens, at_random(0))
            free, _ = play(form_of(vocabulary, family, force=False, **options), replay, most=len(forced.tokens))  # type: ignore[arg-type]
            assert free.tokens == forced.tokens
            assert any(forced.forced) or "tools" not in options
            for was_forced, ids, token in zip(forced.forced, free.allowed, free.tokens, strict=False):
                assert not was_forced or ids == [token]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_models_own_tokens_pass_a_strict_tool(family: str) -> None:
    """The grammar of a call allows what the template shows to a model, in the model's own tokens."""
    vocabulary = published(family)
    text = {
        "qwen3_5": "<tool_call>\n<function=save>\n<parameter=name>\nAda\nLovelace </parameter> </\n</parameter>\n"
        "<parameter=age>\n36\n</parameter>\n</function>\n</tool_call><|im_end|>",
        "llama4": '{"name": "save", "parameters": {"name": "Ada\\nLovelace", "age": 36}}<|eot|>',
    }[family]
    for options in ({}, {"tool_choice": ToolChoice("required")}):
        asked = form_of(vocabulary, family, tools=[SAVE], force=False, **options)  # type: ignore[arg-type]
        tokens = vocabulary.encode(text, allow_special=True)
        played, _ = play(asked, scripted(tokens, at_random(0)))
        assert played.tokens == tokens
        assert any(ids is not None for ids in played.allowed)
        ((_, arguments, complete),) = played.answer.calls
        assert complete
        assert json.loads(arguments)["age"] == 36
