"""From logits to tokens: sample the next one under a guide, add the tokens that it forces, score those of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shoestring.engine.batch import runs
from shoestring.engine.request import Delivery, FinishReason, Generation, Request
from shoestring.engine.runner import Runner
from shoestring.errors import NumericsError
from shoestring.models.workspace import head_rows
from shoestring.ops import Float32
from shoestring.ops.sampling import Sampled, Sampling


def draw(runner: Runner, request: Request, work: Generation, logits: Float32) -> list[Sampled]:
    """The sampled token and those that the guide forces after it. Raises what the guide raises."""
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
    """Token `tokens[r]` as if it were sampled from row r, with the `top` likeliest; logits [rows, vocab_size].

    The same kernel as for sampled tokens, so the same bits. Raises RequestError for an id that has no token.
    """
    sampling = Sampling(temperature=0, logprobs=top)
    scored = []
    for row, token in zip(logits, tokens, strict=True):
        only = np.zeros(-(-logits.shape[1] // 32), np.uint32)
        only[token // 32] = 1 << (token % 32)
        scored.append(runner.sample(row, sampling, (), 0, 0, only))
    return scored


def score_rows(runner: Runner, request: Request, hidden: Float32) -> None:
    """Pass the logits of the request's scored rows among its next ones to its receiver. Raises NumericsError."""
    scoring, begin = request.scoring, request.sequence.computed
    if scoring is None:
        return
    rows = [row - begin for row in scoring.rows if begin <= row < begin + len(hidden)]
    for run in runs(rows, head_rows(runner.vocab_size)):
        with runner.frame():
            logits = runner.head(hidden[run.start : run.stop])
            if not runner.is_finite(logits):
                raise not_finite(runner.source)
            scoring.receive(begin + run.start, logits)


def deliveries(number: int, request: Request, work: Generation, drawn: list[Sampled], context: int) -> list[Delivery]:
    """Deliveries of the drawn tokens, up to the one that ends the request. Adds no token to the sequence."""
    delivered = []
    for i, sampled in enumerate(drawn):
        position = len(request.sequence.tokens) + i
        reason = _reason(request, work, sampled.id, position, context)
        delivered.append(Delivery(number, position, sampled, reason, forced=i > 0))
        if reason is not None:
            break
    return delivered


def _reason(request: Request, work: Generation, token: int, position: int, context: int) -> FinishReason | None:
    if token in work.stop_ids:
        return "stop"
    if position + 1 - request.prompt_length >= work.most_tokens:
        return "context" if position + 1 >= context else "length"
    return None


def final_delivery(number: int, request: Request, error: Exception | None = None) -> Delivery:
    """The last delivery of a request that has failed or has scored all its tokens."""
    reason: FinishReason | None = "length" if error is None else None
    return Delivery(number, len(request.sequence.tokens), Sampled(-1), reason, error=error)


def not_finite(source: str) -> NumericsError:
    return NumericsError(f"{source}: a logit is not a finite number: its weights are damaged or out of range")
