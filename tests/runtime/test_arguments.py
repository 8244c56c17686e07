"""What a caller of the Python API may pass. Other types are refused at the call, before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scripted_text import scripted

from shoestring.errors import CapacityError, RequestError
from shoestring.runtime import arguments

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
