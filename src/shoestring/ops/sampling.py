"""Sampling: its parameters, its result, and the op that draws a token from logits.

Owns the parameters and their ranges. The arithmetic (penalties, filters, softmax, the counter-based draw) is in
kernels/sampling.h, so that sampled tokens are the same on every machine too.
"""

from __future__ import annotations

import dataclasses
import numbers
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from shoestring.errors import RequestError
from shoestring.ops import extension
from shoestring.ops.extension import Float32, Uint32

if TYPE_CHECKING:
    from shoestring import _kernels
else:
    _kernels = extension.Unloaded(globals())


@dataclass(frozen=True)
class Sampling:
    """How to draw the next token.

    temperature 0: the most likely token (ties: lowest id). top_k 0, top_p 1, min_p 0: off.
    presence_penalty and frequency_penalty count the generated tokens, repetition_penalty the prompt's too; of both,
    penalty_window: the last so many, None: all.
    logit_bias: token id → number added to its logit. seed None: a random one. logprobs: how many of the
    likeliest tokens to report with each token; None: report no log-probabilities. Log-probabilities are those
    of the model's own distribution, before temperature, penalties and filters.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    logprobs: int | None = None
    penalty_window: int | None = None

    def __post_init__(self) -> None:
        for name, kinds, expected in _TYPES:
            value = getattr(self, name)
            optional = value is None and name in ("seed", "logprobs", "penalty_window")
            if not optional and (isinstance(value, bool) or not isinstance(value, kinds)):
                raise TypeError(f"{name} is {value!r}: give {expected}")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise RequestError(f"{name} is {value}: choose a value from {low} to {high}")
        if self.repetition_penalty == 0:
            raise RequestError("repetition_penalty is 0: choose a value above 0, 1 is off")
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_LOGPROBS:
            raise RequestError(f"logprobs is {self.logprobs}: choose a value from 0 to {MOST_LOGPROBS}")
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise RequestError(f"seed is {self.seed}: choose a value from 0 to 2^64 - 1")
        if self.penalty_window is not None and not 0 <= self.penalty_window < 1 << 31:
            raise RequestError(f"penalty_window is {self.penalty_window}: choose 0 or more tokens")
        if not isinstance(self.logit_bias, Mapping):
            raise TypeError(f"logit_bias is {self.logit_bias!r}: give numbers by token id, like {{1234: -5.0}}")
        for token, bias in self.logit_bias.items():
            if not isinstance(token, numbers.Integral) or not isinstance(bias, numbers.Real):
                raise TypeError(f"logit_bias {token!r}: {bias!r}: give numbers by token id")
            if token < 0 or not -1e4 <= bias <= 1e4:
                raise RequestError(f"logit_bias {token}: {bias}: token ids are not negative, biases within 10000")

    def seeded(self) -> Sampling:
        """The same with a seed; draws one if there is none."""
        return self if self.seed is not None else dataclasses.replace(self, seed=secrets.randbits(63))

    def without_penalties(self) -> Sampling:
        """The same without repetition, presence and frequency penalties."""
        return dataclasses.replace(self, repetition_penalty=1.0, presence_penalty=0.0, frequency_penalty=0.0)


MOST_LOGPROBS = 64
_TYPES = (
    *((name, numbers.Integral, "an integer") for name in ("top_k", "seed", "logprobs", "penalty_window")),
    *(
        (name, numbers.Real, "a number")
        for name in ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")
    ),
)
_RANGES = (
    ("temperature", 0.0, 100.0),
    ("top_k", 0, 1 << 30),
    ("top_p", 0.0, 1.0),
    ("min_p", 0.0, 1.0),
    ("presence_penalty", -10.0, 10.0),
    ("frequency_penalty", -10.0, 10.0),
    ("repetition_penalty", 0.0, 10.0),
)


@dataclass(frozen=True)
class Sampled:
    """A token of an answer. logprob, and top: (id, log-probability), likeliest first, if the request has `logprobs`."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


def sample(
    logits: Float32,
    sampling: Sampling,
    tokens: Sequence[int],
    *,
    prompt_length: int,
    index: int,
    vocabulary_size: int,
    allowed: Uint32 | None = None,
) -> Sampled:
    """Draw the token that follows `tokens` from logits [V].

    In this order: allowed (bit i % 32 of word i // 32: id i may be sampled; None: all may); repetition penalty
    (distinct ids of all tokens), frequency and presence penalty (tokens from prompt_length on), both among the last
    penalty_window; bias; temperature
    (0: the largest logit); top_k (0: off); top_p of what is left (1: off); min_p relative to the likeliest (0: off);
    one random number of (seed, index, number of tokens). index: which answer to one prompt this is.
    Ties go to the lower id; ids from vocabulary_size on are never sampled. Log-probabilities are those of the
    unchanged logits at temperature 1. Negative ids among `tokens` are rows of pictures, which no penalty counts. Raises
    RequestError if no id is allowed.
    """
    window = len(tokens) if sampling.penalty_window is None else sampling.penalty_window
    first = max(0, len(tokens) - window)
    repeated = sampling.repetition_penalty != 1
    counted = sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
    likeliest = min(sampling.logprobs or 0, vocabulary_size)
    top_ids, top_logprobs = np.empty(likeliest, np.int32), np.empty(likeliest, np.float64)
    token, logprob = _kernels.sample(
        logits,
        vocabulary_size,
        sampling.temperature,
        sampling.top_k,
        sampling.top_p,
        sampling.min_p,
        sampling.presence_penalty,
        sampling.frequency_penalty,
        sampling.repetition_penalty,
        np.array([token for token in tokens[first:] if token >= 0] if repeated else (), np.int32),
        np.array(tokens[max(first, prompt_length) :] if counted else (), np.int32),
        np.array(tuple(sampling.logit_bias.keys()), np.int32),
        np.array(tuple(sampling.logit_bias.values()), np.float32),
        sampling.seed or 0,
        index,
        len(tokens),
        top_ids,
        top_logprobs,
        allowed,
    )
    if token < 0:
        raise RequestError("no token is allowed to follow: the form that was asked for cannot be met")
    if sampling.logprobs is None:
        return Sampled(token)
    return Sampled(token, logprob, tuple(zip(top_ids.tolist(), top_logprobs.tolist(), strict=True)))
