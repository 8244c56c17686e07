"""Passes: prompts go through the model a layer a turn, between two layers run answers and take effect cancellations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import random_checkpoints
from hypothesis import given, settings
from passing_runner import CountingExperts, with_passes
from random_checkpoints import tokens

import shoestring
from shoestring.engine.engine import Engine
from shoestring.engine.guide import Guide
from shoestring.engine.request import Scoring
from shoestring.engine.scripted_runner import ScriptedRunner
from shoestring.errors import NumericsError
from shoestring.ops.sampling import Sampling
from shoestring.runtime.model import Model

GREEDY = Sampling(temperature=0)
VOCABULARY = 50


def successor(before: Sequence[int]) -> int:
    """A token that depends on all tokens before it."""
    return (sum((i + 1) * t for i, t in enumerate(before)) + 7) % VOCABULARY


def expected(prompt: Sequence[int], count: int) -> list[int]:
    known = list(prompt)
    for _ in range(count):
        known.append(successor(known))
    return known[len(prompt) :]


def prompt(seed: int, length: int) -> list[int]:
    return [random.Random(seed * 1000 + i).randrange(VOCABULARY) for i in range(length)]


def make(*, runner: ScriptedRunner | None = None, **options: Any) -> tuple[Engine, ScriptedRunner]:
    model = {k: options.pop(k) for k in ("chunk_size", "recurrent") if k in options}
    model |= {"layers": options.pop("layers", 4), "pass_rows": options.pop("pass_rows", 300)}
    scripted = runner or ScriptedRunner(successor, vocab_size=VOCABULARY, **model)
    return Engine(scripted, **{"context": 700, "sequences": 4, **options}), scripted


def run(engine: Engine, numbers: Sequence[int]) -> dict[int, list[int]]:
    """The tokens of each request, whose errors are raised."""
    results: dict[int, list[int]] = {n: [] for n in numbers}
    while news := engine.deliveries(numbers):
        for delivery in news:
            if delivery.error is not None:
                raise delivery.error
            results[delivery.number].append(delivery.sampled.id)
    return results


# --- answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("chunk_size", [0, 100, 128])
@pytest.mark.parametrize("pass_rows", [1, 7, 64, 10_000])
def test_answers_are_the_same_in_passes_of_any_size(pass_rows: int, chunk_size: int, recurrent: bool) -> None:
    prompts = [prompt(i, length) for i, length in enumerate((1, 63, 64, 65, 129, 200, 3, 128))]
    engine, _ = make(pass_rows=pass_rows, chunk_size=chunk_size, recurrent=recurrent)
    numbers = [engine.generate(p, GREEDY, max_tokens=20) for p in prompts]
    assert [*run(engine, numbers).values()] == [expected(p, 20) for p in prompts]
    assert engine.idle
    engine.check()


def test_each_layer_is_visited_once_for_all_prompts_that_fit() -> None:
    engine, runner = make(pass_rows=500, layers=6)
    numbers = [engine.generate(prompt(i, 120), GREEDY, max_tokens=5, client=f"{i}") for i in range(3)]
    run(engine, numbers)
    assert runner.layers_visited == 6
    numbers = [engine.generate(prompt(9, 650), GREEDY, max_tokens=5)]
    run(engine, numbers)
    assert runner.layers_visited == 6 + 2 * 6, "500 rows, then 150"


def test_prompts_of_two_clients_share_passes_in_turn() -> None:
    engine, runner = make(pass_rows=200, layers=2, context=2000, sequences=3)
    long = engine.generate(prompt(1, 1000), GREEDY, max_tokens=1, client="a")
    engine.step()
    engine.step()
    short = engine.generate(prompt(2, 100), GREEDY, max_tokens=1, client="b")
    engine.step()
    engine.step()
    assert [d.number for d in engine.collect()] == [short], "the client that waited longer comes first"
    assert engine.status(long).computed_tokens == 300, "the rest of the pass is the other's"
    run(engine, [long])
    assert runner.layers_visited == 2 * 6


def test_an_answer_gets_a_token_between_two_layers() -> None:
    engine, _ = make(layers=8)
    answering = engine.generate(prompt(1, 50), GREEDY, max_tokens=100)
    answer = [delivery.sampled.id for delivery in engine.deliveries([answering])]
    other = engine.generate(prompt(2, 300), GREEDY, max_tokens=1)
    for layer in range(8):
        assert engine.status(other).computed_tokens == 300 * layer // 8
        engine.step()
        news = engine.collect()
        assert [delivery.number for delivery in news if delivery.number == answering] == [answering]
        answer += [delivery.sampled.id for delivery in news if delivery.number == answering]
    assert engine.status(other).state == "over"
    assert answer + run(engine, [answering])[answering] == expected(prompt(1, 50), 100)


def test_forced_tokens_run_beside_a_pass() -> None:
    class Forcing:
        penalties_apply = False

        def allowed(self) -> None:
            return None

        def accept(self, token: int) -> list[int]:
            return [token] * 70

    engine, _ = make(layers=8, recurrent=True)
    guide: Guide = Forcing()  # type: ignore[assignment]
    number = engine.generate(prompt(1, 50), GREEDY, max_tokens=300, guide=guide)
    engine.deliveries([number])
    other = engine.generate(prompt(2, 300), GREEDY, max_tokens=9)
    assert run(engine, [other])[other] == expected(prompt(2, 300), 9)
    assert len(run(engine, [number])[number]) > 200


def test_progress_counts_layers() -> None:
    engine, _ = make(layers=5, pass_rows=200)
    number = engine.generate(prompt(1, 400), GREEDY, max_tokens=1)
    seen = []
    while engine.status(number).state != "over":
        seen.append(engine.status(number).computed_tokens)
        engine.step()
    assert seen == [0, 40, 80, 120, 160, 200, 240, 280, 320, 360]
    assert engine.status(number).computed_tokens == 400
    assert engine.counts().slowest_layer_seconds > 0


def test_models_in_memory_have_no_passes() -> None:
    engine, runner = make(pass_rows=None)
    run(engine, [engine.generate(prompt(1, 400), GREEDY, max_tokens=3)])
    assert (runner.layers_visited, engine.counts().slowest_layer_seconds) == (0, 0)


def test_a_request_may_bound_its_own_rows() -> None:
    engine, runner = make(layers=3)
    run(engine, [engine.generate(prompt(1, 100), GREEDY, max_tokens=1, chunk=30)])
    assert runner.layers_visited == 4 * 3


def test_scoring_in_passes() -> None:
    engine, _ = make(layers=3, pass_rows=70)
    given, seen = prompt(4, 150), {}

    def receive(first: int, logits: np.ndarray[Any, Any]) -> None:
        seen.update({first + i: int(row.argmax()) for i, row in enumerate(logits)})

    engine.score(given, receive)
    assert seen == {row: successor(given[: row + 1]) for row in range(150)}


# --- cancellations and failures --------------------------------------------------------------------------------


def test_a_deserted_pass_is_dropped_at_once() -> None:
    engine, runner = make(layers=10)
    given = prompt(1, 600)
    numbers = [engine.generate(given[:500], GREEDY, max_tokens=3), engine.generate(prompt(2, 90), GREEDY, max_tokens=3)]
    for _ in range(13):
        engine.step()
    assert (runner.layers_visited, engine.counts().running) == (13, 2)
    engine.cancel(numbers[0])
    assert engine.counts().running == 2, "the pass still writes its pages"
    engine.cancel(numbers[1])
    assert engine.idle
    assert engine.counts().running == engine.counts().used.global_pages == engine.counts().used.slots == 0
    engine.check()
    number = engine.generate(given, GREEDY, max_tokens=9)
    assert run(engine, [number])[number] == expected(given, 9)


def test_what_earlier_passes_computed_stays_in_the_cache() -> None:
    engine, runner = make(layers=10, recurrent=False)
    number = engine.generate(prompt(1, 600), GREEDY, max_tokens=3)
    for _ in range(15):
        engine.step()
    engine.cancel(number)
    again = engine.generate(prompt(1, 600), GREEDY, max_tokens=3)
    assert run(engine, [again])[again] == expected(prompt(1, 600), 3)
    assert engine.status(again).cached_tokens == 300
    assert runner.layers_visited == 15 + 10


def test_a_cancelled_request_leaves_its_pass_to_the_others() -> None:
    engine, runner = make(layers=10)
    first, second = (engine.generate(prompt(i, 100), GREEDY, max_tokens=3) for i in (1, 2))
    for _ in range(4):
        engine.step()
    engine.cancel(first)
    assert engine.status(first).state == "over"
    assert run(engine, [second])[second] == expected(prompt(2, 100), 3)
    assert runner.layers_visited == 10, "the others do not start again"
    assert engine.deliveries([first]) == []
    engine.check()
    assert engine.idle
    again = engine.generate(prompt(1, 100), GREEDY, max_tokens=3)
    assert run(engine, [again])[again] == expected(prompt(1, 100), 3)
    assert engine.status(again).cached_tokens == 99, "what the pass computed for it is cached"


def test_closing_ends_a_pass() -> None:
    engine, runner = make(layers=10)
    engine.generate(prompt(1, 100), GREEDY)
    engine.step()
    engine.close()
    assert runner.layers_visited == 1


class Failing(ScriptedRunner):
    """Fails in the n-th layer of a pass, after writing to the state."""

    def __init__(self, fail_at: int, error: BaseException | None) -> None:
        super().__init__(successor, vocab_size=VOCABULARY, chunk_size=100, layers=4, pass_rows=300)
        self.countdown, self.error = fail_at, error

    def begin_pass(self, state: Any, step: Any, observe: Any = None) -> Any:
        for hidden in super().begin_pass(state, step, observe):
            self.countdown -= 1
            if self.error is not None and self.countdown == 0:
                raise self.error
            yield np.full_like(hidden, np.nan) if self.error is None and self.countdown <= 0 else hidden


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), OSError("model.gguf at 4096")])
@pytest.mark.parametrize("fail_at", range(1, 10))
def test_a_failed_layer_ends_the_requests_of_its_pass_alone(
    fail_at: int, error: BaseException | None, cancelled: bool
) -> None:
    runner = Failing(1000, error)
    engine, _ = make(runner=runner)
    answering = engine.generate(prompt(9, 60), GREEDY, max_tokens=60)
    engine.deliveries([answering])
    runner.countdown = fail_at
    numbers = [engine.generate(p, GREEDY, max_tokens=3) for p in (prompt(1, 150), prompt(2, 40))]

    def repeat() -> None:
        engine.step()
        if cancelled:
            engine.cancel(numbers[1])
        for i in range(50):
            run(engine, numbers)
            numbers[:] = [engine.generate(prompt(j, 150), GREEDY, max_tokens=3) for j in (2 * i + 10, 2 * i + 11)]

    with pytest.raises(NumericsError if error is None else type(error)):
        repeat()
    runner.countdown = 1000
    for number in numbers:
        engine.cancel(number)
    assert set(engine.scheduler.running) <= {answering}, "a request of the pass still runs"
    assert engine.status(answering).state != "waiting"
    answer = run(engine, [answering])[answering]
    assert answer == expected(prompt(9, 60), 60)[60 - len(answer) :]
    assert engine.idle
    engine.check()
    again = [engine.generate(prompt(i, 120), GREEDY, max_tokens=3) for i in (1, 2)]
    assert [*run(engine, again).values()] == [expected(prompt(i, 120), 3) for i in (1, 2)]


def test_a_failed_pass_leaves_nothing_in_the_cache() -> None:
    runner = Failing(4 + 2, OSError("model.gguf at 4096"))
    engine, _ = make(runner=runner)
    number = engine.generate(prompt(1, 250), GREEDY, max_tokens=3, boundaries=(64,))
    with pytest.raises(OSError, match="4096"):
        run(engine, [number])
    again = engine.generate(prompt(1, 250), GREEDY, max_tokens=3)
    assert run(engine, [again])[again] == expected(prompt(1, 250), 3)
    assert engine.status(again).cached_tokens == 0


def test_the_observer_of_a_cancelled_request_sees_nothing_more() -> None:
    engine, _ = make(layers=5)
    seen: dict[str, list[int]] = {"a": [], "b": []}

    def submit(name: str) -> int:
        def observe(layer: int, position: int, hidden: Any) -> None:
            seen[name].append(layer)

        return engine.submit_scoring(prompt(len(name), 90), Scoring((89,), lambda first, logits: None, observe))

    first, second = submit("a"), submit("b")
    engine.step()
    engine.step()
    engine.cancel(first)
    engine.deliveries([second])
    assert seen == {"a": [0, 1], "b": [0, 1, 2, 3, 4, 5]}


def test_an_observer_may_cancel_its_request() -> None:
    engine, runner = make(layers=5)

    def observe(layer: int, position: int, hidden: Any) -> None:
        if layer == 2:
            engine.cancel(number)

    number = engine.submit_scoring(prompt(1, 90), Scoring((89,), lambda first, logits: None, observe))
    assert engine.deliveries([number]) == []
    assert engine.idle
    assert runner.layers_visited == 3
    engine.check()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_requests_join_and_are_cancelled_and_every_answer_is_as_if_alone(data: st.DataObject) -> None:
    """Histories of requests that share prefixes, with passes between whose layers others answer, begin and end."""
    engine, _ = make(
        layers=data.draw(st.sampled_from([1, 2, 5])),
        pass_rows=data.draw(st.sampled_from([1, 7, 100, 10_000])),
        chunk_size=data.draw(st.sampled_from([0, 100, 128])),
        recurrent=data.draw(st.booleans()),
        snapshots=data.draw(st.integers(0, 3)),
        sequences=data.draw(st.integers(1, 4)),
        cache_bytes=data.draw(st.sampled_from([None, 0, 20_000])),
        stride=64,
        context=400,
    )
    wanted: dict[int, list[int]] = {}
    results: dict[int, list[int]] = {}
    known: list[list[int]] = [[]]

    def collect() -> None:
        for delivery in engine.collect():
            assert delivery.error is None
            results[delivery.number].append(delivery.sampled.id)

    for _ in range(data.draw(st.integers(1, 12))):
        stem = data.draw(st.sampled_from(known))
        cut = data.draw(st.sampled_from([0, len(stem), len(stem) // 2]))
        asked = (stem[:cut] + prompt(data.draw(st.integers(0, 3)), data.draw(st.integers(1, 200))))[:380]
        count = data.draw(st.integers(1, 12))
        boundaries = data.draw(st.lists(st.integers(1, 300), max_size=2))
        number = engine.generate(
            asked, GREEDY, max_tokens=count, boundaries=boundaries, client=data.draw(st.sampled_from("ab"))
        )
        wanted[number], results[number] = expected(asked, count), []
        known.append(asked)
        for _ in range(data.draw(st.integers(0, 12))):
            engine.step()
            engine.check()
        collect()
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(wanted)))
            engine.cancel(gone)
            engine.check()
            del wanted[gone]
    for _ in range(20_000):
        if engine.idle:
            break
        engine.step()
    assert engine.idle, "a request starves"
    collect()
    assert {number: results[number] for number in wanted} == wanted
    assert engine.counts().used.global_pages == engine.counts().used.slots == 0


# --- models ----------------------------------------------------------------------------------------------------

FAMILIES = ("qwen3_5", "llama4-interleaved")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    return {
        family: shoestring.load(
            random_checkpoints.write(family, "Q4_K", folder / f"{family}.gguf"), threads=2, context=512
        )
        for family in FAMILIES
    }


@pytest.mark.parametrize("pass_rows", [1, 7, 100, 10_000])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_and_logits_have_the_same_bits(family: str, pass_rows: int, models: dict[str, Model]) -> None:
    """Several answers at once, and prompts that are scored beside them, as each is alone without passes."""
    model = models[family]
    sampling = Sampling(temperature=1.2, seed=5, logprobs=3, presence_penalty=0.5)
    prompts = [tokens(length, seed=length) for length in (1, 63, 130, 65, 192)]

    def answers(engine: Engine, chosen: Sequence[Sequence[int]]) -> list[list[object]]:
        numbers = [engine.generate(p, sampling, max_tokens=12) for p in chosen]
        by_number: dict[int, list[object]] = {number: [] for number in numbers}
        while news := engine.deliveries(numbers):
            for delivery in news:
                assert delivery.error is None
                by_number[delivery.number].append(delivery.sampled)
        return [*by_number.values()]

    alone = [answers(Engine(model.engine.runner, context=512), [p])[0] for p in prompts]
    engine = Engine(with_passes(model.engine.runner, pass_rows), context=512, sequences=4)
    running = engine.generate(tokens(20, seed=77), sampling, max_tokens=400)
    engine.deliveries([running])
    assert answers(engine, prompts) == alone
    scored = Model(engine, model.tokenizer, model.template, family=model.family).logits(tokens(200))
    assert np.array_equal(scored, model.logits(tokens(200)))
    assert pass_rows < 100 or engine.status(running).state == "running"


@pytest.mark.parametrize("family", FAMILIES)
def test_each_expert_is_needed_once_for_a_prompt(family: str, models: dict[str, Model]) -> None:
    counting = CountingExperts(models[family].engine.runner._experts)  # type: ignore[attr-defined]
    engine = Engine(with_passes(models[family].engine.runner, 10_000, counting), context=512, sequences=2)
    numbers = [engine.generate(tokens(n, seed=n), GREEDY, max_tokens=1) for n in (90, 70)]  # up to Llama's chunk
    while engine.deliveries(numbers):
        pass
    assert len(counting.needed) >= 8
    assert set(counting.applied.values()) == set(counting.needed.values()) == {1}


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_shown_layer_by_layer(family: str, models: dict[str, Model]) -> None:
    model = models[family]

    def states(engine: Engine) -> dict[int, np.ndarray[Any, Any]]:
        seen: dict[int, list[Any]] = {}

        def observe(layer: int, position: int, hidden: Any) -> None:
            seen.setdefault(layer, []).append((position, hidden.copy()))

        engine.score(tokens(150), lambda first, logits: None, rows=[149], observe=observe)
        return {layer: np.concatenate([rows for _, rows in parts]) for layer, parts in seen.items()}

    ours = states(Engine(with_passes(model.engine.runner, 64), context=512))
    expected_states = states(Engine(model.engine.runner, context=512))
    assert ours.keys() == expected_states.keys() == set(range(model.engine.runner.layers + 1))
    for layer, hidden in ours.items():
        assert np.array_equal(hidden, expected_states[layer])
