"""Threads, clients, keys, cancellations and a cache under pressure on one engine: every answer is the one alone."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import random_checkpoints
from random_checkpoints import tokens

import shoestring
from shoestring.engine.engine import Engine
from shoestring.engine.runner import Runner
from shoestring.models.layout import Demand
from shoestring.ops.sampling import Sampling

CONTEXT = 400
ANSWER = 10
THREADS, REQUESTS = 5, 14


def prompt(number: int) -> list[int]:
    """Prompts that begin alike, and end inside pages and attention chunks."""
    lengths = (1, 63, 64, 65, 97, 130, 192, 200, 256, 300)
    return [*tokens(lengths[-number % 10], seed=number % 3), *tokens(1 + number % 7, seed=100 + number)]


def answer(engine: Engine, number: int, stop_after: int = ANSWER, **options: Any) -> list[object]:
    """The tokens of an answer with their log-probabilities, or of its beginning: then it is cancelled."""
    sampling = Sampling(seed=number, logprobs=2)
    request = engine.generate(prompt(number), sampling, max_tokens=ANSWER, boundaries=(64, 130), **options)
    delivered: list[object] = []
    try:
        while len(delivered) < stop_after and (news := engine.deliveries([request])):
            for delivery in news:
                assert delivery.error is None
                delivered.append(delivery.sampled)
    finally:
        engine.cancel(request)
    return delivered


def cold(runner: Runner, **options: Any) -> Engine:
    return Engine(runner, context=CONTEXT, **options)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("family", ["qwen3_5", "llama4"])
def test_every_answer_is_the_one_alone(family: str, shared: bool, tmp_path: Path) -> None:
    path = random_checkpoints.write(family, "Q4_K", tmp_path / "model.gguf")
    with shoestring.load(path, threads=2, context=CONTEXT, parallel=1) as model:
        runner = model.engine.runner
        alone = [answer(cold(runner), number) for number in range(30)]
        scores = model.logits(prompt(5))
        layout = runner.layout
        capacity = layout.capacity(CONTEXT, 2) + layout.demand(CONTEXT // 4) + Demand(0, 12, 4)
        engine = cold(
            runner, sequences=4, capacity=capacity, cache_bytes=layout.nbytes(capacity, "f16") // 3, stride=64
        )
        engine.share_cache(shared)

        def work(thread: int) -> None:
            draw = random.Random(thread)
            key = ("", "ann", "bob")[thread % 3]
            for _ in range(REQUESTS):
                number = draw.randrange(len(alone))
                stop = draw.choice([ANSWER, ANSWER, ANSWER, 0, 1, 4])
                options = {
                    "client": key or f"address {thread}",
                    "cache_owner": key,
                    "chunk": draw.choice([None, 7, 64]),
                }
                begun = answer(engine, number, stop, **options)
                assert len(begun) >= stop
                assert begun == alone[number][: len(begun)]
                if draw.random() < 0.1:
                    engine.score(prompt(5), lambda first, logits: check(first, logits), rows=[2, len(prompt(5)) - 1])

        def check(first: int, logits: Any) -> None:
            assert (logits == scores[first : first + len(logits)]).all()

        with ThreadPoolExecutor(THREADS) as threads:
            for done in [threads.submit(work, thread) for thread in range(THREADS)]:
                done.result(timeout=120)
        assert engine.idle
        engine.check()
        assert engine.counts().cached_tokens > 0, "nothing was reused: the cache was not tested"
