"""How many rows are recomputed: after a turn, an edit or a branch, for several answers, and beside other requests."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from test_engine import GREEDY, VOCABULARY, expected, make, prompt, rows
from test_guide import run

from shoestring.admission import SNAPSHOTS
from shoestring.engine.engine import Engine
from shoestring.engine.request import Delivery

STRIDE = 128


def tokens_of(deliveries: list[Delivery]) -> list[int]:
    return [delivery.sampled.id for delivery in deliveries]


def ask(engine: Engine, tokens: list[int], count: int = 10, boundaries: tuple[int, ...] = ()) -> tuple[list[int], int]:
    """The answer, and the number of prompt rows that it computed."""
    before = rows(engine)
    number = engine.generate(tokens, GREEDY, max_tokens=count, boundaries=boundaries)
    answer = tokens_of(run(engine, [number])[number])
    assert answer == expected(tokens, count)
    status = engine.status(number)
    assert status.cached_tokens + status.computed_tokens == len(tokens)
    assert rows(engine) - before == status.computed_tokens + count - 1
    engine.cancel(number)
    return answer, status.computed_tokens


def large(**options: object) -> Engine:
    return make(**{"context": 6000, "stride": STRIDE, "cache_bytes": 200_000, **options})


@pytest.mark.parametrize("chunk_size", [0, 100, 1024])
@pytest.mark.parametrize("recurrent", [True, False])
def test_a_conversation_computes_what_is_new(recurrent: bool, chunk_size: int) -> None:
    engine = large(recurrent=recurrent, chunk_size=chunk_size)
    system = prompt(0, 700)
    history = system + prompt(1, 300)
    answer, computed = ask(engine, history, boundaries=(700,))
    assert computed == 1000
    for turn in range(2, 6):
        message = prompt(turn, 90)
        longer = history + answer + message
        new, computed = ask(engine, longer, boundaries=(700, len(history) + len(answer)))
        assert computed == 1 + 90, "an answer's last token and the new message"
        if turn == 5:
            break
        history, answer = longer, new
    # The last user message is edited.
    edited = history + answer + prompt(9, 80)
    _, computed = ask(engine, edited, boundaries=(700, len(history) + len(answer)))
    assert computed <= 1 + 80
    # Another conversation with the same system prompt.
    _, computed = ask(engine, system + prompt(10, 50))
    assert computed <= 50
    # A branch at an arbitrary position.
    for cut in (300, 650, 999):
        _, computed = ask(engine, [*history[:cut], VOCABULARY - 1, *prompt(cut, 20)])
        assert computed <= STRIDE + 21
    # The same prompt again: one row, for its logits.
    assert ask(engine, edited)[1] == 1


def test_another_question_after_a_long_video_computes_the_question() -> None:
    """With the snapshots of one conversation and no other cache, as `chat` and shoestring.load have them."""
    engine = make(context=6000, sequences=1, snapshots=SNAPSHOTS)
    video = prompt(0, 4700)
    for seed in range(1, 4):
        question, opened = prompt(seed, 20), prompt(99, 4)
        _, computed = ask(engine, video + question + opened, boundaries=(3, len(video), len(video) + 20))
        assert computed == (len(video) if seed == 1 else 0) + 20 + 4


def test_after_dropped_thinking_only_the_answer_is_recomputed() -> None:
    engine = large()
    history = prompt(0, 500)
    answer, _ = ask(engine, history, count=100, boundaries=(450,))
    shortened = history[:450] + answer[80:] + prompt(1, 30)  # without the answer's head and thinking
    assert ask(engine, shortened)[1] == len(shortened) - 450


def test_several_answers_share_the_prompt() -> None:
    engine = large()
    start = prompt(1, 600)
    numbers = [engine.generate(start, GREEDY, max_tokens=70, index=i) for i in range(4)]
    by_request = run(engine, numbers)
    assert all(tokens_of(by_request[n]) == expected(start, 70) for n in numbers)
    assert rows(engine) == 600 + 3 + 4 * 69
    assert [engine.status(n).cached_tokens for n in numbers] == [0, 599, 599, 599]


def test_pages_are_shared_while_all_run() -> None:
    engine = large(recurrent=False, chunk_size=0)
    start = prompt(1, 640)
    ask(engine, start, count=1)
    numbers = [engine.generate([*start, i], GREEDY, max_tokens=5) for i in range(4)]
    engine.step()
    assert engine.counts().running == 4
    assert engine.counts().used.global_pages == 10 + 4
    run(engine, numbers)


def test_a_prompt_in_progress_is_shared_with_later_requests() -> None:
    engine = large()
    system = prompt(0, 1000)
    first = engine.generate(system + prompt(1, 30), GREEDY, max_tokens=3, boundaries=(1000,), chunk=50)
    for _ in range(5):
        engine.step()
    second = engine.generate(system + prompt(2, 30), GREEDY, max_tokens=3, boundaries=(1000,), client="other")
    third = engine.generate(prompt(3, 30), GREEDY, max_tokens=3, client="third")
    engine.step()
    assert engine.status(second).state == "waiting", "it waits for the first one's prompt"
    assert engine.status(third).state == "running"
    by_request = run(engine, [first, second, third])
    assert engine.status(second).cached_tokens == 1000
    for number, tokens in ((first, system + prompt(1, 30)), (second, system + prompt(2, 30)), (third, prompt(3, 30))):
        assert tokens_of(by_request[number]) == expected(tokens, 3)


@pytest.mark.parametrize("steps", [1, 5])
def test_cancel_frees_memory_at_once_and_caches_what_was_computed(steps: int) -> None:
    engine = large(sequences=1)
    start = prompt(1, 1000)
    number = engine.generate(start, GREEDY, chunk=100)
    for _ in range(steps):
        engine.step()
    assert engine.counts().used.global_pages > 0
    engine.cancel(number)
    counts = engine.counts()
    assert counts.used.global_pages == counts.used.chunk_pages == counts.used.slots == counts.running == 0
    engine.check()
    assert ask(engine, start)[1] == 1000 - 100 * steps


def test_a_request_that_waits_for_a_cancelled_prompt_computes_it_itself() -> None:
    engine = large()
    start = prompt(1, 1000)
    first, second = (engine.generate(start, GREEDY, max_tokens=3, chunk=100) for _ in range(2))
    engine.step()
    engine.cancel(first)
    assert tokens_of(run(engine, [second])[second]) == expected(start, 3)
    assert engine.status(second).cached_tokens == 100


def test_cached_pages_are_evicted_and_no_request_fails() -> None:
    engine = make(context=640, sequences=2, chunk_size=0, snapshots=2)
    for seed in range(10):
        ask(engine, prompt(seed, 600))
    numbers = [engine.generate(prompt(seed, 500), GREEDY, max_tokens=140) for seed in (20, 21, 22)]
    by_request = run(engine, numbers)
    for number, seed in zip(numbers, (20, 21, 22), strict=True):
        assert tokens_of(by_request[number]) == expected(prompt(seed, 500), 140)


def test_a_budget_of_no_bytes_caches_nothing() -> None:
    engine = make(cache_bytes=0)
    for _ in range(2):
        assert ask(engine, prompt(1, 200))[1] == 200
        assert engine.counts().cached_bytes == 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_requests_join_and_are_cancelled_and_every_answer_is_as_if_alone(data: st.DataObject) -> None:
    """Requests join at any step, share prefixes and are cancelled; each answer is the one computed alone."""
    engine = make(
        context=500,
        chunk_size=data.draw(st.sampled_from([0, 100, 128])),
        recurrent=data.draw(st.booleans()),
        sequences=data.draw(st.integers(1, 4)),
        snapshots=data.draw(st.integers(0, 4)),
        stride=data.draw(st.sampled_from([50, 64, 1000])),
        cache_bytes=data.draw(st.sampled_from([None, None, 3000])),
    )
    stems = [prompt(i, 200) for i in range(2)]
    submitted: dict[int, tuple[list[int], int]] = {}
    by_request: dict[int, list[int]] = {}
    for _ in range(data.draw(st.integers(5, 40))):
        if data.draw(st.booleans()):
            stem = data.draw(st.sampled_from(stems))
            tail = prompt(data.draw(st.integers(0, 5)), data.draw(st.integers(1, 60)))
            tokens = stem[: data.draw(st.integers(0, 200))] + tail
            count = data.draw(st.integers(1, 30))
            boundaries = data.draw(st.lists(st.integers(1, 200), max_size=2))
            number = engine.generate(
                tokens, GREEDY, max_tokens=count, boundaries=boundaries, client=data.draw(st.sampled_from("ab"))
            )
            submitted[number], by_request[number] = (tokens, count), []
        elif submitted and data.draw(st.integers(0, 3)) == 0:
            number = data.draw(st.sampled_from(sorted(submitted)))
            engine.cancel(number)
            assert engine.status(number).state == "over"
            del submitted[number], by_request[number]
        engine.step()
        engine.check()
        for delivery in engine.collect():
            by_request[delivery.number].append(delivery.sampled.id)
    for number, deliveries in run(engine, [*by_request]).items():
        by_request[number] += tokens_of(deliveries)
    for number, (tokens, count) in submitted.items():
        assert by_request[number] == expected(tokens, count)
        engine.cancel(number)
    assert engine.collect() == []


def test_many_prompts_of_one_client_do_not_stop_another() -> None:
    engine = large(sequences=2)
    greedy = [engine.generate(prompt(i, 400), GREEDY, max_tokens=5, client="greedy") for i in range(6)]
    modest = engine.generate(prompt(50, 20), GREEDY, max_tokens=5, client="modest")
    while engine.status(modest).state != "over":
        engine.step()
    assert sum(engine.status(n).state == "over" for n in greedy) <= 2
    for number in (*greedy, modest):
        engine.cancel(number)
    assert engine.idle
    engine.check()
