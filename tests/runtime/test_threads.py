"""Several threads on one model: every answer is the one computed alone. Streams end wherever they are dropped."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import random_checkpoints
from random_checkpoints import tokens
from scripted_text import scripted

import shoestring
from shoestring.engine.request import Scoring
from shoestring.errors import RequestError
from shoestring.runtime.model import Model

SAYING = "one two three four five " * 12


@pytest.fixture(scope="module", params=["qwen3_5", "llama4"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return random_checkpoints.write(request.param, "Q4_K", folder / "model.gguf")


def work(model: Model, seed: int) -> list[Any]:
    """What one thread computes: answers, numbers, and a stream that it drops."""
    options = {"seed": seed, "ignore_eos": True, "logprobs": 2}
    dropped = model.generate(tokens(70, seed=seed), max_tokens=50, **options)
    next(dropped)
    del dropped
    batch = [tokens(30 + seed, seed=seed), tokens(90, seed=0)]
    return [
        sorted(repr((p.index, p.tokens)) for p in model.generate(batch, max_tokens=10, **options)),
        model.logits(tokens(60, seed=seed), rows=[3, -1]).tobytes(),
        model.hidden_states(tokens(20, seed=seed), layers=[1, -1]).tobytes(),
        model.perplexity(SAYING, context=32),
    ]


def test_threads_compute_what_each_computes_alone(path: Path) -> None:
    with shoestring.load(path, threads=2, context=512, parallel=3) as model:
        alone = [work(model, seed) for seed in range(6)]
    with shoestring.load(path, threads=2, context=512, parallel=3) as model, ThreadPoolExecutor(6) as threads:
        for _ in range(2):
            together = list(threads.map(lambda seed: work(model, seed), range(6)))
            assert together == alone
        assert model.engine.idle
        model.engine.check()


def test_a_short_answer_does_not_wait_for_the_end_of_a_long_one() -> None:
    model = scripted({"long": b"x" * 400, "short": b"y"})
    begun, finished = threading.Event(), threading.Event()

    def read() -> None:
        for number, _ in enumerate(model.generate("long", max_tokens=380)):
            if number == 3:
                begun.set()
        finished.set()

    thread = threading.Thread(target=read)
    thread.start()
    begun.wait()
    assert "".join(piece.text for piece in model.generate("short")) == "y"
    assert not finished.is_set(), "the long answer was read to its end first"
    thread.join()


def test_one_stream_may_be_read_by_several_threads() -> None:
    model = scripted({"?": bytes(range(97, 123)) * 10})
    stream = model.generate("?")
    with ThreadPoolExecutor(4) as threads:
        texts = threads.map(lambda _: [piece.text for piece in stream], range(4))
    assert sorted("".join(map("".join, texts))) == sorted("abcdefghijklmnopqrstuvwxyz" * 10)


@pytest.mark.parametrize("close", [lambda model, stream: model.close(), lambda model, stream: stream.close()])
def test_closing_ends_a_stream_that_another_thread_reads(close: Callable[[Any, Any], None]) -> None:
    model = scripted({"hi": b"x" * 500})
    stream = model.generate("hi")
    begun, ends = threading.Event(), list[BaseException | None]()

    def read() -> None:
        try:
            for _ in stream:
                begun.set()
            ends.append(None)
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    begun.wait()
    close(model, stream)
    thread.join()
    (end,) = ends
    assert end is None or (isinstance(end, RequestError) and "closed" in str(end))


class Cycle:
    """Only the garbage collector frees it."""

    def __init__(self, content: object) -> None:
        self.content, self.itself = content, self


def test_a_stream_that_was_never_read_ends_with_its_last_reference() -> None:
    for drop in (lambda stream: None, Cycle, lambda stream: iter(stream), lambda stream: stream.close()):
        model = scripted({"hi": b"a long answer"}, sequences=1)
        drop(model.generate(["hi", "hi"], n=2))
        gc.collect()
        assert model.engine.idle
        assert "".join(piece.text for piece in model.generate("hi")) == "a long answer"


def test_a_stream_dropped_inside_a_step_ends_after_it() -> None:
    """The garbage collector may run there, and a finalizer may not change what the step works on."""
    model = scripted({"hi": b"a long answer"})
    streams = [model.generate("hi")]
    idle = list[bool]()

    def receive(first: int, logits: object) -> None:
        streams.clear()
        idle.append(not model.engine.scheduler.running)

    number = model.engine.submit_scoring(list(b"abc"), Scoring((2,), receive))
    assert model.engine.deliveries([number])
    assert idle == [False], "the step lost a request while it ran"
    model.engine.cancel(number)
    assert model.engine.idle
    model.engine.check()
