"""Qwen 3.5's vision tower: patches of a picture, or of a pair of frames, to rows of the text model.

Weights and forward pass, in this order. Reads no files and renames nothing. The processor that makes the patches is
`media/qwen3_5.py`. Shapes: R patches of a part, r of a chunk, H hidden_size, N heads of D dims, I feed-forward width,
P numbers of a patch, m² patches a token, T the text model's hidden_size. `M` is the type of a matrix, `A` of an array:
the kernels' here, numpy's in `reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.vision_types import Qwen3_5VisionConfig
from shoestring.media.qwen3_5 import Grid
from shoestring.models.constants import inverse_square_root
from shoestring.models.slices import row_slices
from shoestring.models.vision.blocks import Layer, Linear, Norm, encoder_layers, linear, norm

if TYPE_CHECKING:
    from shoestring._kernels import Matrix  # noqa: F401

M = TypeVar("M")
A = TypeVar("A")


# --- weights ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights(Generic[M, A]):
    config: Qwen3_5VisionConfig
    frequencies: ops.Float64  # [D/4]
    attention_scale: float  # 1 / sqrt(D)
    patch: Linear[M, A]  # [H, P]
    positions: A  # [side · side, H]
    layers: tuple[Layer[M, A], ...]
    merger_norm: Norm[A]  # [H]: of each patch, before they are joined
    merger_up: Linear[M, A]  # [m²·H, m²·H]
    merger_down: Linear[M, A]  # [T, m²·H]


def build_weights(
    config: Qwen3_5VisionConfig,
    matrix: Callable[[str, int, int], M],
    vector: Callable[..., A],
    frequencies: Callable[[int, float], ops.Float64],
) -> Weights[M, A]:
    """All weights. `matrix(name, rows, columns)` and `vector(name, *shape)` return them by our names.

    frequencies(dims, theta): theta^(−2i/dims), [dims/2].
    """
    c = config
    H = c.hidden_size
    D, joined = H // c.num_attention_heads, c.spatial_merge_size**2 * H

    patch = linear(matrix, vector, "patch", H, c.patch_values)
    positions = vector("positions", c.num_position_embeddings, H)
    layers = encoder_layers(matrix, vector, c.num_hidden_layers, H, c.intermediate_size)
    return Weights(
        c,
        frequencies(D // 2, c.rope_theta),
        inverse_square_root(D),
        patch,
        positions,
        layers,
        norm(vector, "merger_norm", H),
        linear(matrix, vector, "merger_up", joined, joined),
        linear(matrix, vector, "merger_down", c.out_hidden_size, joined),
    )


# --- forward ---------------------------------------------------------------------------------------------------

KernelWeights = Weights["Matrix", ops.Float32]


def layers(weights: KernelWeights, pixels: ops.Float32, grid: Grid, ws: ops.Workspace) -> Iterator[ops.Float32]:
    """Compute a layer a turn. Yields x between two layers, and at the end the part's rows of the text model [R/m², T].

    pixels [R, P]: the patches of a picture, or of one pair of frames, by merge block. grid: their rows and columns. All
    but attention goes through a layer in chunks of r rows. The caller may suspend it, if `ws` is its own.
    """
    c = weights.config
    H, N = c.hidden_size, c.num_attention_heads
    R, D = len(pixels), H // N
    x = ops.linear(ws, pixels, weights.patch.weight, weights.patch.bias)  # [R, H]
    ops.add_grid_positions(x, weights.positions, grid.rows, grid.columns, c.spatial_merge_size)
    # A head's dims follow y, then x; dim j turns with dim j + D/2.
    frequencies = np.concatenate([weights.frequencies, weights.frequencies])  # [D/2]
    sections = np.repeat(np.arange(2, dtype=np.int32), D // 4)
    places = patch_places(grid, c.spatial_merge_size)  # [R, 2]
    cos, sin = ops.rotary_table(ws, places, frequencies, sections, 1.0)  # each [R, D/2]
    q, k, v = ws.floats(R, N, D), ws.floats(R, N, D), ws.floats(R, N, D)
    chunks = row_slices(R)
    for i, layer in enumerate(weights.layers):
        if i:
            yield x
        for rows in chunks:
            with ws:
                h = ops.layer_norm(ws, x[rows], layer.input_norm.weight, layer.input_norm.bias, c.layer_norm_eps)
                for to, w in ((q, layer.query), (k, layer.key), (v, layer.value)):
                    to[rows] = ops.linear(ws, h, w.weight, w.bias).reshape(-1, N, D)
        ops.rotate(q, cos, sin, interleaved=False)
        ops.rotate(k, cos, sin, interleaved=False)
        with ws:
            o = ops.part_attention(ws, q, k, v, weights.attention_scale).reshape(R, H)
            for rows in chunks:
                ops.add_linear(ws, x[rows], o[rows], layer.output.weight, layer.output.bias)  # [r, H]
        for rows in chunks:
            with ws:
                h = ops.layer_norm(ws, x[rows], layer.post_norm.weight, layer.post_norm.bias, c.layer_norm_eps)
                h = ops.linear(ws, h, layer.up.weight, layer.up.bias, "gelu_tanh")  # [r, I]
                ops.add_linear(ws, x[rows], h, layer.down.weight, layer.down.bias)  # [r, H]
    yield merged(weights, x, ws)


def merged(weights: KernelWeights, x: ops.Float32, ws: ops.Workspace) -> ops.Float32:
    """x [R, H] → [R/m², T]: each block of m² patches, normed one by one and joined, is one row of the text model."""
    c = weights.config
    out = ws.floats(len(x) // c.spatial_merge_size**2, c.out_hidden_size)
    for rows in row_slices(len(out)):
        with ws:
            patches = x[rows.start * c.spatial_merge_size**2 : rows.stop * c.spatial_merge_size**2]
            h = ops.layer_norm(ws, patches, weights.merger_norm.weight, weights.merger_norm.bias, c.layer_norm_eps)
            h = h.reshape(rows.stop - rows.start, -1)  # [r, m²·H]
            h = ops.linear(ws, h, weights.merger_up.weight, weights.merger_up.bias, "gelu_erf")
            out[rows] = ops.linear(ws, h, weights.merger_down.weight, weights.merger_down.bias)
    return out


def patch_places(grid: Grid, merge: int) -> ops.Int64:
    """Row and column of each patch, in the order of the patches: by block, [R, 2]."""
    at = np.arange(grid.rows * grid.columns, dtype=np.int64)
    block, inside = at // merge**2, at % merge**2
    blocks = grid.columns // merge
    rows = block // blocks * merge + inside // merge
    columns = block % blocks * merge + inside % merge
    return np.stack([rows, columns], axis=1)
