"""2,000 tokens with experts on disk are those of the resident model, in all budgets, cold and warm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import random_models
from streaming_models import SHARES, Mixture, mixture, old, streamed

from shoestring import ops
from shoestring.checkpoint.config.types import Config
from shoestring.engine.engine import Engine
from shoestring.engine.runner import FamilyRunner
from shoestring.models.experts import Experts
from shoestring.models.families import KernelWeights
from shoestring.models.weights import load_weights
from shoestring.ops.sampling import Sampling
from shoestring.samples.synthetic import write_synthetic

LENGTH = 2000
#: Four layers, so that there is one with attention over everything; 24 experts, 4 a token, and 12, 1 a token.
CONFIGS: dict[str, Config] = {
    "qwen3_5": replace(random_models.qwen3_5(layers=4, experts=24), num_experts_per_tok=4),
    "llama4": random_models.llama4(layers=4, experts=12),
}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    ops.set_num_threads(2)


def engine(model: Mixture, weights: KernelWeights, experts: Experts) -> Engine:
    runner = FamilyRunner(weights, experts, model.opened.config.vocab_size, "m")
    return Engine(runner, context=2 * LENGTH, sequences=2)


def answer(running: Engine, prompt: list[int], length: int) -> list[tuple[int, object, object]]:
    """Tokens with log-probabilities, which change with any bit of the logits."""
    number = running.generate(prompt, Sampling(temperature=1.0, seed=11, logprobs=3), max_tokens=length)
    found = []
    while not running.idle:
        running.step()
        for delivery in running.collect():
            assert delivery.error is None
            assert delivery.number == number
            found.append((delivery.sampled.id, delivery.sampled.logprob, delivery.sampled.top))
    return found


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", CONFIGS)
def test_a_long_answer(family: str, tmp_path: Path) -> None:
    """Three budgets, cold with one number of threads and warm with another, then resumed from the prefix cache."""
    file = tmp_path / "model.gguf"
    write_synthetic(CONFIGS[family], file, "Q4_K_M", seed=3)
    old(file)
    model = mixture(file)
    weights = load_weights(model.opened.config, model.opened.binding)[0]
    prompt = [7 * n % random_models.VOCABULARY for n in range(30)]
    resident = engine(model, weights, model.resident)
    expected = answer(resident, prompt, LENGTH)
    assert len(expected) == LENGTH
    resumed = [*prompt, *(token for token, _, _ in expected[: LENGTH - 200])]
    continued = answer(engine(model, weights, model.resident), resumed, 100)
    for share, (first, second) in zip(SHARES, ((1, 3), (3, 1), (1, 3)), strict=True):
        plan = model.plan(share)
        assert plan.slots <= plan.experts // 2
        with streamed(model, share) as experts:
            running = engine(model, weights, experts)
            ops.set_num_threads(first)
            assert answer(running, prompt, LENGTH) == expected, f"cold, {plan.slots} slots"
            done = experts.totals()
            assert done.asked - done.hits > LENGTH // 2
            ops.set_num_threads(second)
            before = running.counts().cached_tokens
            assert answer(running, resumed, 100) == continued, "from the prefix cache"
            assert running.counts().cached_tokens - before > LENGTH // 2
            assert answer(engine(model, weights, experts), prompt, LENGTH) == expected, "warm"
