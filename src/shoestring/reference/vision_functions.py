"""What the vision towers of both families share, in plain numpy float64. R rows, N heads of D dims."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shoestring.reference.functions import Array, Ints, softmax


@dataclass(frozen=True)
class VisionTraps:
    """Known mistakes of engines with these towers, each a switch, all off by default."""

    #: GELU with tanh where the model has erf: Qwen's merger, all of Llama's tower (llama.cpp)
    tanh_everywhere: bool = False
    #: learned positions between the centres of pixels; correct: corners on corners
    half_pixel_positions: bool = False
    #: rotary coordinates of tokens; correct: of patches
    merged_coordinates: bool = False
    #: patches counted row by row; correct: block by block
    raster_order: bool = False
    #: the class row stands first, and its learned position with it
    class_row_first: bool = False
    #: rotary pairs (i, i + D/2) read as (2i, 2i + 1), and the reverse
    rotary_pairs_swapped: bool = False
    #: a head's dims follow the other axis first
    axes_swapped: bool = False
    #: the merger's norm comes after the patches are joined
    norm_after_join: bool = False


NO_VISION_TRAPS = VisionTraps()


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps) * weight + bias)


def gelu_tanh(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def gelu_erf(x: Array) -> Array:
    erf = np.array([math.erf(v) for v in (x / math.sqrt(2)).reshape(-1)]).reshape(x.shape)
    return np.asarray(x / 2 * (1 + erf))


def attention(q: Array, k: Array, v: Array, scale: float) -> Array:
    """Every row over all rows; q, k, v [R, N, D] → [R, N, D]."""
    out = np.empty_like(q)
    for head in range(q.shape[1]):
        out[:, head] = softmax(scale * q[:, head] @ k[:, head].T) @ v[:, head]
    return out


def rotate(x: Array, angles: Array, *, interleaved: bool) -> Array:
    """x [R, N, D] turned by angles [R, D/2], in pairs (2i, 2i + 1) or (i, i + D/2)."""
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    half = x.shape[-1] // 2
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    turned = [a * cos - b * sin, b * cos + a * sin]
    return np.stack(turned, axis=-1).reshape(x.shape) if interleaved else np.concatenate(turned, axis=-1)


def frequencies(dims: int, theta: float) -> Array:
    """theta^(−2i/dims), [dims/2]."""
    return np.asarray(theta ** (-np.arange(0, dims, 2) / dims))


def block_places(rows: int, columns: int, merge: int) -> Ints:
    """Row and column of each patch, block by block, [R, 2]."""
    places = [
        (top + y, left + x)
        for top in range(0, rows, merge)
        for left in range(0, columns, merge)
        for y in range(merge)
        for x in range(merge)
    ]
    return np.array(places, np.int64)


def raster_places(rows: int, columns: int) -> Ints:
    """Row and column of each patch, row by row, [R, 2]."""
    return np.array([(y, x) for y in range(rows) for x in range(columns)], np.int64)
