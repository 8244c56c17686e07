"""Whole models with experts on disk give the bits of those in memory: logits of prompts, and long answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from streaming_models import Mixture, Shuffled, mixture, streamed

from shoestring import ops
from shoestring.engine.engine import Engine
from shoestring.engine.runner import FamilyRunner
from shoestring.kv_types import KVType
from shoestring.models.experts import Experts
from shoestring.models.families import KernelWeights
from shoestring.models.weights import load_weights
from shoestring.ops.sampling import Sampling
from shoestring.samples.embedded import EMBEDDED

DEMOS = tuple(EMBEDDED)
#: The least that works, and budgets with at least half of the experts missing.
SHARES = (0.0, 0.25, 0.5)
CONTEXT = 2500


@dataclass(frozen=True)
class Demo:
    model: Mixture
    weights: KernelWeights


@pytest.fixture(scope="module")
def demos() -> dict[str, Demo]:
    loaded = {}
    for name, ensure in EMBEDDED.items():
        model = mixture(ensure(None))
        loaded[name] = Demo(model, load_weights(model.opened.config, model.opened.binding)[0])
    return loaded


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    ops.set_num_threads(2)


def engine(demo: Demo, experts: Experts, *, pass_rows: int | None = None, kv_type: KVType = "f16") -> Engine:
    runner = FamilyRunner(demo.weights, experts, demo.model.opened.config.vocab_size, "m", pass_rows)
    return Engine(runner, context=CONTEXT, sequences=4, kv_type=kv_type)


def tokens(demo: Demo, count: int, seed: int) -> list[int]:
    return [int(n) for n in np.random.default_rng(seed).integers(0, demo.model.opened.config.vocab_size, count)]


def answers(running: Engine, prompts: list[list[int]], length: int) -> list[list[tuple[int, object, object]]]:
    """Tokens with log-probabilities, which change with any bit of the logits."""
    sampling = Sampling(temperature=1.0, seed=11, logprobs=3)
    numbers = [running.generate(prompt, sampling, max_tokens=length) for prompt in prompts]
    by_request: dict[int, list[tuple[int, object, object]]] = {number: [] for number in numbers}
    while not running.idle:
        running.step()
        for delivery in running.collect():
            assert delivery.error is None
            by_request[delivery.number].append((delivery.sampled.id, delivery.sampled.logprob, delivery.sampled.top))
    return [by_request[number] for number in numbers]


@pytest.mark.parametrize("name", DEMOS)
def test_answers_are_those_of_resident_experts(name: str, demos: dict[str, Demo]) -> None:
    """Prompts long and short, together and alone, cold and warm, resumed from the prefix cache; 1 and 3 threads."""
    demo = demos[name]
    prompts = [tokens(demo, count, count) for count in (1, 40, 150)]
    prompts.append([*prompts[2][:120], *tokens(demo, 20, 9)])
    resident = engine(demo, demo.model.resident)
    expected = answers(resident, prompts, 12)
    for share, threads in zip(SHARES, (1, 3, 1), strict=True):
        ops.set_num_threads(threads)
        with streamed(demo.model, share, wrap=lambda reader: Shuffled(reader, 5)) as experts:
            cold = engine(demo, experts)
            assert answers(cold, prompts, 12) == expected
            totals = experts.totals()
            assert totals.reads > 0
            assert answers(cold, prompts, 12) == expected, "warm, from the prefix cache"
            assert answers(engine(demo, experts), prompts[::-1], 12) == expected[::-1]


@pytest.mark.parametrize("name", DEMOS)
def test_keys_and_values_in_eight_bits(name: str, demos: dict[str, Demo]) -> None:
    """In memory, streamed in passes, and resumed from the prefix cache: the same answers, and not those of f16."""
    demo = demos[name]
    prompts = [tokens(demo, 100, 7)]
    prompts.append([*prompts[0][:80], *tokens(demo, 20, 9)])
    expected = answers(engine(demo, demo.model.resident, kv_type="q8_0"), prompts, 6)
    assert expected != answers(engine(demo, demo.model.resident), prompts, 6)
    with streamed(demo.model, 0.25) as experts:
        running = engine(demo, experts, pass_rows=2048, kv_type="q8_0")
        assert answers(running, prompts, 6) == expected
        assert experts.totals().reads > 0
        before = running.counts().cached_tokens
        assert answers(running, prompts, 6) == expected, "warm"
        assert running.counts().cached_tokens - before == 2 * 99, "only the last token of each is computed again"


@pytest.mark.parametrize("name", DEMOS)
def test_passes_over_long_prompts(name: str, demos: dict[str, Demo]) -> None:
    """A pass goes through a layer with all rows and reads each expert at most once; answers go on beside it."""
    demo = demos[name]
    long, short = tokens(demo, 700, 1), tokens(demo, 5, 2)
    expected = answers(engine(demo, demo.model.resident), [long, short], 12)
    experts_in_all = sum(len(layer.experts) for layer in demo.model.layers)
    for share in SHARES[1:]:
        with streamed(demo.model, share) as experts:
            running = engine(demo, experts, pass_rows=2048)
            assert answers(running, [long], 1) == [expected[0][:1]]
            assert experts.totals().reads <= experts_in_all
            assert answers(running, [long, short], 12) == expected
            assert answers(engine(demo, experts, pass_rows=2048), [short, long], 12) == expected[::-1]
