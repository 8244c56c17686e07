"""The functions of both families in plain numpy float64, one position or head at a time where that reads best.

The counterpart of ops for one sequence: no workspace, pages or spans. R rows, N query heads, KV key-value heads,
D dims.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.config.types import Rotary
from shoestring.kv_types import KVType
from shoestring.models.constants import RotaryConstants, rotary_sections
from shoestring.models.state import Q8_0_BLOCK
from shoestring.reference.traps import Traps

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Stored = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Observe = Callable[[int, Array], None]

DELTA_NORM_EPS = 1e-6


def linear(x: Array, weight: Stored) -> Array:
    """x [R, in] · weightᵀ [in, out] → [R, out]."""
    return np.asarray(x @ weight.T.astype(np.float64))


def sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -x))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def softmax(x: Array) -> Array:
    """Over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def rms_norm(x: Array, weight: Array | float, eps: float) -> Array:
    """Over the last axis."""
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight)


def top_k(scores: Array, k: int, traps: Traps) -> Ints:
    """Indices of the k largest scores of each row, largest first, ties: lowest index first, [R, k]."""
    if traps.ties_to_highest:
        return np.asarray(scores.shape[1] - 1 - np.argsort(-scores[:, ::-1], axis=-1, kind="stable")[:, :k])
    return np.argsort(-scores, axis=-1, kind="stable")[:, :k]


# --- rotary ----------------------------------------------------------------------------------------------------


def rotary_constants(rotary: Rotary) -> RotaryConstants:
    """Frequencies with the config's scaling."""
    frequencies = rotary.theta ** (-np.arange(0, rotary.dims, 2) / rotary.dims)
    factor = 1.0
    if rotary.frequency_divisors:
        frequencies = frequencies / np.array(rotary.frequency_divisors)
    elif rotary.scaling == "llama3":
        frequencies = llama3_frequencies(frequencies, rotary)
    elif rotary.scaling == "yarn":
        frequencies = yarn_frequencies(frequencies, rotary)
        if rotary.attention_factor is not None:
            factor = rotary.attention_factor
        else:
            factor = 0.1 * float(np.log(rotary.factor)) + 1
    return RotaryConstants(frequencies, rotary_sections(rotary), factor)


def llama3_frequencies(frequencies: Array, rotary: Rotary) -> Array:
    """Stretch wavelengths over original/low by `factor`, keep those under original/high, blend between them."""
    low, high = rotary.low_frequency_factor, rotary.high_frequency_factor
    turns = rotary.original_context * frequencies / (2 * np.pi)  # in the original context
    stretched = frequencies / rotary.factor
    if low == high:
        return np.asarray(np.where(turns < low, stretched, frequencies))
    share = np.clip((turns - low) / (high - low), 0, 1)
    return np.asarray((1 - share) * stretched + share * frequencies)


def yarn_frequencies(frequencies: Array, rotary: Rotary) -> Array:
    """Keep dims that turn often in the original context, stretch those that turn rarely, with a ramp between."""

    def dim_of(turns: float) -> float:
        wavelengths = rotary.original_context / (turns * 2 * np.pi)
        return float(rotary.dims * np.log(wavelengths) / (2 * np.log(rotary.theta)))

    low = max(np.floor(dim_of(rotary.beta_fast)), 0)
    high = min(np.ceil(dim_of(rotary.beta_slow)), rotary.dims - 1)
    high = high + 0.001 if low == high else high
    ramp = np.clip((np.arange(rotary.dims // 2) - low) / (high - low), 0, 1)
    return np.asarray((1 - ramp) * frequencies + ramp * frequencies / rotary.factor)


def rotate(x: Array, positions: Ints, constants: RotaryConstants, *, interleaved: bool, traps: Traps) -> Array:
    """Rotary embedding of x [R, heads, D] at positions [R, 3]; dims beyond 2 · frequencies pass unchanged."""
    sections = constants.sections * (0 if traps.rotary_sections_ignored else 1)
    factor = 1.0 if traps.attention_factor_ignored else constants.factor
    angles = positions[:, sections] * constants.frequencies  # [R, dims/2]
    cos, sin = factor * np.cos(angles)[:, None], factor * np.sin(angles)[:, None]  # [R, 1, dims/2]
    half = len(constants.frequencies)
    rotated, passed = x[..., : 2 * half], x[..., 2 * half :]
    if interleaved != traps.rotary_pairs_swapped:
        a, b = rotated[..., 0::2], rotated[..., 1::2]
        turned = np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(rotated.shape)
    else:
        a, b = rotated[..., :half], rotated[..., half:]
        turned = np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    return np.concatenate([turned, passed], axis=-1)


# --- mixing positions ------------------------------------------------------------------------------------------


def as_stored(x: Array, kv_type: KVType) -> Array:
    """Keys or values x [..., D] rounded to float32, and then as pages of the type hold them (docs/numerics.md)."""
    x32 = x.astype(np.float32)
    if kv_type != "q8_0":
        return x32.astype(np.float16 if kv_type == "f16" else np.float32).astype(np.float64)
    dims, block = x.shape[-1], Q8_0_BLOCK
    padded = np.zeros((*x.shape[:-1], -(-dims // block) * block), np.float32)
    padded[..., :dims] = x32
    blocks = padded.reshape(*x.shape[:-1], -1, block)
    amax = np.abs(blocks).max(axis=-1, keepdims=True)
    amax[amax < 2.0**-110] = 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quants = np.where(amax > 0, np.rint(blocks * (np.float32(127) / amax)), np.float32(0))
        scales = np.where(np.isfinite(amax), amax / np.float32(127), np.float32(np.nan)).astype(np.float16)
        stored = quants.astype(np.float64) * scales.astype(np.float64)
    return np.asarray(stored.reshape(padded.shape)[..., :dims])


@dataclass
class KeysValues:
    """Keys and values of a layer. index: the position of each in the sequence, in any order."""

    keys: Array  # [T, KV, D]
    values: Array  # [T, KV, D]
    index: Ints  # [T]
    #: numbers are rounded to this type; None: not rounded
    kv_type: KVType | None = None

    @classmethod
    def empty(cls, heads: int, dims: int, kv_type: KVType | None = None) -> "KeysValues":
        return cls(np.zeros((0, heads, dims)), np.zeros((0, heads, dims)), np.zeros(0, np.int64), kv_type)

    def append(self, k: Array, v: Array, index: Ints) -> None:
        """Add k, v [R, KV, D] at positions index [R]."""
        if self.kv_type is not None:
            k, v = as_stored(k, self.kv_type), as_stored(v, self.kv_type)
        self.keys, self.values = np.concatenate([self.keys, k]), np.concatenate([self.values, v])
        self.index = np.concatenate([self.index, index])


def attention(q: Array, cache: KeysValues, index: Ints, first_visible: Ints, scale: float) -> Array:
    """q [R, N, D] at positions `index` sees keys and values at positions first_visible … index → [R, N, D]."""
    group = q.shape[1] // cache.keys.shape[1]
    hidden = (cache.index > index[:, None]) | (cache.index < first_visible[:, None])  # [R, T]
    out = np.empty_like(q)
    for head in range(q.shape[1]):
        scores = scale * q[:, head] @ cache.keys[:, head // group].T  # [R, T]
        out[:, head] = softmax(np.where(hidden, -np.inf, scores)) @ cache.values[:, head // group]
    return out


def causal_convolution(x: Array, weight: Array, before: Array) -> tuple[Array, Array]:
    """silu of the depthwise convolution of x [R, channels] with weight [channels, width].

    before [width − 1, channels]: the inputs before x, oldest first. Returns also those before the next call.
    """
    width = weight.shape[1]
    padded = np.concatenate([before, x])  # [width − 1 + R, channels]
    y = np.zeros_like(x)
    for tap in range(width):
        y += padded[tap : tap + len(x)] * weight[:, tap]
    return silu(y), padded[len(padded) - (width - 1) :]


def delta_rule(q: Array, k: Array, v: Array, g: Array, beta: Array, memory: Array, traps: Traps) -> tuple[Array, Array]:
    """Gated delta rule (arXiv 2412.06464), token by token.

    q, k [R, VH, KD], v [R, VH, VD], g, beta [R, VH], memory [VH, KD, VD] → outputs [R, VH, VD], the memory after.
    """
    eps = DELTA_NORM_EPS * (q.shape[-1] if traps.delta_norm_eps_of_mean else 1)
    q = q / np.sqrt((q * q).sum(axis=-1, keepdims=True) + eps) / np.sqrt(q.shape[-1])
    k = k / np.sqrt((k * k).sum(axis=-1, keepdims=True) + eps)
    out = np.empty_like(v)
    for t in range(len(q)):
        memory = memory * np.exp(g[t])[:, None, None]
        known = np.einsum("hkv,hk->hv", memory, k[t])
        error = beta[t][:, None] * (v[t] - known)
        memory = memory + k[t][:, :, None] * error[:, None, :]
        out[t] = np.einsum("hkv,hk->hv", memory, q[t])
    return out, memory
