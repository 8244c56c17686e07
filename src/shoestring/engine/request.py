"""What is asked of the engine and what comes back: requests, their tokens one by one, their state, the sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from shoestring.engine.guide import Guide
from shoestring.engine.sequence import Sequence
from shoestring.models.layout import Demand
from shoestring.ops.sampling import Sampled, Sampling

Float32 = npt.NDArray[np.float32]

#: Why an answer ended. "stop": a stop token or stop string; "length": max_tokens; "context": the context is full;
#: "tool_calls": at least one complete call (output/ says so, the engine knows no calls).
FinishReason = Literal["stop", "length", "context", "tool_calls"]

#: Called with the position of the first row and logits [rows, vocab_size], valid during the call.
Receive = Callable[[int, Float32], None]
#: Called with a layer (models/step.py, Observe), the position of the first row and hidden states
#: [rows, hidden_size], valid during the call.
ObserveRows = Callable[[int, int, Float32], None]


@dataclass(frozen=True)
class Delivery:
    """A token of request `number`, its place in the sequence, and why it is the last one, if it is.

    forced: the guide put it there, it was not sampled. error: the request failed and is over; other requests go on.
    Where there is no token, because the request failed or only scored its tokens, `sampled.id` is −1.
    """

    number: int
    position: int
    sampled: Sampled
    finish_reason: FinishReason | None
    forced: bool = False
    error: Exception | None = None

    @property
    def last(self) -> bool:
        """Nothing follows: the request is over."""
        return self.finish_reason is not None or self.error is not None


@dataclass(frozen=True)
class Status:
    """How far a request is. cached: of its prompt, taken from earlier requests; computed: of its prompt, by itself."""

    state: Literal["waiting", "running", "over"]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    computed_tokens: int = 0


@dataclass(frozen=True)
class Counts:
    """Sums over the engine. Pages and slots: used + cached + free = capacity.

    used: by running requests; cached: held for later ones. The tokens are totals since the engine began.
    """

    running: int
    waiting: int
    capacity: Demand
    used: Demand
    cached: Demand
    free: Demand
    cached_bytes: int
    #: of prompts, taken from the cache
    cached_tokens: int
    #: rows of all steps
    computed_tokens: int


@dataclass(frozen=True)
class Scoring:
    """Hand out the logits of `rows` (ascending positions), and show the hidden states of all rows to `observe`."""

    rows: tuple[int, ...]
    receive: Receive
    observe: ObserveRows | None = None


@dataclass(frozen=True)
class Generation:
    """Sample up to `most_tokens` tokens behind the prompt. prompt: score the prompt on the way."""

    sampling: Sampling
    most_tokens: int
    index: int = 0
    stop_ids: frozenset[int] = frozenset()
    guide: Guide | None = None
    prompt: Scoring | None = None


@dataclass
class Request:
    """One request while it waits or runs, and its counters afterwards."""

    sequence: Sequence
    prompt_length: int
    work: Generation | Scoring
    cached_tokens: int = 0

    @property
    def scoring(self) -> Scoring | None:
        """What it scores: all of it, or the prompt of a generation."""
        return self.work if isinstance(self.work, Scoring) else self.work.prompt
