"""Llama 4's vision tower: one tile to rows of the text model.

Weights and forward pass, in this order. Reads no files and renames nothing. The processor that makes the tiles is
`media/llama4.py`. Shapes: S side of the tile in patches, R = S² + 1 rows (the class row is the last), H hidden_size, N
heads of D dims, I feed-forward width, P numbers of a patch, m² patches a token, W adapter width, T the text model's
hidden_size. `M` is the type of a matrix, `A` of an array: the kernels' here, numpy's in `reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.vision_types import Llama4VisionConfig
from shoestring.models.constants import inverse_square_root
from shoestring.models.vision.blocks import Layer, Norm, encoder_layers, norm

if TYPE_CHECKING:
    from shoestring._kernels import Matrix  # noqa: F401

M = TypeVar("M")
A = TypeVar("A")


# --- weights ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights(Generic[M, A]):
    config: Llama4VisionConfig
    frequencies: ops.Float64  # [D/4]
    attention_scale: float  # 1 / sqrt(D)
    patch: M  # [H, P]
    class_row: A  # [H]
    positions: A  # [R, H]: of the class row last
    first_norm: Norm[A]  # [H]
    layers: tuple[Layer[M, A], ...]
    last_norm: Norm[A]  # [H]
    adapter_up: M  # [W, m²·H]
    adapter_down: M  # [W, W]
    projector: M  # [T, W]


def build_weights(
    config: Llama4VisionConfig,
    matrix: Callable[[str, int, int], M],
    vector: Callable[..., A],
    frequencies: Callable[[int, float], ops.Float64],
) -> Weights[M, A]:
    """All weights. `matrix(name, rows, columns)` and `vector(name, *shape)` return them by our names.

    frequencies(dims, theta): theta^(−2i/dims), [dims/2].
    """
    c = config
    H = c.hidden_size
    D = H // c.num_attention_heads

    patch, class_row = matrix("patch.weight", H, c.patch_values), vector("class_row", H)
    positions, first_norm = vector("positions", c.side**2 + 1, H), norm(vector, "first_norm", H)
    layers = encoder_layers(matrix, vector, c.num_hidden_layers, H, c.intermediate_size)
    return Weights(
        c,
        frequencies(D // 2, c.rope_theta),
        inverse_square_root(D),
        patch,
        class_row,
        positions,
        first_norm,
        layers,
        norm(vector, "last_norm", H),
        matrix("adapter_up.weight", c.adapter_size, c.shuffle_size**2 * H),
        matrix("adapter_down.weight", c.adapter_size, c.adapter_size),
        matrix("projector.weight", c.out_hidden_size, c.adapter_size),
    )


# --- forward ---------------------------------------------------------------------------------------------------

KernelWeights = Weights["Matrix", ops.Float32]


def layers(weights: KernelWeights, tile: ops.Float32, ws: ops.Workspace) -> Iterator[ops.Float32]:
    """Compute a layer a turn. Yields x between two layers, and at the end the tile's rows of the text model [S²/m², T].

    tile [3, S·p, S·p]: values of pixels, p the patch size. The caller may suspend it, if `ws` is its own.
    """
    c = weights.config
    H, N = c.hidden_size, c.num_attention_heads
    R, D = c.side**2 + 1, H // N
    x = ws.floats(R, H)
    x[:-1] = ops.linear(ws, patches(tile, c.patch_size), weights.patch, None)  # [S², H]
    x[-1] = weights.class_row
    ops.add(x, weights.positions)
    x = ops.layer_norm(ws, x, weights.first_norm.weight, weights.first_norm.bias, c.layer_norm_eps)
    # Pairs of dims (2i, 2i + 1) follow the column in the first half of a head, the row in the other.
    frequencies = np.concatenate([weights.frequencies, weights.frequencies])  # [D/2]
    sections = np.repeat(np.arange(2, dtype=np.int32), D // 4)
    cos, sin = ops.rotary_table(ws, patch_places(c.side), frequencies, sections, 1.0)  # each [R, D/2]
    for i, layer in enumerate(weights.layers):
        if i:
            yield x
        with ws:
            h = ops.layer_norm(ws, x, layer.input_norm.weight, layer.input_norm.bias, c.layer_norm_eps)  # [R, H]
            q, k, v = (
                ops.linear(ws, h, w.weight, w.bias).reshape(R, N, D) for w in (layer.query, layer.key, layer.value)
            )
            ops.rotate(q, cos, sin, interleaved=True)
            ops.rotate(k, cos, sin, interleaved=True)
            o = ops.part_attention(ws, q, k, v, weights.attention_scale).reshape(R, H)
            ops.add_linear(ws, x, o, layer.output.weight, layer.output.bias)
        with ws:
            h = ops.layer_norm(ws, x, layer.post_norm.weight, layer.post_norm.bias, c.layer_norm_eps)  # [R, H]
            h = ops.linear(ws, h, layer.up.weight, layer.up.bias, "gelu_erf")  # [R, I]
            ops.add_linear(ws, x, h, layer.down.weight, layer.down.bias)
    h = ops.layer_norm(ws, x, weights.last_norm.weight, weights.last_norm.bias, c.layer_norm_eps)
    h = shuffled(h[:-1], c.side, c.shuffle_size)  # [S²/m², m²·H]
    h = ops.linear(ws, h, weights.adapter_up, None, "gelu_erf")  # [S²/m², W]
    h = ops.linear(ws, h, weights.adapter_down, None, "gelu_erf")  # [S²/m², W]
    yield ops.linear(ws, h, weights.projector, None)  # [S²/m², T]


def patches(tile: Any, size: int) -> Any:
    """tile [3, height, width] → patches in raster order [patches, 3 · size · size]."""
    channels, height, width = tile.shape
    parts = tile.reshape(channels, height // size, size, width // size, size)
    return np.ascontiguousarray(parts.transpose(1, 3, 0, 2, 4)).reshape(-1, channels * size * size)


def shuffled(x: Any, side: int, merge: int) -> Any:
    """Patches in raster order [side², H] → each block of merge × merge joined, [side²/merge², merge²·H]."""
    blocks = x.reshape(side // merge, merge, side // merge, merge, x.shape[1])
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3, 4)).reshape((side // merge) ** 2, -1)


def patch_places(side: int) -> ops.Int64:
    """Column and row of each patch, from 1, and 0 of the class row, [R, 2]."""
    at = np.arange(side**2, dtype=np.int64)
    places = np.stack([at % side + 1, at // side + 1], axis=1)
    return np.concatenate([places, np.zeros((1, 2), np.int64)])
