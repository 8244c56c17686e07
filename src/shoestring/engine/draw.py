"""From logits to the next tokens of an answer: the guide is asked, one token drawn, what is forced put behind it."""

from __future__ import annotations

from shoestring.engine.request import Delivery, FinishReason, Float32, Request
from shoestring.engine.runner import Runner
from shoestring.engine.sampler import Sampled
from shoestring.errors import NumericsError


def draw(runner: Runner, request: Request, logits: Float32) -> list[Sampled]:
    """The token that follows, and those that the guide forces behind it. Raises what the guide raises."""
    sampling, guide, tokens = request.sampling, request.guide, request.sequence.tokens
    assert sampling is not None
    allowed = None
    if guide is not None:
        if not guide.penalties_apply:
            sampling = sampling.without_penalties()
        allowed = guide.allowed()
    sampled = runner.sample(logits, sampling, tokens, request.prompt_length, request.index, allowed)
    forced = () if guide is None else guide.accept(sampled.id)
    return [sampled, *map(Sampled, forced)]


def deliveries(number: int, request: Request, drawn: list[Sampled], context: int) -> list[Delivery]:
    """The drawn tokens as news, up to the one that ends the request; none of them is in the sequence yet."""
    news = []
    for i, sampled in enumerate(drawn):
        position = len(request.sequence.tokens) + i
        reason = _reason(request, sampled.id, position, context)
        news.append(Delivery(number, position, sampled, reason, forced=i > 0))
        if reason is not None:
            break
    return news


def _reason(request: Request, token: int, position: int, context: int) -> FinishReason | None:
    if token in request.stop_ids:
        return "stop"
    if position + 1 - request.prompt_length >= request.most_tokens:
        return "context" if position + 1 >= context else "length"
    return None


def failure(number: int, request: Request, error: Exception) -> Delivery:
    """The news that a request has failed."""
    return Delivery(number, len(request.sequence.tokens), Sampled(-1), None, error=error)


def not_finite() -> NumericsError:
    return NumericsError("a logit is not a finite number: the checkpoint's weights are damaged or out of range")
