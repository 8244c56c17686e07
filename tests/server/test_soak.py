"""A short run of bench/soak.py; `make deep` runs all of it."""

from __future__ import annotations

import pytest
import soak
from soak_answers import content, pieces, whole
from soak_requests import asks
from tiny_files import tiny_llama, tiny_qwen


def test_a_short_soak_breaks_nothing() -> None:
    with tiny_qwen() as file:
        assert soak.check(file, 60, 200, at_once=12, seed=1) == []


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("model", [tiny_qwen, tiny_llama])
def test_a_soak_breaks_nothing(model: object) -> None:
    with model() as file:  # type: ignore[operator]
        complaints = soak.check(file, 2000, 10_000, at_once=12, seed=1)
    assert complaints == [], "\n".join(complaints)


def test_the_load_has_everything() -> None:
    load = asks(500, seed=1)
    assert load == asks(500, seed=1) != asks(500, seed=2)
    text = b"\n".join(ask.body for ask in load)
    for field in (b'"tools"', b'"json_schema"', b'"n"', b'"seed"', b'"regex"', b'"format"', b'"stream": true'):
        assert field in text, field
    assert {ask.fault for ask in load} == {"none", "leaves", "reads nothing", "refused"}
    assert len({ask.key for ask in load}) == 3
    assert any(len(ask.follow_ups) == 2 for ask in load)


def test_a_difference_is_a_complaint() -> None:
    one, two = asks(2, seed=3)
    assert soak.differing([(one, "a"), (two, "b")], [(two, "b"), (one, "a")]) == []
    assert len(soak.differing([(one, "a"), (two, "b")], [(two, "B"), (one, "a")])) == 1
    assert len(soak.differing([(one, "a"), (two, "b")], [(two, "b")])) == 1


def test_an_answer_says_the_same_in_pieces() -> None:
    call = {"function": {"name": "look", "arguments": '{"a": 1}'}}
    message = {"content": "hi", "reasoning_content": "so", "tool_calls": [call]}
    one = {"choices": [{"index": 0, "message": message}, {"index": 1, "message": {"content": "ho"}}]}
    parts = [
        {"choices": [{"index": 1, "delta": {"content": "h"}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "so"}}]},
        {"choices": [{"index": 1, "delta": {"content": "o"}}]},
        {"choices": [{"index": 0, "delta": {"content": "hi"}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"name": "look", "arguments": '{"a"'}}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": ": 1}"}}]}}]},
    ]
    assert whole(one) == pieces(parts)
    assert content([{"choices": [{"delta": {"content": "a"}}]}, {"choices": [{"delta": {}}]}]) == "a"
    assert content({"model": "x", "message": {"content": "b", "thinking": "c"}}) == "b"
