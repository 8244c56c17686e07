"""What the answers of several APIs share: log-probabilities of tokens, arguments of calls, why an answer ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from shoestring import bounded_json
from shoestring.engine.request import FinishReason
from shoestring.ops.sampling import Sampled

TokenBytes = Callable[[int], bytes]


def stop_or_length(reason: FinishReason) -> Literal["stop", "length"]:
    """The reason in APIs that know only these two."""
    return "length" if reason in ("length", "context") else "stop"


def logprob_entry(token: Sampled, token_bytes: TokenBytes) -> dict[str, Any]:
    """A token's text, log-probability and bytes, and in `top_logprobs` the same of the likeliest tokens."""

    def entry(id: int, logprob: float | None) -> dict[str, Any]:
        data = token_bytes(id)
        return {"token": data.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(data)}

    return {**entry(token.id, token.logprob), "top_logprobs": [entry(id, logprob) for id, logprob in token.top]}


def read_arguments(text: str) -> dict[str, Any]:
    """The arguments of a call as an object; {} if they are none: max_tokens cut them off, or they nest too deep."""
    try:
        value = bounded_json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
