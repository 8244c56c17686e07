"""Llama 4's vision tower in plain numpy float64, for one tile. Slow; its bits may differ between machines.

Shares with the engine the structure and names of the weights. A mistake there is invisible to this reference;
tests/parity compares with transformers.
"""

import numpy as np

from shoestring.models.vision.blocks import Linear
from shoestring.models.vision.llama4_vision import Weights
from shoestring.reference import functions, vision_functions
from shoestring.reference.functions import Array, Stored
from shoestring.reference.vision_functions import NO_VISION_TRAPS, VisionTraps

LlamaTower = Weights[Stored, Array]


def forward(weights: LlamaTower, tile: Array, traps: VisionTraps = NO_VISION_TRAPS) -> Array:
    """A tile [3, height, width] → rows of the text model [S²/m², T]."""
    c, f = weights.config, vision_functions
    side, p, N = c.side, c.patch_size, c.num_attention_heads
    R, D = side**2 + 1, c.hidden_size // N
    gelu = f.gelu_tanh if traps.tanh_everywhere else f.gelu_erf
    places = f.raster_places(side, side)  # [S², 2]
    pixels = [tile[:, y * p : (y + 1) * p, x * p : (x + 1) * p].reshape(-1) for y, x in places]
    first, second = (places + 1)[:, ::-1].T if not traps.axes_swapped else (places + 1).T
    angles = np.concatenate([first[:, None] * weights.frequencies, second[:, None] * weights.frequencies], axis=1)
    rows = [functions.linear(np.array(pixels), weights.patch), weights.class_row[None]]
    turns = [angles, np.zeros((1, D // 2))]
    if traps.class_row_first:
        rows, turns = rows[::-1], turns[::-1]
    x = np.concatenate(rows) + weights.positions
    angles = np.concatenate(turns)
    x = f.layer_norm(x, weights.first_norm.weight, weights.first_norm.bias, c.layer_norm_eps)
    for layer in weights.layers:
        h = f.layer_norm(x, layer.input_norm.weight, layer.input_norm.bias, c.layer_norm_eps)
        q, k, v = (linear(h, w).reshape(R, N, D) for w in (layer.query, layer.key, layer.value))
        q, k = (f.rotate(part, angles, interleaved=not traps.rotary_pairs_swapped) for part in (q, k))
        x = x + linear(f.attention(q, k, v, D**-0.5).reshape(R, N * D), layer.output)
        h = f.layer_norm(x, layer.post_norm.weight, layer.post_norm.bias, c.layer_norm_eps)
        x = x + linear(gelu(linear(h, layer.up)), layer.down)
    x = f.layer_norm(x, weights.last_norm.weight, weights.last_norm.bias, c.layer_norm_eps)
    x = x[1:] if traps.class_row_first else x[:-1]
    m = c.shuffle_size
    blocks = [
        np.concatenate([x[(m * i + y) * side + m * j + z] for y in range(m) for z in range(m)])
        for i in range(side // m)
        for j in range(side // m)
    ]
    h = gelu(functions.linear(np.array(blocks), weights.adapter_up))
    return functions.linear(gelu(functions.linear(h, weights.adapter_down)), weights.projector)


def linear(x: Array, w: Linear[Stored, Array]) -> Array:
    return functions.linear(x, w.weight) + w.bias
