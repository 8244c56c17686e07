"""Qwen 3.5 (text) in plain numpy float64, for one sequence. Slow; its bits may differ between machines.

Shares with the engine: the structure and names of the weights (`Weights`, `build_weights`), `key_head_index` and the
rotary sections. A mistake there is invisible to this reference; tests/parity compares with transformers.
"""

from dataclasses import dataclass

import numpy as np

from shoestring.checkpoint.config.types import Qwen3_5Config
from shoestring.kv_types import KVType
from shoestring.models.qwen3_5 import Attention, DeltaNet, FeedForward, Mixture, Weights, key_head_index
from shoestring.reference import functions as f
from shoestring.reference.functions import Array, Ints, KeysValues, Observe, Stored
from shoestring.reference.loading import ReferenceExperts
from shoestring.reference.traps import Traps

QwenWeights = Weights[Stored, Array]


@dataclass
class Memory:
    """State of a delta-net layer."""

    convolution: Array  # [width - 1, 2K+W], oldest input first
    memory: Array  # [VH, KD, VD]


State = list[KeysValues | Memory]


def new_state(c: Qwen3_5Config, kv_type: KVType | None = None) -> State:
    """The state before the first token. kv_type: rounds keys and values."""
    K, W = c.linear_num_key_heads * c.linear_key_head_dim, c.linear_num_value_heads * c.linear_value_head_dim
    memory = (c.linear_num_value_heads, c.linear_key_head_dim, c.linear_value_head_dim)
    return [
        Memory(np.zeros((c.linear_conv_kernel_dim - 1, 2 * K + W)), np.zeros(memory))
        if layer_type == "linear_attention"
        else KeysValues.empty(c.num_key_value_heads, c.head_dim, kv_type)
        for layer_type in c.layer_types
    ]


def forward(
    weights: QwenWeights,
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
        h = f.rms_norm(x, plus_one(layer.input_norm, traps), c.rms_norm_eps)  # [R, H]
        cache = state[i]
        if isinstance(layer.mixer, DeltaNet):
            assert isinstance(cache, Memory)
            x = x + delta_net(layer.mixer, c, cache, h, traps)
        else:
            assert isinstance(cache, KeysValues)
            x = x + attention(weights, layer.mixer, cache, h, index, rotary_positions, traps)
        h = f.rms_norm(x, plus_one(layer.post_norm, traps), c.rms_norm_eps)  # [R, H]
        if isinstance(layer.mlp, Mixture):
            x = x + mixture(layer.mlp, c, experts, i, h, traps)
        else:
            x = x + feed_forward(layer.mlp, h)
    hidden = f.rms_norm(x, plus_one(weights.norm, traps), c.rms_norm_eps)  # [R, H]
    if observe is not None:
        observe(len(weights.layers), hidden)
    return hidden


def plus_one(weight: Array, traps: Traps) -> Array:
    """The norm's weight, which is 1 + w already; the trap adds 1 again or subtracts it."""
    return weight + {"once": 0, "twice": 1, "never": -1}[traps.norm_plus_one]


def feed_forward(w: FeedForward[Stored], h: Array) -> Array:
    return f.linear(f.silu(f.linear(h, w.gate)) * f.linear(h, w.up), w.down)


def delta_net(w: DeltaNet[Stored, Array], c: Qwen3_5Config, cache: Memory, h: Array, traps: Traps) -> Array:
    """h [R, H] → [R, H]."""
    R, KH, KD = len(h), c.linear_num_key_heads, c.linear_key_head_dim
    VH, VD = c.linear_num_value_heads, c.linear_value_head_dim
    qkv, cache.convolution = f.causal_convolution(f.linear(h, w.qkv), w.convolution, cache.convolution)
    q, k, v = np.split(qkv, [KH * KD, 2 * KH * KD], axis=1)
    source = key_head_index(c)
    if traps.value_heads_swapped:
        heads = np.arange(VH, dtype=np.int32)
        source = heads // (VH // KH) if c.value_head_order == "tiled" else heads % KH
    q, k, v = q.reshape(R, KH, KD)[:, source], k.reshape(R, KH, KD)[:, source], v.reshape(R, VH, VD)
    g = w.decay * f.softplus(f.linear(h, w.a) + w.dt_bias)  # [R, VH]
    beta = f.sigmoid(f.linear(h, w.b))  # [R, VH]
    o, cache.memory = f.delta_rule(q, k, v, g, beta, cache.memory, traps)  # [R, VH, VD]
    z = f.linear(h, w.z).reshape(R, VH, VD)
    o = f.rms_norm(o, w.norm + (1 if traps.gated_norm_plus_one else 0), c.rms_norm_eps) * f.silu(z)
    return f.linear(o.reshape(R, VH * VD), w.output)


def attention(
    weights: QwenWeights,
    w: Attention[Stored, Array],
    cache: KeysValues,
    h: Array,
    index: Ints,
    rotary_positions: Ints,
    traps: Traps,
) -> Array:
    """h [R, H] → [R, H]."""
    c = weights.config
    R, N, KV, D = len(h), c.num_attention_heads, c.num_key_value_heads, c.head_dim
    query_gate = f.linear(h, w.query_gate)  # [R, N·2·D]
    if traps.query_gate_halves:
        q, gate = query_gate.reshape(R, 2, N, D).transpose(1, 0, 2, 3)
    else:
        q, gate = query_gate.reshape(R, N, 2, D).transpose(2, 0, 1, 3)
    k, v = f.linear(h, w.key).reshape(R, KV, D), f.linear(h, w.value).reshape(R, KV, D)
    eps = c.rms_norm_eps if traps.query_key_norm_eps is None else traps.query_key_norm_eps
    q = f.rms_norm(q, plus_one(w.query_norm, traps), eps)
    k = f.rms_norm(k, plus_one(w.key_norm, traps), eps)
    q = f.rotate(q, rotary_positions, weights.rotary, interleaved=False, traps=traps)
    k = f.rotate(k, rotary_positions, weights.rotary, interleaved=False, traps=traps)
    cache.append(k, v, index)
    everything = np.zeros(R, np.int64)
    o = f.attention(q, cache, index, everything, D**-0.5) * f.sigmoid(gate)
    return f.linear(o.reshape(R, N * D), w.output)


def mixture(
    w: Mixture[Stored], c: Qwen3_5Config, experts: ReferenceExperts, layer: int, h: Array, traps: Traps
) -> Array:
    """h [R, H] → [R, H]: the weighted sum of the chosen experts plus the gated shared expert."""
    probabilities = f.softmax(f.linear(h, w.router))  # [R, E]
    ids = f.top_k(probabilities, c.num_experts_per_tok, traps)  # [R, k]
    shares = np.take_along_axis(probabilities, ids, axis=1)  # [R, k]
    if not traps.router_not_renormalised:
        shares = shares / shares.sum(axis=1, keepdims=True)
    shared_gate = np.ones((len(h), 1)) if traps.shared_expert_ungated else f.sigmoid(f.linear(h, w.shared_gate))
    out = shared_gate * feed_forward(w.shared, h)
    for expert in np.unique(ids):
        rows, slots = np.nonzero(ids == expert)
        out[rows] += shares[rows, slots, None] * feed_forward(FeedForward(*experts.fetch(layer, expert)), h[rows])
    return out
