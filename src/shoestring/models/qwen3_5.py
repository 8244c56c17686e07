"""Qwen 3.5 (text): gated delta-net layers, and at intervals a gated full-attention layer; dense or mixture.

Weights, state layout and forward pass of the family, in this order. Reads no files and renames nothing.
Shapes: R rows of a step, r of a chunk of it, H hidden_size, V vocabulary, N/KV query/key-value heads of D dims,
K = key heads · key dim, W = value heads (VH) · value dim (VD), I feed-forward width, E experts, k experts a token. `M`
is the type of a matrix, `A` of an array: the kernels' here, numpy's in `reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.types import Qwen3_5Config
from shoestring.models.constants import RotaryConstants, inverse_square_root
from shoestring.models.experts import ExpertLayer, Experts
from shoestring.models.slices import by_chunks, chunks_of
from shoestring.models.state import AttentionPages, AttentionState, DeltaNetSlots, DeltaNetState, LayerState, State
from shoestring.models.step import Observe, Step

if TYPE_CHECKING:
    from shoestring._kernels import Matrix

M = TypeVar("M")
A = TypeVar("A")


# --- weights ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeltaNet(Generic[M, A]):
    """Gated delta rule: a memory of fixed size in place of keys and values."""

    qkv: M  # [2K+W, H]
    z: M  # [W, H]
    a: M  # [VH, H]
    b: M  # [VH, H]
    convolution: A  # [2K+W, width]
    decay: A  # [VH]
    dt_bias: A  # [VH]
    norm: A  # [VD]
    output: M  # [H, W]


@dataclass(frozen=True)
class Attention(Generic[M, A]):
    """Grouped-query attention with an output gate for each head."""

    query_gate: M  # [N·2·D, H]: a head's query rows, then its gate rows
    key: M  # [KV·D, H]
    value: M  # [KV·D, H]
    query_norm: A  # [D]
    key_norm: A  # [D]
    output: M  # [H, N·D]


@dataclass(frozen=True)
class FeedForward(Generic[M]):
    gate: M  # [I, H]
    up: M  # [I, H]
    down: M  # [H, I]


@dataclass(frozen=True)
class Mixture(Generic[M]):
    """The router and the shared expert; the routed experts come from `Experts`."""

    router: M  # [E, H]
    shared_gate: M  # [1, H]
    shared: FeedForward[M]


@dataclass(frozen=True)
class Layer(Generic[M, A]):
    input_norm: A  # [H]
    mixer: DeltaNet[M, A] | Attention[M, A]
    post_norm: A  # [H]
    mlp: FeedForward[M] | Mixture[M]


@dataclass(frozen=True)
class Weights(Generic[M, A]):
    config: Qwen3_5Config
    rotary: RotaryConstants
    attention_scale: float  # 1 / sqrt(D)
    key_head_index: ops.Int32  # [VH]: the key head that each value head reads
    embedding: M  # [V, H]
    layers: tuple[Layer[M, A], ...]
    norm: A  # [H]
    head: M  # [V, H]; the embedding itself where tied


def build_weights(
    config: Qwen3_5Config,
    matrix: Callable[[str, int, int], M],
    vector: Callable[..., A],
    rotary: RotaryConstants,
) -> Weights[M, A]:
    """All weights. `matrix(name, rows, columns)` and `vector(name, *shape)` return them by our names."""
    c = config
    H, D = c.hidden_size, c.head_dim
    N, KV = c.num_attention_heads, c.num_key_value_heads
    VH, VD = c.linear_num_value_heads, c.linear_value_head_dim
    K, W = c.linear_num_key_heads * c.linear_key_head_dim, VH * VD

    def feed_forward(name: str, I: int) -> FeedForward[M]:  # noqa: E741
        return FeedForward(
            gate=matrix(f"{name}.gate", I, H),
            up=matrix(f"{name}.up", I, H),
            down=matrix(f"{name}.down", H, I),
        )

    def delta_net(name: str) -> DeltaNet[M, A]:
        return DeltaNet(
            qkv=matrix(f"{name}.qkv", 2 * K + W, H),
            z=matrix(f"{name}.z", W, H),
            a=matrix(f"{name}.a", VH, H),
            b=matrix(f"{name}.b", VH, H),
            convolution=vector(f"{name}.convolution", 2 * K + W, c.linear_conv_kernel_dim),
            decay=vector(f"{name}.decay", VH),
            dt_bias=vector(f"{name}.dt_bias", VH),
            norm=vector(f"{name}.norm", VD),
            output=matrix(f"{name}.output", H, W),
        )

    def attention(name: str) -> Attention[M, A]:
        return Attention(
            query_gate=matrix(f"{name}.query_gate", N * 2 * D, H),
            key=matrix(f"{name}.key", KV * D, H),
            value=matrix(f"{name}.value", KV * D, H),
            query_norm=vector(f"{name}.query_norm", D),
            key_norm=vector(f"{name}.key_norm", D),
            output=matrix(f"{name}.output", H, N * D),
        )

    def mixture(name: str) -> Mixture[M]:
        return Mixture(
            router=matrix(f"{name}.router", c.num_experts, H),
            shared_gate=matrix(f"{name}.shared_gate", 1, H),
            shared=feed_forward(f"{name}.shared", c.shared_expert_intermediate_size),
        )

    embedding = matrix("embedding", c.vocab_size, H)
    layers = []
    for i, layer_type in enumerate(c.layer_types):
        name = f"layers.{i}"
        linear = layer_type == "linear_attention"
        layers.append(
            Layer(
                input_norm=vector(f"{name}.input_norm", H),
                mixer=delta_net(f"{name}.delta") if linear else attention(f"{name}.attention"),
                post_norm=vector(f"{name}.post_norm", H),
                mlp=mixture(name) if c.is_mixture else feed_forward(f"{name}.mlp", c.intermediate_size),
            )
        )
    norm = vector("norm", H)
    head = embedding if c.tie_word_embeddings else matrix("head", c.vocab_size, H)
    return Weights(config, rotary, inverse_square_root(D), key_head_index(c), embedding, tuple(layers), norm, head)


def expert_layers(config: Qwen3_5Config) -> tuple[ExpertLayer, ...]:
    """The layers with routed experts, and their shapes."""
    if not config.is_mixture:
        return ()
    return tuple(
        ExpertLayer(i, config.num_experts, config.moe_intermediate_size, config.hidden_size)
        for i in range(config.num_hidden_layers)
    )


# --- state -----------------------------------------------------------------------------------------------------


def state_layout(config: Qwen3_5Config) -> tuple[LayerState, ...]:
    """The state of a sequence in each layer."""
    c = config
    K, W = c.linear_num_key_heads * c.linear_key_head_dim, c.linear_num_value_heads * c.linear_value_head_dim
    linear = DeltaNetState(
        convolution=(2 * K + W, c.linear_conv_kernel_dim - 1),
        memory=(c.linear_num_value_heads, c.linear_key_head_dim, c.linear_value_head_dim),
    )
    full = AttentionState(c.num_key_value_heads, c.head_dim)
    return tuple(linear if layer_type == "linear_attention" else full for layer_type in c.layer_types)


def key_head_index(config: Qwen3_5Config) -> ops.Int32:
    """The key head that each value head reads, [VH]."""
    value_heads = np.arange(config.linear_num_value_heads, dtype=np.int32)
    if config.value_head_order == "tiled":
        return value_heads % config.linear_num_key_heads
    return value_heads // (config.linear_num_value_heads // config.linear_num_key_heads)


# --- forward ---------------------------------------------------------------------------------------------------

KernelWeights = Weights["Matrix", ops.Float32]


def layers(
    weights: KernelWeights,
    experts: Experts,
    state: State,
    step: Step,
    ws: ops.Workspace,
    observe: Observe | None = None,
) -> Iterator[ops.Float32]:
    """Compute a layer a turn. Yields x between two layers, and at the end the hidden state after the last norm, [R, H].

    Reads and writes `state`. All but the routed experts goes through a layer in chunks of r rows. The caller may
    suspend it as long as it likes, if `ws` is its own and no one else writes the step's pages and slots.
    """
    c, rotary = weights.config, weights.rotary
    x = ops.embed(ws, weights.embedding, step.token_ids)  # [R, H]
    if step.embeddings is not None:
        x[step.token_ids < 0] = step.embeddings
    cos, sin = ops.rotary_table(  # each [R, dims/2]
        ws, step.rotary_positions, rotary.frequencies, rotary.sections, rotary.factor
    )
    everything = np.zeros(len(x), dtype=np.int64)  # [R]: first visible positions
    chunks = chunks_of(step, x, cos, sin, everything)
    for i, (layer, cache) in enumerate(zip(weights.layers, state.layers, strict=True)):
        if i:
            yield x
        if observe is not None:
            observe(i, x)
        if isinstance(layer.mlp, Mixture) and experts.guesses(len(x)):
            with ws:
                experts.guess(i, route(layer.mlp, c, ws, ops.rms_norm(ws, x, layer.post_norm, c.rms_norm_eps))[0])
        for part, x_r, cos_r, sin_r, first in chunks:
            with ws:
                if isinstance(layer.mixer, DeltaNet):
                    assert isinstance(cache, DeltaNetSlots)
                    delta_net(weights, layer.mixer, layer.input_norm, cache, part, ws, x_r)  # [r, H]
                else:
                    assert isinstance(cache, AttentionPages)
                    table = part.global_pages
                    past = ops.Past(
                        cache.keys, cache.values, table.pages, table.first_page, part.span_starts, part.index, first
                    )
                    attention(weights, layer.mixer, layer.input_norm, past, ws, x_r, cos_r, sin_r)  # [r, H]
        if isinstance(layer.mlp, Mixture):
            with ws:
                h = ops.rms_norm(ws, x, layer.post_norm, c.rms_norm_eps)  # [R, H]
                routed, shared, shared_gate = mixture(layer.mlp, c, experts, i, ws, h)  # [R, H], [R, H], [R, 1]
                ops.add(x, routed)  # [R, H]
                ops.add_gated(x, shared, shared_gate)  # [R, H]
            continue
        w = layer.mlp
        for _, x_r, *_ in chunks:
            ops.add_feed_forward(ws, x_r, layer.post_norm, c.rms_norm_eps, w.gate, w.up, w.down)  # [r, H]
    hidden = ops.rms_norm(ws, x, weights.norm, c.rms_norm_eps)  # [R, H]
    if observe is not None:
        observe(len(weights.layers), hidden)
    yield hidden


def delta_net(
    weights: KernelWeights,
    w: DeltaNet[Matrix, ops.Float32],
    norm: ops.Float32,
    slots: DeltaNetSlots,
    step: Step,
    ws: ops.Workspace,
    x: ops.Float32,
) -> None:
    """x [r, H] += delta net of its norm. Reads and writes `slots`."""
    c = weights.config
    spans = (step.span_starts, step.read_slots, step.write_slots, step.snapshots)
    qkv, z, a, b = ops.norm_matmuls(  # [r, 2K+W], [r, W], [r, VH], [r, VH]
        ws, x, norm, c.rms_norm_eps, (w.qkv, w.z, w.a, w.b)
    )
    # The convolution, then a head's memory S, token by token: S ← g S + k δᵀ with δ = β (v − g Sᵀk), o = Sᵀq; its norm.
    o = ops.delta_net(  # [r, VH, VD]
        ws, qkv, z, a, b, w.convolution, w.decay, w.dt_bias, w.norm, c.rms_norm_eps,
        weights.key_head_index, c.linear_num_key_heads, slots.convolution, slots.memory, *spans,
    )  # fmt: skip
    ops.add_matmul(ws, x, o.reshape(z.shape), w.output)  # [r, H]


def attention(
    weights: KernelWeights,
    w: Attention[Matrix, ops.Float32],
    norm: ops.Float32,
    past: ops.Past,
    ws: ops.Workspace,
    x: ops.Float32,
    cos: ops.Float32,
    sin: ops.Float32,
) -> None:
    """x [r, H] += attention of its norm. Stores keys and values of the rows, then attends to the past."""
    c = weights.config
    r, N, KV, D = len(x), c.num_attention_heads, c.num_key_value_heads, c.head_dim
    query_gate, k, v = ops.norm_matmuls(  # [r, N·2·D], [r, KV·D], [r, KV·D]
        ws, x, norm, c.rms_norm_eps, (w.query_gate, w.key, w.value)
    )
    q, gate = ops.split_query_gate(ws, query_gate, N)  # each [r, N, D]
    q = ops.rms_norm(ws, q, w.query_norm, c.rms_norm_eps)  # [r, N, D]
    k = ops.rms_norm(ws, k.reshape(r, KV, D), w.key_norm, c.rms_norm_eps)  # [r, KV, D]
    ops.rotate(q, cos, sin, interleaved=False)
    ops.rotate(k, cos, sin, interleaved=False)
    ops.store_keys_values(past, k, v.reshape(r, KV, D))
    o = ops.attention(ws, q, past, weights.attention_scale)  # [r, N, D]
    ops.sigmoid_gate(o, gate)
    ops.add_matmul(ws, x, o.reshape(r, N * D), w.output)  # [r, H]


def route(w: Mixture[Matrix], c: Qwen3_5Config, ws: ops.Workspace, h: ops.Float32) -> tuple[ops.Int32, ops.Float32]:
    """h [r, H] → the experts of each row, the best first, and their weights, each [r, k]."""
    return ops.route_softmax(ws, ops.matmul(ws, h, w.router), c.num_experts_per_tok)  # each [r, k] of [r, E]


def mixture(
    w: Mixture[Matrix],
    c: Qwen3_5Config,
    experts: Experts,
    layer: int,
    ws: ops.Workspace,
    h: ops.Float32,
) -> tuple[ops.Float32, ops.Float32, ops.Float32]:
    """h [R, H] → routed experts [R, H], shared expert [R, H] and its gate [R, 1]; the caller adds them in order."""

    def choose(h: ops.Float32) -> tuple[ops.Int32, ops.Float32, ops.Float32]:
        scores, shared_gate = ops.matmuls(ws, h, (w.router, w.shared_gate))  # [r, E], [r, 1]
        return *ops.route_softmax(ws, scores, c.num_experts_per_tok), shared_gate  # 2 x [r, k], [r, 1]

    def share(h: ops.Float32) -> tuple[ops.Float32]:
        return (ops.feed_forward(ws, h, w.shared.gate, w.shared.up, w.shared.down),)  # [r, H]

    ids, weights, shared_gate = by_chunks(ws, h, choose)  # [R, k], [R, k], [R, 1]
    experts.request(layer, ids)
    (shared,) = by_chunks(ws, h, share)  # [R, H]
    routed = experts.apply(ws, layer, h, ids, weights, scale_input=False)  # [R, H]
    return routed, shared, shared_gate
