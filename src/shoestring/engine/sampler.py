"""What a caller may ask of sampling, and what it gets.

Owns the parameters and their check; the arithmetic (penalties, filters, softmax, the counter-based draw) is
kernels/sampling.h, so that sampled tokens too are the same bits everywhere.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from shoestring.errors import RequestError


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    temperature 0: the most likely token (ties: lowest id). top_k 0, top_p 1, min_p 0: off.
    presence_penalty and frequency_penalty count the tokens generated so far, repetition_penalty the prompt
    too. logit_bias: token id → added to its logit. seed None: another answer each time. logprobs: how many
    of the likeliest tokens are reported with each token, None: nothing is. Log-probabilities are those of the
    model's own distribution, before temperature, penalties and filters.
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

    def __post_init__(self) -> None:
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
        for token, bias in self.logit_bias.items():
            if token < 0 or not -1e4 <= bias <= 1e4:
                raise RequestError(f"logit_bias {token}: {bias}: token ids are not negative, biases within 10000")

    def seeded(self) -> Sampling:
        """With a seed, drawn now where none was asked for."""
        return self if self.seed is not None else dataclasses.replace(self, seed=secrets.randbits(63))

    def without_penalties(self) -> Sampling:
        """The same, but what was said before does not count."""
        return dataclasses.replace(self, repetition_penalty=1.0, presence_penalty=0.0, frequency_penalty=0.0)


MOST_LOGPROBS = 64
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
    """A token of an answer. logprob, top: (id, log-probability), likeliest first; where the request has `logprobs`."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
