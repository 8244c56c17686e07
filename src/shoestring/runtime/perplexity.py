"""Perplexity as llama.cpp's `llama-perplexity` defines it, so that figures are comparable.

The text is cut into windows of n tokens without overlap; an incomplete one at the end is dropped. The first half of a
window is context; positions n/2 … n − 2 predict their next token. If the model uses a beginning-of-text token, it
replaces each window's first token. Perplexity is exp of the mean negative log-likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shoestring import ops
from shoestring.engine.engine import Engine
from shoestring.engine.request import Receive, Scoring
from shoestring.errors import RequestError
from shoestring.ops import Float32
from shoestring.spelling import option

#: llama.cpp's default window.
WINDOW = 512


@dataclass(frozen=True)
class Perplexity:
    """standard_error: of the perplexity, from the variance of the tokens' log-likelihoods."""

    perplexity: float
    standard_error: float
    tokens_scored: int
    windows: int


@ops.standard_arithmetic()
def perplexity(
    engine: Engine,
    tokens: Sequence[int],
    *,
    window: int,
    bos: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> Perplexity:
    """Perplexity of `tokens`, with the beginning-of-text token if the model uses one.

    bos: its id, or None. progress: called with windows done and in all.

    Raises RequestError for a text of fewer than two windows or a window of fewer than 4 tokens.
    """
    if window < 4:
        raise RequestError(f"{option('context')} is {window}: perplexity needs windows of at least 4 tokens")
    if len(tokens) < 2 * window:
        raise RequestError(
            f"the text has {len(tokens)} tokens and perplexity needs two windows of {window}: "
            f"give a longer text or a smaller {option('context')}"
        )
    windows, first = len(tokens) // window, window // 2
    # Windows that go through a pass together share the reads of experts on disk.
    together = max(1, (engine.runner.pass_rows or 0) // window)
    total = squares = 0.0
    for begin in range(0, windows, together):
        numbers = range(begin, min(windows, begin + together))
        cut = [[*tokens[number * window : (number + 1) * window]] for number in numbers]
        if bos is not None:
            for ids in cut:
                ids[0] = bos
        for losses in _losses(engine, cut, range(first, window - 1)):
            total += math.fsum(losses)
            squares += math.fsum(loss * loss for loss in losses)
        if progress is not None:
            progress(numbers.stop, windows)
    count = windows * (window - 1 - first)
    mean = total / count
    variance = max(0.0, squares / count - mean * mean) / max(1, count - 1)
    value = math.exp(mean)
    return Perplexity(value, value * math.sqrt(variance), count, windows)


def _losses(engine: Engine, windows: Sequence[Sequence[int]], rows: Sequence[int]) -> list[list[float]]:
    """Negative log-likelihoods of the tokens that follow `rows`, of each window."""
    losses: list[list[float]] = [[] for _ in windows]

    def receiver(ids: Sequence[int], own: list[float]) -> Receive:
        def receive(first: int, logits: Float32) -> None:
            own.extend(-log_softmax_at(row, ids[first + i + 1]) for i, row in enumerate(logits))

        return receive

    numbers: list[int] = []
    try:
        for ids, own in zip(windows, losses, strict=True):
            numbers.append(engine.submit_scoring(ids, Scoring(tuple(rows), receiver(ids, own))))
        waiting = set(numbers)
        while waiting and (deliveries := engine.deliveries(waiting)):
            for delivery in deliveries:
                if delivery.error is not None:
                    raise delivery.error
                waiting.discard(delivery.number)
        if waiting:
            raise RequestError("the text is not scored, because another request failed in its step: score it again")
    finally:
        for number in numbers:
            engine.cancel(number)
    return losses


def log_softmax_at(logits: Float32, token: int) -> float:
    """Log-probability of one token, logits [vocab_size], computed in float64."""
    wide = logits.astype(np.float64)
    top = wide.max()
    return float(wide[token] - top - np.log(np.exp(wide - top).sum()))
