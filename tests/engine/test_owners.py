"""Entries of the prefix cache belong to a key: no one finds out what others have asked."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from test_engine import GREEDY, VOCABULARY, expected, make, prompt

from shoestring.engine.engine import Engine
from shoestring.engine.scheduler import Scheduler

SECRET = [3, 1, 4, 1]
LETTER = prompt(1, 300)


@pytest.fixture(scope="module", autouse=True)
def _even_steps() -> Iterator[None]:
    """Steps take a time that depends on their rows alone, so that equal histories have equal steps."""
    measured = Scheduler.measured

    def evenly(scheduler: Scheduler, answers: int, rows: int, seconds: float) -> None:
        measured(scheduler, answers, rows, 0.001 * answers + 0.0001 * rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scheduler, "measured", evenly)
        yield


def ask(engine: Engine, tokens: list[int], owner: str, client: str = "", boundaries: tuple[int, ...] = ()) -> list[int]:
    """Cached tokens, and the steps until the answer, which must be right."""
    number = engine.generate(
        tokens, GREEDY, max_tokens=2, cache_owner=owner, client=client or owner, boundaries=boundaries
    )
    steps, answer = 0, list[int]()
    while engine.status(number).state != "over":
        engine.step()
        steps += 1
        answer += [delivery.sampled.id for delivery in engine.collect() if delivery.number == number]
    seen = [engine.status(number).cached_tokens, steps]
    engine.cancel(number)
    assert answer == expected(tokens, 2)
    return seen


def found(engine: Engine, owner: str) -> list[int]:
    """The secret, as far as `cached_tokens` tells it: the next token is the one with more tokens from the cache."""
    known: list[int] = []
    for _ in SECRET:
        start = [*LETTER, *known]
        guesses = [[*start, token, 49, 49] for token in range(10)]
        ask(engine, [*start, 49, 49], owner, boundaries=(len(start),))  # what it asks itself is in the cache, too
        hits = [ask(engine, guess, owner, boundaries=(len(start),))[0] for guess in guesses]
        if max(hits) == min(hits):
            break
        known.append(hits.index(max(hits)))
    return known


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_a_secret_of_another_key_is_not_found_token_by_token(recurrent: bool, shared: bool) -> None:
    engine = make(recurrent=recurrent, sequences=2, cache_bytes=1 << 18, context=1000)
    engine.share_cache(shared)
    boundaries = tuple(range(len(LETTER), len(LETTER) + len(SECRET) + 1))
    ask(engine, [*LETTER, *SECRET, 5, 5], "ann", boundaries=boundaries)
    assert found(engine, "bob") == []
    own = make(recurrent=False, sequences=2, cache_bytes=1 << 18)
    ask(own, [*LETTER, *SECRET, 5, 5], "ann")
    assert found(own, "ann") == SECRET, "the search finds nothing: the test proves nothing"


def world(secret: list[int], asked: list[tuple[int, int]], recurrent: bool, stride: int, shared: bool) -> object:
    """What one key sees while another asks about its secret, before and at the same time."""
    engine = make(recurrent=recurrent, sequences=3, cache_bytes=1 << 18, stride=stride, context=1000)
    engine.share_cache(shared)
    ask(engine, [*LETTER, *secret, 5], "ann", boundaries=(280, 300, 302))
    seen = []
    for length, token in asked:
        beside = engine.generate([*LETTER, *secret, *prompt(2, 600)], GREEDY, cache_owner="ann", client="ann", chunk=64)
        engine.step()
        known = [*LETTER, *secret][:length]
        seen.append(ask(engine, [*known, token, 7, 8], "bob", boundaries=(length,)))
        engine.cancel(beside)
    return seen


@settings(max_examples=40, deadline=None)
@given(
    secrets=st.tuples(*[st.lists(st.integers(0, 9), min_size=4, max_size=4)] * 2),
    asked=st.lists(st.tuples(st.integers(1, 300), st.integers(0, VOCABULARY - 1)), min_size=1, max_size=8),
    recurrent=st.booleans(),
    shared=st.booleans(),
)
def test_what_one_key_sees_does_not_depend_on_what_another_asks(
    secrets: tuple[list[int], list[int]], asked: list[tuple[int, int]], recurrent: bool, shared: bool
) -> None:
    """Neither in cached tokens nor in the number of steps, which tells who waits for a prompt in progress."""
    first, second = (world(secret, asked, recurrent, 512, shared) for secret in secrets)
    assert first == second


@pytest.mark.parametrize("chunk_size", [0, 100, 128])
@pytest.mark.parametrize("recurrent", [True, False])
def test_shared_entries_are_resumed_in_whole_strides(recurrent: bool, chunk_size: int) -> None:
    engine = make(
        recurrent=recurrent, chunk_size=chunk_size, sequences=2, cache_bytes=1 << 18, stride=128, context=1000
    )
    ask(engine, prompt(1, 700), "ann", boundaries=(600,))
    assert ask(engine, prompt(1, 650), "bob")[0] == 0, "nothing is shared by default"
    engine.share_cache(True)
    for length in (600, 640, 641, 300, 130, 127):
        cached = ask(engine, [*prompt(1, length), 9, 9], f"key {length}")[0]
        assert cached == length // 128 * 128
        again = ask(engine, [*prompt(1, length), 9, 9], f"key {length}")[0]
        assert again == length + 1, "what a key has asked itself is resumed at every token"
    engine.check()
    assert engine.idle


def test_requests_of_one_key_share_and_wait_for_each_other() -> None:
    engine = make(sequences=3)
    first, second = (
        engine.generate(
            [*LETTER, n], GREEDY, max_tokens=2, cache_owner="ann", client="ann", chunk=50, boundaries=(300,)
        )
        for n in (1, 2)
    )
    other = engine.generate([*LETTER, 3], GREEDY, max_tokens=2, cache_owner="bob", client="bob", boundaries=(300,))
    engine.step()
    assert engine.status(second).state == "waiting"
    assert engine.status(other).state != "waiting", "from the wait, another key could tell what is computed"
    engine.cancel(other)
    engine.deliveries([first])
    engine.deliveries([second])
    assert engine.status(second).cached_tokens == 300
