"""Ops on logits: sampling and log-probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shoestring.errors import RequestError
from shoestring.ops import extension
from shoestring.ops.extension import Float32, Float64, Int32, Uint32

if TYPE_CHECKING:
    from shoestring import _kernels
else:
    _kernels = extension.Unloaded(globals())


def check_finite(logits: Float32) -> bool:
    """Whether no number of it is infinite or NaN."""
    return _kernels.check_finite(logits)


def sample(
    logits: Float32,
    *,
    vocabulary_size: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    presence_penalty: float,
    frequency_penalty: float,
    repetition_penalty: float,
    context_ids: Int32,
    generated_ids: Int32,
    bias_ids: Int32,
    bias_values: Float32,
    seed: int,
    sample_index: int,
    position: int,
    top_logprobs: int,
    allowed: Uint32 | None = None,
) -> tuple[int, float, Int32, Float64]:
    """The next token of logits [V] → id, its log-probability, the `top_logprobs` likeliest ids and theirs.

    In this order: allowed (bit i % 32 of word i // 32: id i may be sampled; None: all may); repetition penalty
    (distinct ids of context and generated), frequency and presence penalty (generated); bias; temperature (0: the
    largest logit); top_k (0: off); top_p of what is left (1: off); min_p relative to the likeliest (0: off); one
    random number of (seed, sample_index, position).
    Ties go to the lower id; ids from vocabulary_size on are never sampled. Log-probabilities are those of the
    logits as they came, at temperature 1. Raises RequestError where no id is allowed.
    """
    likeliest = min(top_logprobs, vocabulary_size)
    top_ids, top = np.empty(likeliest, np.int32), np.empty(likeliest, np.float64)
    token, logprob = _kernels.sample(
        logits,
        vocabulary_size,
        temperature,
        top_k,
        top_p,
        min_p,
        presence_penalty,
        frequency_penalty,
        repetition_penalty,
        context_ids,
        generated_ids,
        bias_ids,
        bias_values,
        seed % 2**64,
        sample_index,
        position,
        top_ids,
        top,
        allowed,
    )
    if token < 0:
        raise RequestError("no token is allowed to follow: the form that was asked for cannot be met")
    return token, logprob, top_ids, top


def log_softmax_at(logits: Float32, targets: Int32) -> Float64:
    """log softmax(logits[r])[targets[r]], logits [rows, V] → [rows]."""
    out = np.empty(len(targets), np.float64)
    _kernels.log_softmax_at(logits, targets, out)
    return out
