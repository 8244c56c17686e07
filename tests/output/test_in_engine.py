"""Machines as guides of the engine: the same answer alone, in a batch, in chunks, and with or without forced tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
from assembled import STRICT_TOOL, Assembled, assemble

from shoestring.engine.engine import Engine
from shoestring.engine.scripted_runner import ScriptedRunner
from shoestring.ops.sampling import Sampled, Sampling
from shoestring.output.events import Event
from shoestring.output.form import form_of
from shoestring.output.machine import OutputMachine
from shoestring.output.request import Constraint, ToolChoice
from shoestring.testing import scripted_tokenizer

TOKENIZER = scripted_tokenizer("qwen3_5")
THINKING = TOKENIZER.thinking
ASKED: tuple[Mapping[str, Any], ...] = (
    {},
    {"thinking_budget": 7},
    {"constraint": Constraint("regex", "[a-z]{3,40}")},
    {"thinking_budget": 3, "constraint": Constraint("choice", ["a long choice", "another"])},
    {"tools": [STRICT_TOOL], "tool_choice": ToolChoice("required"), "thinking_budget": 0},
    {"constraint": Constraint("json_schema", {"type": "object", "properties": {"a": {"type": "integer"}}})},
)


def babble(seen: tuple[int, ...]) -> int:
    """A byte that depends on all before; if the guide does not allow it, the lowest allowed token."""
    return 32 + hashlib.sha256(repr(seen).encode()).digest()[0] % 96


def answers(
    asked: tuple[Mapping[str, Any], ...], *, sequences: int, chunk: int | None = None, **options: Any
) -> list[tuple[list[int], Assembled]]:
    """Submit all requests at once; return the tokens and assembled answer of each."""
    engine = Engine(
        ScriptedRunner(babble, vocab_size=-(-TOKENIZER.vocab_size // 8) * 8), context=512, sequences=sequences
    )
    machines: dict[int, OutputMachine] = {}
    for one in asked:
        machine = OutputMachine(form_of(TOKENIZER, "qwen3_5", **one, **options), inside_thinking=True)
        prompt = TOKENIZER.encode("Please answer: " * 8 + "<think>\n", allow_special=True)
        number = engine.generate(
            prompt, Sampling(), max_tokens=90, stop_ids=TOKENIZER.eos_ids, chunk=chunk, guide=machine
        )
        machines[number] = machine
    tokens: dict[int, list[int]] = {number: [] for number in machines}
    events: dict[int, list[Event]] = {number: [] for number in machines}
    while not engine.idle:
        engine.step()
        for delivery in engine.collect():
            assert delivery.error is None
            token = delivery.sampled.id
            tokens[delivery.number].append(token)
            events[delivery.number] += machines[delivery.number].push(Sampled(token), delivery.finish_reason)
    return [(tokens[n], assemble(events[n], machine.finish_reason)) for n, machine in machines.items()]


@pytest.fixture(scope="module")
def alone() -> list[tuple[list[int], Assembled]]:
    return [answers((one,), sequences=1)[0] for one in ASKED]


def test_constraints_are_enforced(alone: list[tuple[list[int], Assembled]]) -> None:
    assert THINKING is not None
    for asked, (tokens, answer) in zip(ASKED, alone, strict=True):
        assert answer.finish_reason is not None
        if asked.get("thinking_budget") is not None:
            assert THINKING[1] in tokens
            assert answer.thinking.count("The time for thinking is over.") == (asked["thinking_budget"] > 0)
    assert alone[3][1].content in ("a long choice", "another")
    assert alone[4][1].calls[0][0] == "save"


def test_a_batch_equals_single_requests(alone: list[tuple[list[int], Assembled]]) -> None:
    assert answers(ASKED, sequences=len(ASKED)) == alone
    assert answers(ASKED, sequences=2, chunk=5) == alone


def test_forcing_changes_nothing(alone: list[tuple[list[int], Assembled]]) -> None:
    assert answers(ASKED, sequences=3, force=False) == alone
