"""Translate the sampling fields of OpenAI's two APIs, and of vLLM and llama.cpp, to fields of our Sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from shoestring.printable import quoted
from shoestring.server.errors import bad_request
from shoestring.server.http.fields import Body, Many, at_most, list_or_text

StopTexts = Annotated[
    Annotated[str, Tag("text")] | Annotated[Many[str], Tag("list")],
    Discriminator(list_or_text),
]

_MOST_BIASES = 1 << 16
#: Fields that are passed on unchanged.
_PLAIN = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")


class SamplingFields(Body):
    """Sampling fields of a request. Missing fields use the checkpoint's defaults."""

    temperature: float | None = None
    top_p: float | None = None
    #: 0 and -1: off
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    #: llama.cpp's name for repetition_penalty
    repeat_penalty: float | None = None
    #: the tokens that penalties look back at: 0 none, -1 all
    repeat_last_n: int | None = Field(default=None, ge=-1)
    #: any 64-bit number, signed or unsigned
    seed: int | None = Field(default=None, ge=-(1 << 63), lt=1 << 64)
    #: token id, as a string → value added to its logit
    logit_bias: Annotated[dict[str, float], at_most(_MOST_BIASES)] | None = None
    stop: StopTexts | None = None
    #: answers to one prompt
    n: int | None = None
    ignore_eos: bool | None = None


def sampling(body: SamplingFields) -> dict[str, Any]:
    """The given fields of ops.sampling.Sampling by name. Raises ApiError for an invalid logit_bias."""
    fields = {name: getattr(body, name) for name in _PLAIN if getattr(body, name) is not None}
    if body.top_k is not None:
        fields["top_k"] = 0 if body.top_k == -1 else body.top_k
    if body.seed is not None:
        fields["seed"] = body.seed % (1 << 64)
    if body.repeat_penalty is not None:
        if body.repetition_penalty not in (None, body.repeat_penalty):
            raise bad_request("repetition_penalty and repeat_penalty differ: send one of them", param="repeat_penalty")
        fields["repetition_penalty"] = body.repeat_penalty
    fields |= penalty_window(body.repeat_last_n)
    if body.logit_bias:
        fields["logit_bias"] = _biases(body.logit_bias)
    return fields


def _biases(biases: Mapping[str, float]) -> dict[int, float]:
    for key in biases:
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise bad_request(f"logit_bias has the key {quoted(key, 60)}: use token ids as keys", param="logit_bias")
    return {int(key): bias for key, bias in biases.items()}


def penalty_window(repeat_last_n: int | None) -> dict[str, Any]:
    """The field of Sampling for llama.cpp's and Ollama's repeat_last_n."""
    return {} if repeat_last_n in (None, -1) else {"penalty_window": repeat_last_n}


def stop_texts(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """The stop strings of a request, which may send one as a plain string. Empty ones are off."""
    texts = (stop,) if isinstance(stop, str) else stop or ()
    return tuple(text for text in texts if text)
