"""From logits to tokens: draw the next one under a guide and append what it forces; score those of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shoestring.engine.request import Delivery, FinishReason, Float32, Generation, Request
from shoestring.engine.runner import Runner
from shoestring.errors import NumericsError
from shoestring.ops.sampling import Sampled, Sampling


def draw(runner: Runner, request: Request, work: Generation, logits: Float32) -> list[Sampled]:
    """The token that follows, and those that the guide forces behind it. Raises what the guide raises."""
    sampling, guide, tokens = work.sampling, work.guide, request.sequence.tokens
    allowed = None
    if guide is not None:
        if not guide.penalties_apply:
            sampling = sampling.without_penalties()
        allowed = guide.allowed()
    sampled = runner.sample(logits, sampling, tokens, request.prompt_length, work.index, allowed)
    forced = () if guide is None else guide.accept(sampled.id)
    return [sampled, *map(Sampled, forced)]


def score_tokens(runner: Runner, logits: Float32, tokens: Sequence[int], top: int) -> list[Sampled]:
    """Row r's token `tokens[r]` as if it had been sampled there, with the `top` likeliest; logits [rows, vocab_size].

    The same kernel as for sampled tokens, so the same bits. Raises RequestError for an id that has no token.
    """
    sampling = Sampling(temperature=0, logprobs=top)
    found = []
    for row, token in zip(logits, tokens, strict=True):
        only = np.zeros(-(-logits.shape[1] // 32), np.uint32)
        only[token // 32] = 1 << (token % 32)
        found.append(runner.sample(row, sampling, (), 0, 0, only))
    return found


def deliveries(number: int, request: Request, work: Generation, drawn: list[Sampled], context: int) -> list[Delivery]:
    """The drawn tokens as news, up to the one that ends the request; none of them is in the sequence yet."""
    news = []
    for i, sampled in enumerate(drawn):
        position = len(request.sequence.tokens) + i
        reason = _reason(request, work, sampled.id, position, context)
        news.append(Delivery(number, position, sampled, reason, forced=i > 0))
        if reason is not None:
            break
    return news


def _reason(request: Request, work: Generation, token: int, position: int, context: int) -> FinishReason | None:
    if token in work.stop_ids:
        return "stop"
    if position + 1 - request.prompt_length >= work.most_tokens:
        return "context" if position + 1 >= context else "length"
    return None


def end(number: int, request: Request, error: Exception | None = None) -> Delivery:
    """The news that a request has failed, or has scored all its tokens."""
    reason: FinishReason | None = "length" if error is None else None
    return Delivery(number, len(request.sequence.tokens), Sampled(-1), reason, error=error)


def not_finite() -> NumericsError:
    return NumericsError("a logit is not a finite number: the checkpoint's weights are damaged or out of range")
