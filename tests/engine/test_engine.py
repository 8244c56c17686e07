"""The engine with a scripted model that checks every page and slot."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from shoestring.engine.batch import runs
from shoestring.engine.engine import Engine
from shoestring.engine.scripted_runner import ScriptedRunner
from shoestring.errors import CapacityError, NumericsError, RequestError
from shoestring.ops.sampling import Sampling

GREEDY = Sampling(temperature=0)
VOCABULARY = 50


def successor(tokens: Sequence[int]) -> int:
    """A token that depends on all tokens before it."""
    return (sum((i + 1) * t for i, t in enumerate(tokens)) + 7) % VOCABULARY


def expected(prompt: Sequence[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(successor(tokens))
    return tokens[len(prompt) :]


def make(**options: Any) -> Engine:
    model = {k: options.pop(k) for k in ("chunk_size", "recurrent") if k in options}
    scripted = ScriptedRunner(successor, vocab_size=VOCABULARY, **model)
    return Engine(scripted, **{"context": 700, "sequences": 4, **options})


def answers(engine: Engine, prompts: Sequence[Sequence[int]], count: int, **options: Any) -> list[list[int]]:
    numbers = [engine.generate(p, GREEDY, max_tokens=count, **options) for p in prompts]
    results: dict[int, list[int]] = {n: [] for n in numbers}
    while news := engine.deliveries(numbers):
        for delivery in news:
            if delivery.error is not None:
                raise delivery.error
            results[delivery.number].append(delivery.sampled.id)
    assert engine.idle
    engine.check()
    return [results[n] for n in numbers]


def rows(engine: Engine) -> int:
    assert isinstance(engine.runner, ScriptedRunner)
    return engine.runner.rows


def prompt(seed: int, length: int) -> list[int]:
    return [random.Random(seed * 1000 + i).randrange(VOCABULARY) for i in range(length)]


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("chunk_size", [0, 100, 128])
@pytest.mark.parametrize("chunk", [1, 7, 64, 512])
def test_any_chunking_and_batch_gives_the_answers_of_one_by_one(chunk: int, chunk_size: int, recurrent: bool) -> None:
    prompts = [prompt(i, length) for i, length in enumerate((1, 63, 64, 65, 129, 200, 3, 128))]
    engine = make(chunk_size=chunk_size, recurrent=recurrent)
    assert answers(engine, prompts, 20, chunk=chunk) == [expected(p, 20) for p in prompts]


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("chunk_size", [0, 100])
def test_a_prefix_is_reused_and_changes_nothing(chunk_size: int, recurrent: bool) -> None:
    engine = make(chunk_size=chunk_size, recurrent=recurrent)
    first = prompt(1, 230)
    answer = answers(engine, [first], 10)[0]
    computed = rows(engine)
    assert answers(engine, [first], 10) == [answer]
    assert rows(engine) - computed <= 11, "a repeated prompt computes only its last token and the answer"
    computed = rows(engine)
    longer = first + answer + [3, 4, 5]
    assert answers(engine, [longer], 5) == [expected(longer, 5)]
    assert rows(engine) - computed <= 20


@pytest.mark.parametrize("recurrent", [True, False])
def test_a_boundary_lets_another_branch_begin_there(recurrent: bool) -> None:
    engine = make(recurrent=recurrent)
    stem = prompt(1, 90)
    answers(engine, [stem + prompt(2, 30)], 3, boundaries=(90,))
    computed = rows(engine)
    branch = [*stem, 1 if prompt(2, 1) != [1] else 2, *prompt(3, 9)]
    assert answers(engine, [branch], 3) == [expected(branch, 3)]
    assert rows(engine) - computed == 10 + 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_history_of_branches_answers_right(data: st.DataObject) -> None:
    chunk_size = data.draw(st.sampled_from([0, 100, 128]))
    engine = make(
        chunk_size=chunk_size,
        recurrent=data.draw(st.booleans()),
        snapshots=data.draw(st.integers(0, 3)),
        sequences=data.draw(st.integers(1, 3)),
        context=400,
    )
    known: list[list[int]] = [[]]
    for _ in range(data.draw(st.integers(1, 6))):
        batch = []
        for _ in range(data.draw(st.integers(1, 3))):
            stem = data.draw(st.sampled_from(known))
            cut = data.draw(st.integers(0, len(stem)))
            batch.append((stem[:cut] + prompt(data.draw(st.integers(0, 9)), data.draw(st.integers(1, 150))))[:390])
        boundaries = data.draw(st.lists(st.integers(1, 200), max_size=4))
        results = answers(engine, batch, 5, boundaries=boundaries, chunk=data.draw(st.sampled_from([1, 13, 512])))
        assert results == [expected(p, 5) for p in batch]
        known += [p + a for p, a in zip(batch, results, strict=True)]


def test_logits_of_the_requested_rows() -> None:
    engine = make()
    tokens = prompt(4, 150)
    seen: dict[int, int] = {}

    def receive(first: int, logits: np.ndarray[Any, Any]) -> None:
        for i, row in enumerate(logits):
            seen[first + i] = int(row.argmax())

    engine.score(tokens, receive, rows=[0, 5, 6, 149], chunk=7)
    assert seen == {r: successor(tokens[: r + 1]) for r in (0, 5, 6, 149)}
    engine.score(tokens, receive)
    assert seen == {r: successor(tokens[: r + 1]) for r in range(150)}


def test_requests_go_on_while_others_score() -> None:
    engine = make()
    number = engine.generate(prompt(1, 10), GREEDY, max_tokens=5)
    engine.score(prompt(2, 300), lambda first, logits: None, chunk=10)
    results = []
    while news := engine.deliveries([number]):
        results += [d.sampled.id for d in news]
    assert results == expected(prompt(1, 10), 5)


def test_the_reason_of_the_end() -> None:
    engine = make(context=20)
    start = prompt(1, 10)
    following = expected(start, 10)
    number = engine.generate(start, GREEDY)
    last = [*iter(lambda: engine.deliveries([number]), [])][-1][0]
    assert last.finish_reason == "context"
    assert last.position == 19
    number = engine.generate(start, GREEDY, stop_ids=[following[3]])
    news = [d for batch in iter(lambda: engine.deliveries([number]), []) for d in batch]
    assert [d.sampled.id for d in news] == following[: following.index(following[3]) + 1]
    assert news[-1].finish_reason == "stop"


def test_impossible_requests_are_refused_at_once() -> None:
    engine = make(context=20)
    with pytest.raises(CapacityError, match="21 tokens and the context 20"):
        engine.generate([1] * 21, GREEDY)
    with pytest.raises(CapacityError, match="fill the context"):
        engine.generate([1] * 20, GREEDY)
    with pytest.raises(RequestError, match="empty"):
        engine.generate([], GREEDY)
    with pytest.raises(RequestError, match="token ids"):
        engine.generate([VOCABULARY], GREEDY)
    with pytest.raises(RequestError, match="max_tokens"):
        engine.generate([1], GREEDY, max_tokens=0)
    with pytest.raises(RequestError, match="rows"):
        engine.score([1, 2], lambda first, logits: None, rows=[2])
    with pytest.raises(RequestError, match="logit_bias"):
        engine.generate([1], Sampling(logit_bias={VOCABULARY: 1.0}))
    assert engine.idle
    engine.check()


def test_a_cancelled_request_frees_its_place() -> None:
    engine = make(sequences=1)
    first = engine.generate(prompt(1, 30), GREEDY)
    second = engine.generate(prompt(2, 30), GREEDY, max_tokens=3)
    engine.deliveries([first])
    engine.cancel(first)
    assert [d.sampled.id for d in engine.deliveries([second])] == expected(prompt(2, 30), 1)
    engine.cancel(second)
    assert engine.idle
    engine.check()


class Failing(ScriptedRunner):
    """Fails in the n-th forward pass, after writing to the state."""

    def __init__(self, fail_at: int, error: BaseException | None) -> None:
        super().__init__(successor, vocab_size=VOCABULARY, chunk_size=100)
        self.countdown, self.error = fail_at, error

    def forward(self, state: Any, step: Any, observe: Any = None) -> Any:
        hidden = super().forward(state, step, observe)
        self.countdown -= 1
        if self.error is None and self.countdown <= 0:
            return np.full_like(hidden, np.nan)
        if self.error is not None and self.countdown == 0:
            raise self.error
        return hidden


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("fail_at", range(1, 9))
def test_after_an_interrupted_step_nothing_leaks_and_the_next_answer_is_right(
    fail_at: int, error: BaseException | None
) -> None:
    model = Failing(fail_at, error)
    engine = Engine(model, context=400, sequences=2)
    prompts = [prompt(1, 150), prompt(1, 100) + prompt(2, 30)]

    def repeat() -> None:
        for _ in range(9):
            answers(engine, prompts, 3, chunk=64)

    with pytest.raises(NumericsError if error is None else type(error)):
        repeat()
    model.countdown = 1000
    for number in [*engine.scheduler.running, *engine.scheduler.waiting]:
        engine.cancel(number)
    assert engine.idle
    engine.check()
    assert answers(engine, prompts, 3) == [expected(p, 3) for p in prompts]


def test_runs_have_no_gaps() -> None:
    assert runs([], 4) == []
    assert runs([1, 2, 3, 7, 8], 2) == [range(1, 3), range(3, 4), range(7, 9)]
