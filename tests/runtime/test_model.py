"""The Python API over a scripted model: pieces, batches, stops, thinking, logits, perplexity."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_text import END_THINK, ByteTokenizer, scripted

from shoestring.errors import CapacityError, RequestError
from shoestring.ops.sampling import Sampled
from shoestring.output.form import form_of
from shoestring.output.machine import OutputMachine
from shoestring.output.pieces import Pieces
from shoestring.output.stops import StopStrings


def said(model: object, *args: object, **options: object) -> str:
    return "".join(p.text for p in model.generate(*args, **options))  # type: ignore[attr-defined]


def test_a_prompt_is_answered() -> None:
    model = scripted({"hi": b"hello \xc3\xa4!"})
    pieces = list(model.generate("hi"))
    assert "".join(p.text for p in pieces) == "hello ä!"
    assert pieces[-1].finish_reason == "stop"
    assert all(p.finish_reason is None for p in pieces[:-1])
    assert "\ufffd" not in "".join(p.text for p in pieces)


def test_a_batch_gives_each_its_own_answer() -> None:
    model = scripted({"A": b"alpha", "B": b"beta!", "C": b"gamma delta"}, sequences=2)
    texts = {0: "", 1: "", 2: ""}
    for piece in model.generate(["A", "B", "C"]):
        texts[piece.index] += piece.text
    assert texts == {0: "alpha", 1: "beta!", 2: "gamma delta"}


def test_token_ids_are_a_prompt_too() -> None:
    model = scripted({"hi": b"yes"})
    assert said(model, list(b"hi")) == said(model, np.array(list(b"hi"))) == "yes"
    texts = {0: "", 1: ""}
    for piece in model.generate([list(b"hi"), list(b"hi")]):
        texts[piece.index] += piece.text
    assert texts == {0: "yes", 1: "yes"}


def test_a_conversation_and_a_batch_of_them() -> None:
    model = scripted({"hi": b"hello"})
    conversation = [{"role": "user", "content": "hi"}]
    assert said(model, messages=conversation) == "hello"
    assert sorted(said(model, messages=[conversation, conversation])) == sorted("hello" * 2)


def test_thinking_is_told_apart() -> None:
    model = scripted({"hi": [*b"hmm", END_THINK, *b"hello"]})
    pieces = list(model.generate(messages=[{"role": "user", "content": "hi"}], thinking=True))
    assert "".join(p.text for p in pieces if p.thinking) == "hmm"
    assert "".join(p.text for p in pieces if not p.thinking) == "hello"


def test_stop_strings_and_max_tokens_end_an_answer() -> None:
    model = scripted({"hi": b"one two three"})
    assert said(model, "hi", stop=" t") == "one"
    assert said(model, "hi", stop=["zzz", "ree"]) == "one two th"
    pieces = list(model.generate("hi", max_tokens=5))
    assert "".join(p.text for p in pieces) == "one t"
    assert pieces[-1].finish_reason == "length"
    assert model.engine.idle


def test_a_full_context_is_a_reason_and_not_an_error() -> None:
    pieces = list(scripted({"hi": b"x" * 100}, context=20).generate("hi"))
    assert pieces[-1].finish_reason == "context"
    assert sum(len(p.tokens) for p in pieces) == 18


def test_logprobs_only_where_asked() -> None:
    model = scripted({"hi": b"yo"})
    assert all(t.logprob is None for p in model.generate("hi") for t in p.tokens)
    assert all(t.logprob is not None for p in model.generate("hi", logprobs=0) for t in p.tokens)


def test_an_iterator_that_is_closed_frees_its_place() -> None:
    model = scripted({"hi": b"a long answer"})
    pieces = model.generate(["hi", "hi"])
    next(pieces)
    pieces.close()
    assert model.engine.idle
    model.engine.check()
    assert said(model, "hi") == "a long answer"


def test_two_answers_may_be_read_in_turns() -> None:
    model = scripted({"A": b"alpha", "B": b"bravo"})
    first, second = model.generate("A"), model.generate("B")
    texts = ["", ""]
    for one, two in zip(first, second, strict=True):
        texts[0] += one.text
        texts[1] += two.text
    assert texts == ["alpha", "bravo"]


def test_wrong_requests_fail_at_the_call() -> None:
    model = scripted({}, context=50)
    for wrong, match in (
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "either"),
        ({}, "prompt must be"),
        ({"prompt": ""}, "empty"),
        ({"prompt": []}, "prompt must be"),
        ({"messages": []}, "list"),
        ({"messages": [{"role": "wizard", "content": "b"}]}, "wizard"),
        ({"prompt": "a", "temperature": -1.0}, "temperature"),
        ({"prompt": "a", "top_p": 1.5}, "top_p"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "logprobs": 1000}, "logprobs"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "chunk": 0}, "chunk"),
    ):
        with pytest.raises(RequestError, match=match):
            model.generate(**wrong)  # type: ignore[arg-type]
    with pytest.raises(CapacityError, match="60 tokens"):
        model.generate("a" * 60)
    assert model.engine.idle


def test_one_bad_prompt_in_a_batch_leaves_nothing_behind() -> None:
    model = scripted({"A": b"alpha"}, context=50)
    with pytest.raises(CapacityError):
        model.generate(["A", "b" * 60])
    assert model.engine.idle
    assert said(model, "A") == "alpha"


def test_logits_of_rows_in_any_order() -> None:
    model = scripted({"ab": b"cd"})
    tokens = list(b"abcd")
    everything = model.logits(tokens)
    assert everything.shape == (4, 264)
    assert everything.dtype == np.float32
    assert everything[1].argmax() == ord("c")
    np.testing.assert_array_equal(model.logits(tokens, rows=[2, 1, 1, -1]), everything[[2, 1, 1, 3]])
    np.testing.assert_array_equal(model.logits(tokens, chunk=1), everything)


@pytest.mark.parametrize("add_bos", [False, True])
def test_perplexity_of_a_known_distribution(add_bos: bool) -> None:
    """The scripted logit is 10 on END and 0 on 263 others: every byte has the same probability."""
    model = scripted({}, add_bos=add_bos)
    loss = math.log(math.exp(10) + 263)
    text = "x" * (40 - add_bos)
    result = model.perplexity(text + "yz", context=10)
    assert result.perplexity == pytest.approx(math.exp(loss), rel=1e-9)
    assert result.windows == 4
    assert result.tokens_scored == 4 * 4
    assert result.standard_error == pytest.approx(0, abs=1e-3)
    with pytest.raises(RequestError, match="19 tokens"):
        model.perplexity("x" * (19 - add_bos), context=10)
    with pytest.raises(CapacityError):
        model.perplexity("x" * 2000, context=600)


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_stop_strings_show_what_precedes_the_first(text: str, stops: list[str], data: st.DataObject) -> None:
    """The text ends before the first complete stop string, however it is cut into pieces."""
    stopper, shown = StopStrings(stops), ""
    rest = text
    while rest:
        n = data.draw(st.integers(1, len(rest)))
        shown += stopper.push(rest[:n])
        rest = rest[n:]
    shown += stopper.finish()
    found = [text.find(stop) for stop in stops if stop in text]
    assert (stopper.found is not None) == bool(found)
    if found:
        assert text.startswith(shown)
        assert any(text.startswith(stop, len(shown)) for stop in stops)
    else:
        assert shown == text


@given(st.text(max_size=20))
def test_broken_utf8_is_never_shown(text: str) -> None:
    machine, maker = OutputMachine(form_of(ByteTokenizer(), "qwen3_5", chat=False)), Pieces(0)
    shown = [piece.text for byte in text.encode() for piece in maker.take(machine.push(Sampled(byte), None), ())]
    assert "".join(shown) == text


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, shoestring; print([m for m in ('numpy', 'typer', 'shoestring._kernels') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
