"""What the engine takes and returns: requests and their checks, deliveries of tokens, progress, sums for metrics."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Tokens
from dataclasses import dataclass
from typing import Literal

from shoestring.engine.guide import Guide
from shoestring.engine.pictures.placed import PromptPictures, has_its_rows
from shoestring.engine.sequence import Sequence
from shoestring.errors import CapacityError, RequestError
from shoestring.models.layout import Demand
from shoestring.ops import Float32
from shoestring.ops.sampling import Sampled, Sampling
from shoestring.spelling import option

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
    """Progress of a request. The prompt's tokens: how many came from the cache, how many it has computed itself.

    picture_rows: how many are rows of pictures. encoded_rows: of them, those that the tower is done with.
    """

    state: Literal["waiting", "running", "over"]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    computed_tokens: int = 0
    encoded_rows: int = 0
    picture_rows: int = 0

    @property
    def pictures(self) -> tuple[int, int]:
        """Rows of pictures: encoded, and all."""
        return self.encoded_rows, self.picture_rows


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


# --- checks before a request is queued --------------------------------------------------------------------------


def check_tokens(
    tokens: Tokens[int], chunk: int | None, context: int, vocab_size: int, pictures: PromptPictures | None = None
) -> None:
    """Raises CapacityError for more tokens than the context, RequestError for none or unknown ones."""
    if len(tokens) == 0:
        raise RequestError("the prompt is empty: give at least one token")
    if chunk is not None and chunk < 1:
        raise RequestError(f"chunk is {chunk}: choose at least 1")
    if len(tokens) > context:
        raise CapacityError(
            f"the prompt has {len(tokens)} tokens and the context {context}: "
            f"shorten it or choose a larger {option('context')}"
        )
    if not has_its_rows(tokens, pictures) or max(tokens) >= vocab_size:
        raise RequestError(f"token ids must lie between 0 and {vocab_size - 1}")


def most_new_tokens(tokens: int, max_tokens: int | None, context: int) -> int:
    """How many tokens may follow a prompt. Raises CapacityError if the prompt fills the context."""
    left = context - tokens
    if left == 0:
        raise CapacityError(
            f"the prompt's {tokens} tokens fill the context of {context}: choose a larger {option('context')}"
        )
    if max_tokens is not None and max_tokens < 1:
        raise RequestError(f"max_tokens is {max_tokens}: choose at least 1")
    return left if max_tokens is None else min(max_tokens, left)


def check_bias(sampling: Sampling, vocab_size: int) -> None:
    """Raises RequestError for a bias on a token that does not exist."""
    for token in sampling.logit_bias:
        if token >= vocab_size:
            raise RequestError(f"logit_bias names token {token}, the vocabulary ends at {vocab_size - 1}")


def first_row(scoring: Scoring, tokens: int) -> int:
    """The first row that must be computed, not taken from the cache. Raises RequestError for rows out of range."""
    rows = scoring.rows
    if not rows or rows[0] < 0 or rows[-1] >= tokens:
        raise RequestError(f"rows must lie between 0 and {tokens - 1}, the last token's")
    return rows[0] if scoring.observe is None else 0
