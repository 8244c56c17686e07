"""Pictures in the engine, with a scripted tower: its turns between steps, the cache of rows, cancellation, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from shoestring.engine.engine import Engine
from shoestring.engine.pictures.encoder import ScriptedEncoder
from shoestring.engine.pictures.placed import PlacedPart, PromptPictures
from shoestring.engine.request import Delivery
from shoestring.engine.scripted_runner import ScriptedRunner
from shoestring.errors import RequestError
from shoestring.media.prepared import Part
from shoestring.ops.sampling import Sampling

GREEDY = Sampling(temperature=0)


def numbers(number: int) -> Any:
    """The pixels of picture `number`."""
    return np.full(8, number, np.float32)


class Prompt:
    """Text, pictures and text: a picture is (its number, its rows)."""

    def __init__(self, *pieces: int | tuple[int, int], load: Callable[[int], Any] | None = None) -> None:
        self.tokens: list[int] = []
        parts = []
        for piece in pieces:
            if isinstance(piece, int):
                self.tokens.append(piece)
                continue
            number, count = piece
            part = Part(number.to_bytes(32, "little"), 1, count, (2, 2 * count))
            parts.append(PlacedPart(len(self.tokens), part, partial(load or numbers, number)))
            self.tokens += part.row_ids()
        positions = np.repeat(np.arange(len(self.tokens))[:, None], 3, axis=1)
        self.pictures = PromptPictures(tuple(parts), positions)


def engine(*, layers: int = 4, **options: Any) -> tuple[Engine, ScriptedEncoder]:
    encoder = ScriptedEncoder(layers)
    runner = ScriptedRunner(lambda seen: hash(seen) % 500, chunk_size=128, **options.pop("runner", {}))
    made = Engine(runner, context=2048, kv_type="f32", sequences=4, encoder=encoder, **options)
    return made, encoder


def submit(made: Engine, prompt: Prompt, **options: Any) -> int:
    return made.generate(prompt.tokens, GREEDY, pictures=prompt.pictures, **{"max_tokens": 3, **options})


def answer(made: Engine, prompt: Prompt, **options: Any) -> list[int]:
    number = submit(made, prompt, **options)
    tokens = [delivery.sampled.id for delivery in finished(made, number)]
    made.cancel(number)
    return tokens


def finished(made: Engine, number: int) -> list[Delivery]:
    found: list[Delivery] = []
    while not (found and found[-1].last):
        made.step()
        found += [delivery for delivery in made.collect() if delivery.number == number]
    return found


def test_answers_go_on_while_a_picture_is_encoded() -> None:
    made, encoder = engine(layers=20)
    talking = made.generate([1, 2, 3], GREEDY, max_tokens=100)
    for _ in range(3):
        made.step()
    made.collect()
    looking = submit(made, Prompt(1, (7, 40), 2))
    turns = []
    while made.status(looking).encoded_rows < 40:
        made.step()
        turns.append((encoder.turns, len(made.collect())))
    assert [turn for turn, _ in turns] == [0, *range(1, 21)], "one layer a step"
    assert all(tokens == 1 for _, tokens in turns[:-1]), "each step has a token of the other answer"
    made.cancel(talking)
    assert finished(made, looking)[-1].finish_reason == "length"


def test_a_cancelled_picture_is_dropped() -> None:
    made, encoder = engine(layers=10)
    number = submit(made, Prompt(1, (7, 40), 2))
    for _ in range(4):
        made.step()
    made.cancel(number)
    turns = encoder.turns
    for _ in range(5):
        made.step()
    assert encoder.turns == turns
    made.check()
    assert answer(made, Prompt(1, (7, 40), 2)) == answer(engine()[0], Prompt(1, (7, 40), 2))


def test_two_requests_for_one_picture_encode_it_once() -> None:
    made, encoder = engine()
    numbers = [submit(made, Prompt(first, (7, 40), 2)) for first in (1, 2)]
    made.step()
    made.step()
    made.cancel(numbers[0])  # the other still needs the part in progress
    assert len(finished(made, numbers[1])) == 3
    assert encoder.parts == 1


def test_progress_counts_rows() -> None:
    made, _ = engine(layers=4)
    number = submit(made, Prompt((1, 40), 5, (2, 80), 6))
    seen = []
    while not made.collect():
        made.step()
        seen.append(made.status(number).pictures)
    assert {rows for _, rows in seen} == {120}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {10, 20, 30, 40, 60, 80, 100, 120} <= {done for done, _ in seen}


@pytest.mark.parametrize("pass_rows", [None, 100])
def test_a_second_question_encodes_nothing(pass_rows: int | None) -> None:
    runner = {} if pass_rows is None else {"layers": 4, "pass_rows": pass_rows}
    made, encoder = engine(runner=runner)
    first, second = Prompt(1, (7, 300), 2, 3), Prompt(9, 9, (7, 300), 4)
    alone = answer(engine(runner=runner)[0], second)
    answer(made, first)
    assert answer(made, second) == alone
    assert encoder.parts == 1


def test_rows_belong_to_an_owner() -> None:
    made, encoder = engine()
    answer(made, Prompt(1, (7, 40), 2), cache_owner="a")
    answer(made, Prompt(3, (7, 40), 2), cache_owner="b")
    assert encoder.parts == 2, "one key must not learn what another shows"
    answer(made, Prompt(5, (7, 40), 2), cache_owner="a")
    assert encoder.parts == 2


def test_rows_are_evicted_beyond_their_bytes() -> None:
    made, encoder = engine(picture_bytes=8 * 100)  # a scripted row has two numbers
    for number in (1, 2, 3):
        answer(made, Prompt(number, (number, 40), 2))
    assert made._pictures.store.nbytes <= 800
    answer(made, Prompt(9, (3, 40), 2))
    assert encoder.parts == 3
    answer(made, Prompt(9, (1, 40), 2))
    assert encoder.parts == 4, "the least recently used goes first"


def test_a_prompt_of_more_rows_than_are_kept() -> None:
    few, many = engine(picture_bytes=0)[0], engine()[0]
    prompt = Prompt(1, (1, 300), 2, (2, 300), 3, (3, 300), 4)
    assert answer(few, prompt, chunk=64) == answer(many, prompt)
    assert few._pictures.store.nbytes == 0


@pytest.mark.parametrize("chunk", [None, 64, 7])
def test_equal_sizes_never_share_an_entry(chunk: int | None) -> None:
    """Known mistake 9: a cache that keys on placeholders gives the second picture the first one's answer."""
    made, _ = engine()
    first, second = Prompt(1, (7, 200), 2), Prompt(1, (8, 200), 2)
    answers = answer(made, first, chunk=chunk), answer(made, second, chunk=chunk)
    assert answers[0] != answers[1]
    assert answers[1] == answer(engine()[0], second)
    assert made.counts().cached_tokens <= 1


def test_a_picture_that_fails_ends_its_own_request() -> None:
    def load(number: int) -> Any:
        if number == 7:
            raise RequestError("the picture is damaged")
        return np.zeros(8, np.float32)

    made, _ = engine()
    bad, good = (submit(made, Prompt(1, (number, 40), 2, load=load)) for number in (7, 8))
    assert str(finished(made, bad)[-1].error) == "the picture is damaged"
    assert len(finished(made, good)) == 3
    made.check()


def interrupt() -> Iterator[Any]:
    raise KeyboardInterrupt
    yield


def test_an_interrupted_turn_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made, encoder = engine()
    number = submit(made, Prompt(1, (7, 40), 2))
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda *_: interrupt())
    made.step()
    with pytest.raises(KeyboardInterrupt):
        made.step()
    monkeypatch.setattr(encoder, "encode", encode)
    assert len(finished(made, number)) == 3


def test_negative_ids_without_pictures_are_refused() -> None:
    made, _ = engine()
    prompt = Prompt(1, (7, 40), 2)
    with pytest.raises(RequestError, match="must lie between 0 and"):
        made.generate(prompt.tokens, GREEDY)
    with pytest.raises(RequestError, match="must lie between 0 and"):
        made.generate([1, *prompt.tokens], GREEDY, pictures=prompt.pictures)
    blind = Engine(made.runner, context=512)
    with pytest.raises(RequestError, match="reads text alone"):
        blind.generate(prompt.tokens, GREEDY, pictures=prompt.pictures)


def test_clients_take_turns_at_the_tower() -> None:
    """A long video of one client does not keep another's picture waiting."""
    made, encoder = engine(layers=2)
    video = submit(made, Prompt(*((number, 50) for number in range(1, 31)), 2), client="a")
    for _ in range(30):
        made.step()
    before = encoder.parts
    picture = submit(made, Prompt((99, 50), 3), client="b")
    while made.status(picture).encoded_rows < 50:
        made.step()
    assert encoder.parts - before <= 3
    made.cancel(video)
