"""What the engine takes and returns: requests, deliveries of tokens, progress, and sums for metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shoestring.engine.guide import Guide
from shoestring.engine.sequence import Sequence
from shoestring.models.layout import Demand
from shoestring.ops import Float32
from shoestring.ops.sampling import Sampled, Sampling

#: Why an answer ended. "stop": a stop token or stop string; "length": max_tokens; "context": the context is full;
#: "tool_calls": at least one complete call (set by output/; the engine knows no calls).
FinishReason = Literal["stop", "length", "context", "tool_calls"]

#: Called with the position of the first row and logits [rows, vocab_size], valid during the call.
Receive = Callable[[int, Float32], None]
#: Called with a layer (models/step.py, Observe), the position of the first row and hidden states
#: [rows, hidden_size], valid during the call.
ObserveRows = Callable[[int, int, Float32], None]


@dataclass(frozen=True)
class Delivery:
    """A token of request `number`, its position in the sequence, and why the answer ends with it, if it does.

    forced: by the guide, not sampled. error: the request failed and is over. If there is no token, because the request
    failed or only scored its tokens, `sampled.id` is −1.
    """

    number: int
    position: int
    sampled: Sampled
    finish_reason: FinishReason | None
    forced: bool = False
    error: Exception | None = None

    @property
    def last(self) -> bool:
        """Whether the request is over."""
        return self.finish_reason is not None or self.error is not None


@dataclass(frozen=True)
class Status:
    """Progress of a request. The prompt's tokens: how many came from the cache, how many it has computed itself."""

    state: Literal["waiting", "running", "over"]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    computed_tokens: int = 0


@dataclass(frozen=True)
class Counts:
    """Sums over the engine. Pages and slots: used + cached + free = capacity.

    used: by running requests. cached: for later ones. The tokens are totals since the start of the engine.
    """

    running: int
    waiting: int
    capacity: Demand
    used: Demand
    cached: Demand
    free: Demand
    cached_bytes: int
    #: prompt tokens from the cache
    cached_tokens: int
    #: rows of all steps, prompts and answers
    computed_tokens: int
    #: the longest that a layer of a pass (passes.py) has let the answers wait; 0: no pass yet
    slowest_layer_seconds: float = 0.0


@dataclass(frozen=True)
class Scoring:
    """Call `receive` with the logits of `rows` (ascending positions), and `observe` with all hidden states."""

    rows: tuple[int, ...]
    receive: Receive
    observe: ObserveRows | None = None


@dataclass(frozen=True)
class Generation:
    """Sample up to `most_tokens` tokens after the prompt. prompt: score the prompt on the way."""

    sampling: Sampling
    most_tokens: int
    index: int = 0
    stop_ids: frozenset[int] = frozenset()
    guide: Guide | None = None
    prompt: Scoring | None = None


@dataclass
class Request:
    """A waiting, running or finished request."""

    sequence: Sequence
    prompt_length: int
    work: Generation | Scoring
    cached_tokens: int = 0

    @property
    def scoring(self) -> Scoring | None:
        """What to score: the whole request, or the prompt of a generation; None: nothing."""
        return self.work if isinstance(self.work, Scoring) else self.work.prompt
