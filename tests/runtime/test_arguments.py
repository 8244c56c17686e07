"""What a caller of the Python API may pass. Other types are refused at the call, before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_checkpoints
from scripted_text import scripted

import shoestring
from shoestring import Constraint
from shoestring.errors import CapacityError, RequestError
from shoestring.runtime import arguments
from shoestring.testing import Reply, scripted_model

NOT_INTEGERS = (1.5, True, "a", [1], None, np.float32(2), np.bool_(True), b"a", {1})
NOT_LISTS = (5, None, 1.5, "abc", b"abc", reversed([1]), np.array([1.0]), np.array([[1]]), np.array([True]), {"a": 1})


@pytest.mark.parametrize("item", NOT_INTEGERS, ids=repr)
def test_only_integers_are_token_ids_rows_and_layers(item: Any) -> None:
    model, wrong = scripted({}), [1, item]
    for use in (
        model.logits,
        model.hidden_states,
        model.decode,
        model.generate,
        model.prompt,
        lambda ids: model.generate([[1], ids]),
        lambda ids: model.generate("a", stop_ids=ids),
        lambda rows: model.logits([1, 2], rows=rows),
        lambda layers: model.hidden_states([1, 2], layers=layers),
    ):
        with pytest.raises(TypeError, match="integer"):
            use(wrong)
    assert model.engine.idle


@pytest.mark.parametrize("wrong", NOT_LISTS, ids=[f"{type(wrong).__name__}{n}" for n, wrong in enumerate(NOT_LISTS)])
def test_only_lists_and_integer_arrays_are_token_ids(wrong: Any) -> None:
    model = scripted({})
    for use in (
        model.logits,
        model.hidden_states,
        model.decode,
        lambda ids: model.generate("a", stop_ids=ids),
        lambda rows: model.logits([1, 2], rows=rows if rows is not None else 5),
        lambda layers: model.hidden_states([1, 2], layers=layers if layers is not None else 5),
        lambda ids: model.generate([[1], ids if not isinstance(ids, str) else 5]),
    ):
        with pytest.raises(TypeError, match="integers"):
            use(wrong)
    assert model.engine.idle


@pytest.mark.parametrize("ids", [[5, 6], (5, 6), range(5, 7), np.array([5, 6]), np.array([5, 6], np.uint8)], ids=repr)
def test_integers_of_any_kind_are_token_ids(ids: Any) -> None:
    model = scripted({})
    assert (model.logits(ids) == model.logits([5, 6])).all()
    assert model.decode(ids) == model.decode([5, 6])
    assert model.prompt(ids).tokens == model.prompt([np.int64(5), 6]).tokens == (5, 6)


@pytest.mark.parametrize("id", [-1, 264, 10**30])
def test_token_ids_out_of_range_are_refused_everywhere(id: int) -> None:
    model = scripted({})
    for use in (model.logits, model.hidden_states, model.decode, model.generate):
        with pytest.raises(RequestError, match="token ids must lie between 0 and 263"):
            use([1, id])
    with pytest.raises(RequestError, match="stop_ids: token ids must lie between 0 and 263"):
        model.generate([1], stop_ids=[5, id])


@pytest.mark.parametrize(
    "options",
    [{name: value} for name in ("max_tokens", "n", "chunk", "thinking_budget") for value in (1.5, True, "1")]
    + [{name: value} for name in ("top_k", "seed", "logprobs") for value in (1.5, True, "1")]
    + [{name: value} for name in ("temperature", "top_p", "repetition_penalty") for value in (True, "1", [1.0])]
    + [{"logit_bias": {"a": 1.0}}, {"logit_bias": {1: "x"}}, {"logit_bias": {1.5: 1.0}}, {"stop": [5]}],
    ids=str,
)
def test_options_of_another_type_are_type_errors_at_the_call(options: dict[str, Any]) -> None:
    model = scripted({})
    with pytest.raises(TypeError):
        model.generate(messages=[{"role": "user", "content": "a"}], **options)
    assert model.engine.idle


def test_too_many_tokens_are_refused_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    model = scripted({}, context=20)
    much = range(10**12)  # reading it would not end
    for use in (model.logits, model.hidden_states, lambda ids: model.logits([1], rows=ids)):
        with pytest.raises(CapacityError):
            use(much)
    with pytest.raises(CapacityError, match="context of 20"):
        model.perplexity("a" * 500, context=64)
    monkeypatch.setattr(arguments, "free_memory", lambda: 1 << 27)
    model = scripted({}, context=1 << 20)
    with pytest.raises(CapacityError, match="choose fewer `rows`"):
        model.logits(range(200), rows=[0] * (1 << 18))
    with pytest.raises(CapacityError, match="fewer `layers`"):
        model.hidden_states([1] * 1000, layers=[0] * (1 << 18))
    assert model.logits([1, 2]).shape == (2, 264)


MESSAGES = [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"temprature": 1}, TypeError, "generate has no option 'temprature': did you mean 'temperature'"),
        ({"max_token": 1}, TypeError, "did you mean 'max_tokens'"),
        ({"xyz": 1}, TypeError, "generate has no option 'xyz'"),
        ({"tools": "weather"}, TypeError, "tools is 'weather': give a list of objects like"),
        ({"tools": {"name": "weather"}}, TypeError, "tools is .*: give a list of objects like"),
        ({"tools": [print]}, TypeError, "give a list of objects like"),
        ({"constraint": {"type": "object"}}, TypeError, "constraint is .*: give a Constraint"),
        ({"constraint": Constraint("xml")}, RequestError, "kind is 'xml': choose one of json_schema"),  # type: ignore[arg-type]
        ({"thinking": "yes"}, TypeError, "thinking is 'yes': give True or False"),
        ({"ignore_eos": 1}, TypeError, "ignore_eos is 1: give True or False"),
        ({"parallel_tool_calls": None}, TypeError, "parallel_tool_calls is None: give True or False"),
        ({"tool_choice": {"type": "function"}}, RequestError, "tool_choice is"),
        ({"stop": 5}, TypeError, "stop is 5: give a text or a list"),
        ({"stop": ["a", ""]}, RequestError, "stop is empty"),
        ({"logit_bias": [1]}, TypeError, r"logit_bias is \[1\]: give numbers by token id"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named_as_the_caller_wrote_it(
    options: dict[str, Any], error: type[Exception], says: str
) -> None:
    model = scripted({})
    with pytest.raises(error, match=f"^(the constraint's )?{says}" if "kind" in says else says):
        model.generate(messages=MESSAGES, **options)
    assert model.engine.idle


def test_what_is_no_text_or_no_single_prompt() -> None:
    model = scripted({})
    for use in (model.encode, model.perplexity):
        with pytest.raises(TypeError, match="text is 5: give a text"):
            use(5)  # type: ignore[operator]
    with pytest.raises(TypeError, match="give it as messages"):
        model.generate(MESSAGES)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="there are 2 prompts"):
        model.prompt(["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"threads": 0}, RequestError, "threads is 0"),
        ({"threads": "4"}, RequestError, "threads is '4'"),
        ({"kv_type": "q4_0"}, RequestError, "kv_type is 'q4_0': choose one of f16, f32, q8_0"),
        ({"context": 0}, RequestError, "context is 0"),
        ({"context": "much"}, RequestError, "context is 'much': give a number of tokens like 32768 or 32k"),
        ({"context": 1.5}, RequestError, "context is 1.5"),
        ({"context": "1M"}, CapacityError, "context is 1048576 and the model was made for at most"),
        ({"memory": "some"}, RequestError, "memory is 'some': write a size like 12GiB"),
        (
            {"memory": "1kB"},
            CapacityError,
            ".* and memory leaves 0 B: give more, choose a smaller context or a smaller",
        ),
        ({"parallel": 0}, RequestError, "parallel is 0"),
        ({"parallel": "2"}, TypeError, "parallel is '2': give an integer"),
        ({"cache_memory": "half"}, RequestError, "cache_memory is 'half': write a size"),
    ],
    ids=str,
)
def test_a_wrong_argument_of_load_is_named_as_a_keyword(
    arguments: dict[str, Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    path = random_checkpoints.write("llama4", "Q4_0", tmp_path / "model.gguf")
    with pytest.raises(error, match=f"^{says}"):
        shoestring.load(path, **arguments)


def test_sizes_are_texts_too(tmp_path: Path) -> None:
    path = random_checkpoints.write("llama4", "Q4_0", tmp_path / "model.gguf")
    with shoestring.load(path, context="0.125k", memory="100GiB", cache_memory="1MiB") as model:
        assert model.context == 128


def test_two_prompts_give_two_texts() -> None:
    model = scripted_model({"a": Reply("one", thinking="hm"), "b": "two"})
    conversations = [[{"role": "user", "content": text}] for text in "ab"]
    assert model.generate(messages=conversations, thinking=True).texts() == ["one", "two"]
    assert model.generate(messages=conversations, n=2).texts() == ["one", "one", "two", "two"]
    assert model.generate(["x", "y"]).texts() == [" and so on."] * 2
    stream = model.generate("x")
    first = next(stream).text
    assert stream.texts() == [" and so on.".removeprefix(first)]
    assert stream.texts() == [""]


def test_reprs_are_short() -> None:
    """A notebook shows them after every line."""
    model = scripted_model({"a": "one"}, context=4096)
    assert repr(model) == f"Model(qwen3_5, context=4096, vocab_size={model.vocab_size})"
    stream = model.generate(["a" * 500, "b"], n=2)
    assert repr(stream) == "Stream(4 answers, 0 tokens)"
    stream.texts()
    assert repr(stream) == f"Stream(4 answers, {stream.usage.completion_tokens} tokens, ended)"
    assert repr(model.prompt("a" * 500)) == "Prompt(500 tokens, 0 boundaries)"
    model.close()
    assert repr(model) == "Model(qwen3_5, closed)"
    assert len(repr(shoestring.plan(hardware="8xh100"))) < 200
    assert len(repr(shoestring.compare("qwen3.5", "scout", hardware="8xh100"))) < 200
