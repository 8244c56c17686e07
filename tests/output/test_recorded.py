"""Every recorded answer, split at every byte and every token, gives a client the recorded result."""

from __future__ import annotations

import json

import pytest
from assembled import bytes_of, end, form, run, tokenizer, tokens_of
from hypothesis import given
from hypothesis import strategies as st
from recorded import ALL, TOOLS, Recorded

from shoestring.output.form import form_of
from shoestring.output.parser import Parser
from shoestring.output.schemas.types import read_tools
from shoestring.output.syntax import syntax_of

NAMES = [f"{family}: {one.name}" for family, one in ALL]


@pytest.mark.parametrize(("family", "one"), ALL, ids=NAMES)
def test_a_recorded_answer(family: str, one: Recorded) -> None:
    for cut in (lambda tokens, _: tokens, bytes_of):
        tokens = cut(tokens_of(one.text + end(family), family), family)
        answer, machine = run(form(family, TOOLS), tokens, inside_thinking=one.inside_thinking)
        assert answer.thinking == one.thinking
        assert answer.content == one.content
        assert answer.arguments == [(name, dict(arguments)) for name, arguments in one.calls]
        assert all(complete for _, _, complete in answer.calls)
        assert answer.finish_reason == ("tool_calls" if one.calls else "stop")
        assert not machine.ended_inside_thinking or one.thinking


@pytest.mark.parametrize(("family", "one"), ALL, ids=NAMES)
def test_text_split_anywhere(family: str, one: Recorded) -> None:
    """The parser alone, with its text (one character per mark) split at every position and into characters."""
    syntax = syntax_of(tokenizer(family), family)
    text = one.text
    for id, character in syntax.marks.items():
        text = text.replace(tokenizer(family).decode([id]), character)
    ways = [[text[:n], text[n:]] for n in range(len(text) + 1)] + [list(text)]
    results = {_parsed(syntax, pieces, one.inside_thinking) for pieces in ways}
    assert len(results) == 1


def _parsed(syntax: object, pieces: list[str], inside_thinking: bool) -> str:
    from assembled import assemble

    parser = Parser(
        syntax,  # type: ignore[arg-type]
        read_tools(TOOLS),
        inside_thinking=inside_thinking,
        stops=(),
        trim=True,
        most_calls=None,
        new_id=lambda: "call_x",
    )
    events = [event for piece in pieces for event in parser.push(piece)]
    return repr(assemble([*events, *parser.finish(mend=True)]))


@pytest.mark.parametrize(("family", "one"), ALL, ids=NAMES)
def test_cut_off_anywhere(family: str, one: Recorded) -> None:
    """max_tokens may end an answer anywhere: complete calls stay intact, and the rest is a prefix."""
    tokens = tokens_of(one.text, family)
    whole, _ = run(form(family, TOOLS), [*tokens, *tokens_of(end(family), family)], inside_thinking=one.inside_thinking)
    for length in range(1, len(tokens)):
        answer, _ = run(form(family, TOOLS), tokens[:length], inside_thinking=one.inside_thinking, reason="length")
        assert answer.finish_reason == "length"
        for (name, text, complete), (wanted, whole_text, _) in zip(answer.calls, whole.calls, strict=False):
            assert name == wanted
            if complete:
                assert text == whole_text
                json.loads(text)


@given(
    st.text(alphabet=st.sampled_from("<>=/ab \n\"'[](){},:\\é🎉`{"), max_size=60),
    st.sampled_from(["qwen3_5", "llama4"]),
)
def test_text_that_is_not_a_call_is_unchanged(text: str, family: str) -> None:
    answer, _ = run(form(family, TOOLS), [*tokens_of(text, family), *tokens_of(end(family), family)])
    assert answer.calls == []
    assert answer.content == text.lstrip(" \t\r\n")


_PARTS = (
    "<tool_call>", "</tool_call>", "<think>", "</think>", "<function=now>", "<function=write_file>", "</function>",
    "<parameter=text>", "</parameter>", "<|python_start|>", "<|python_end|>", "[now()",
    '{"name": "now", ', '"parameters": ',
    "write_file(text=", '{"text": ', '"', "'", "{", "}", "[", "]", "(", ")", ",", "\n", "x", "é", "\\", "1",
)  # fmt: skip


@given(
    st.lists(st.sampled_from(_PARTS), max_size=25).map("".join), st.sampled_from(["qwen3_5", "llama4"]), st.booleans()
)
def test_any_text_split_anywhere(text: str, family: str, inside_thinking: bool) -> None:
    """Any text: no error, complete calls are JSON, and the split makes no difference."""
    inside_thinking = inside_thinking and family == "qwen3_5"
    tokens = [*tokens_of(text, family), *tokens_of(end(family), family)]
    whole, _ = run(form(family, TOOLS), tokens, inside_thinking=inside_thinking)
    cut, _ = run(form(family, TOOLS), bytes_of(tokens, family), inside_thinking=inside_thinking)
    assert whole == cut
    assert all(complete for _, _, complete in whole.calls)
    for _, arguments in whole.arguments:
        assert isinstance(arguments, dict)


@pytest.mark.parametrize("one", [one for family, one in ALL if family == "qwen3_5"], ids=lambda one: one.name)
def test_a_vocabulary_without_marks(one: Recorded) -> None:
    """If marks are not tokens, their text is the mark, however it is split."""
    tokens = [*bytes_of(tokenizer("none").encode(one.text), "none"), *tokens_of(end("qwen3_5"), "none")]
    asked = form_of(tokenizer("none"), "qwen3_5", tools=TOOLS)
    answer, _ = run(asked, tokens, inside_thinking=one.inside_thinking)
    assert answer.thinking == one.thinking
    assert answer.content == one.content
    assert answer.arguments == [(name, dict(arguments)) for name, arguments in one.calls]
