"""Qwen 3.5's vision tower in plain numpy float64, for one part. Slow; its bits may differ between machines.

Shares with the engine the structure and names of the weights. A mistake there is invisible to this reference;
tests/parity compares with transformers.
"""

import numpy as np

from shoestring.models.vision.blocks import Linear
from shoestring.models.vision.qwen3_5_vision import Weights
from shoestring.reference import functions, vision_functions
from shoestring.reference.functions import Array, Ints, Stored
from shoestring.reference.vision_functions import NO_VISION_TRAPS, VisionTraps

QwenTower = Weights[Stored, Array]


def forward(weights: QwenTower, pixels: Array, rows: int, columns: int, traps: VisionTraps = NO_VISION_TRAPS) -> Array:
    """Patches [R, P] of rows × columns, by merge block → rows of the text model [R/m², T]."""
    c, f = weights.config, vision_functions
    R, N = len(pixels), c.num_attention_heads
    D = c.hidden_size // N
    places = (
        f.raster_places(rows, columns) if traps.raster_order else f.block_places(rows, columns, c.spatial_merge_size)
    )
    x = linear(pixels, weights.patch) + learned_positions(weights.positions, places, rows, columns, traps)
    angles = rotary_angles(places // c.spatial_merge_size if traps.merged_coordinates else places, weights, traps)
    for layer in weights.layers:
        h = f.layer_norm(x, layer.input_norm.weight, layer.input_norm.bias, c.layer_norm_eps)
        q, k, v = (linear(h, w).reshape(R, N, D) for w in (layer.query, layer.key, layer.value))
        q, k = (f.rotate(side, angles, interleaved=traps.rotary_pairs_swapped) for side in (q, k))
        x = x + linear(f.attention(q, k, v, D**-0.5).reshape(R, N * D), layer.output)
        h = f.layer_norm(x, layer.post_norm.weight, layer.post_norm.bias, c.layer_norm_eps)
        x = x + linear(f.gelu_tanh(linear(h, layer.up)), layer.down)
    joined = c.spatial_merge_size**2 * c.hidden_size
    weight, bias = weights.merger_norm.weight, weights.merger_norm.bias
    if traps.norm_after_join:
        times = c.spatial_merge_size**2
        x, weight, bias = x.reshape(-1, joined), np.tile(weight, times), np.tile(bias, times)
    h = f.layer_norm(x, weight, bias, c.layer_norm_eps).reshape(-1, joined)
    gelu = f.gelu_tanh if traps.tanh_everywhere else f.gelu_erf
    return linear(gelu(linear(h, weights.merger_up)), weights.merger_down)


def linear(x: Array, w: Linear[Stored, Array]) -> Array:
    return functions.linear(x, w.weight) + w.bias


def rotary_angles(places: Ints, weights: QwenTower, traps: VisionTraps) -> Array:
    """Angles of each patch [R, D/2]: of its row, then of its column."""
    first, second = places.T[::-1] if traps.axes_swapped else places.T
    return np.concatenate([first[:, None] * weights.frequencies, second[:, None] * weights.frequencies], axis=1)


def learned_positions(table: Array, places: Ints, rows: int, columns: int, traps: VisionTraps) -> Array:
    """The table [side², H] between its rows and columns, for each patch [R, H]."""
    side = round(len(table) ** 0.5)
    grid = table.reshape(side, side, -1)

    def between(at: Ints, count: int) -> tuple[Ints, Ints, Array]:
        if traps.half_pixel_positions:
            exact = np.clip((at + 0.5) * side / count - 0.5, 0, side - 1)
        else:
            exact = at * (side - 1) / (count - 1)
        low = np.minimum(exact.astype(np.int64), side - 1)
        return low, np.minimum(low + 1, side - 1), (exact - low)[:, None]

    top, bottom, y = between(places[:, 0], rows)
    left, right, x = between(places[:, 1], columns)
    above = grid[top, left] * (1 - x) + grid[top, right] * x
    below = grid[bottom, left] * (1 - x) + grid[bottom, right] * x
    return np.asarray(above * (1 - y) + below * y)
