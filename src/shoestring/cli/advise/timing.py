"""How long a model takes for a prompt of random tokens, and for an answer."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from shoestring.streaming.counters import Totals

if TYPE_CHECKING:
    from shoestring.runtime.model import Model


def prefill_seconds(model: Model, count: int, repetition: int) -> float:
    """Time to compute the logits after a prompt of random tokens."""
    tokens = random_tokens(model, count, repetition)
    began = time.perf_counter()
    model.logits(tokens, rows=[count - 1])
    return time.perf_counter() - began


def decode_seconds(model: Model, count: int, repetition: int) -> tuple[float, Totals]:
    """Time to generate `count` tokens after the first one, sampling included; what streaming did in it."""
    pieces = model.generate(
        random_tokens(model, 1, repetition), max_tokens=count + 1, temperature=0, ignore_eos=True, seed=repetition
    )
    next(pieces)
    before = Totals() if model.streaming is None else model.streaming.totals
    began = time.perf_counter()
    for _ in pieces:
        pass
    seconds = time.perf_counter() - began
    return seconds, Totals() if model.streaming is None else model.streaming.totals - before


def random_tokens(model: Model, count: int, repetition: int) -> list[int]:
    """Random tokens; repetitions differ in the first one, so that nothing comes from the cache."""
    draw = random.Random(repetition)
    most = min(model.tokenizer.vocab_size, model.vocab_size)
    return [repetition % most, *(draw.randrange(most) for _ in range(count - 1))]
