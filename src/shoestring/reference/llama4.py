"""Llama 4 (text) in plain numpy float64, for one sequence. Slow; its bits may differ between machines.

Shares with the engine the structure and names of the weights (`Weights`, `build_weights`). A mistake there is invisible
to this reference; tests/parity compares with transformers.
"""

import numpy as np

from shoestring.checkpoint.config.types import Llama4Config
from shoestring.kv_types import KVType
from shoestring.models.llama4 import Attention, FeedForward, Mixture, Weights
from shoestring.reference import functions as f
from shoestring.reference.functions import Array, Ints, KeysValues, Observe, Stored
from shoestring.reference.loading import ReferenceExperts
from shoestring.reference.traps import Traps

LlamaWeights = Weights[Stored, Array]


State = list[KeysValues]


def new_state(c: Llama4Config, kv_type: KVType | None = None) -> State:
    """The state before the first token. kv_type: rounds keys and values."""
    return [KeysValues.empty(c.num_key_value_heads, c.head_dim, kv_type) for _ in range(c.num_hidden_layers)]


def forward(
    weights: LlamaWeights,
    experts: ReferenceExperts,
    state: State,
    tokens: Ints,
    index: Ints,
    rotary_positions: Ints,
    traps: Traps,
    observe: Observe | None = None,
) -> Array:
    """Tokens [R] at positions index [R] with rotary positions [R, 3] → hidden [R, H]; advances `state`.

    observe: called like the engine's (models/step.py), with float64.
    """
    c = weights.config
    x = weights.embedding[tokens].astype(np.float64)  # [R, H]
    for i, layer in enumerate(weights.layers):
        if observe is not None:
            observe(i, x)
        h = f.rms_norm(x, layer.input_norm, c.rms_norm_eps)  # [R, H]
        x = x + attention(weights, layer.attention, i, state[i], h, index, rotary_positions, traps)
        h = f.rms_norm(x, layer.post_norm, c.rms_norm_eps)  # [R, H]
        if isinstance(layer.mlp, Mixture):
            x = x + mixture(layer.mlp, c, experts, i, h, traps)
        else:
            x = x + feed_forward(layer.mlp, h)
    hidden = f.rms_norm(x, weights.norm, c.rms_norm_eps)  # [R, H]
    if observe is not None:
        observe(len(weights.layers), hidden)
    return hidden


def feed_forward(w: FeedForward[Stored], h: Array) -> Array:
    return f.linear(f.silu(f.linear(h, w.gate)) * f.linear(h, w.up), w.down)


def temperature(c: Llama4Config, index: Ints) -> Array:
    """The factor of the queries of layers without positions, [R]."""
    return np.asarray(1 + c.attn_scale * np.log(1 + np.floor((index + 1) / c.floor_scale)))


def first_visible(c: Llama4Config, layer: int, index: Ints, traps: Traps) -> Ints:
    """The first position that a query at each position sees, [R]."""
    if not c.chunked_layers[layer] or traps.chunk_ignored:
        return np.zeros_like(index)
    if traps.chunk_slides:
        return index - (c.attention_chunk_size - 1)
    return index // c.attention_chunk_size * c.attention_chunk_size


def attention(
    weights: LlamaWeights,
    w: Attention[Stored],
    layer: int,
    cache: KeysValues,
    h: Array,
    index: Ints,
    rotary_positions: Ints,
    traps: Traps,
) -> Array:
    """h [R, H] → [R, H]."""
    c = weights.config
    R, N, KV, D = len(h), c.num_attention_heads, c.num_key_value_heads, c.head_dim
    q = f.linear(h, w.query).reshape(R, N, D)
    k, v = f.linear(h, w.key).reshape(R, KV, D), f.linear(h, w.value).reshape(R, KV, D)
    if c.rope_layers[layer] != traps.no_rope_layers_inverted:
        q = f.rotate(q, rotary_positions, weights.rotary, interleaved=True, traps=traps)
        k = f.rotate(k, rotary_positions, weights.rotary, interleaved=True, traps=traps)
        if c.use_qk_norm:
            eps = c.rms_norm_eps if traps.query_key_norm_eps is None else traps.query_key_norm_eps
            q, k = f.rms_norm(q, 1.0, eps), f.rms_norm(k, 1.0, eps)
    elif c.attn_temperature_tuning and not traps.temperature_ignored:
        q = q * temperature(c, index)[:, None, None]
    cache.append(k, v, index)
    o = f.attention(q, cache, index, first_visible(c, layer, index, traps), D**-0.5)
    return f.linear(o.reshape(R, N * D), w.output)


def mixture(
    w: Mixture[Stored], c: Llama4Config, experts: ReferenceExperts, layer: int, h: Array, traps: Traps
) -> Array:
    """h [R, H] → [R, H]: the shared expert plus the chosen experts, whose input is multiplied by sigmoid(score)."""
    scores = f.linear(h, w.router)  # [R, E]
    ids = f.top_k(scores, c.num_experts_per_tok, traps)  # [R, k]
    factors = f.sigmoid(np.take_along_axis(scores, ids, axis=1))  # [R, k]
    out = feed_forward(w.shared, h)
    for expert in np.unique(ids):
        rows, slots = np.nonzero(ids == expert)
        w_expert, factor = FeedForward(*experts.fetch(layer, expert)), factors[rows, slots, None]
        if traps.sigmoid_scales_output:
            out[rows] += factor * feed_forward(w_expert, h[rows])
        else:
            out[rows] += feed_forward(w_expert, factor * h[rows])
    return out
