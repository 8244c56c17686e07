"""Checks of a request before it is queued."""

from __future__ import annotations

from collections.abc import Sequence as Tokens

from shoestring.engine.request import Scoring
from shoestring.errors import CapacityError, RequestError
from shoestring.ops.sampling import Sampling
from shoestring.spelling import option


def check_tokens(tokens: Tokens[int], chunk: int | None, context: int, vocab_size: int) -> None:
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
    if min(tokens) < 0 or max(tokens) >= vocab_size:
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
