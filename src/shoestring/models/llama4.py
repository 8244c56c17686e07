"""Llama 4 (text): chunked attention with rotary positions, and at intervals a global layer without positions.

Weights, state layout and forward pass of the family, in this order. Reads no files and renames nothing.
Shapes: R rows of a step, r of a chunk of it, H hidden_size, V vocabulary, N/KV query/key-value heads of D dims,
I feed-forward width, E experts, k experts a token. `M` is the type of a matrix, `A` of an array: the kernels' here,
numpy's in `reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.types import Llama4Config
from shoestring.models.constants import RotaryConstants, inverse_square_root
from shoestring.models.experts import ExpertLayer, Experts
from shoestring.models.slices import by_chunks, chunks_of
from shoestring.models.state import AttentionPages, AttentionState, LayerState, State
from shoestring.models.step import Observe, Step

if TYPE_CHECKING:
    from shoestring._kernels import Matrix

M = TypeVar("M")
A = TypeVar("A")


# --- weights ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attention(Generic[M]):
    query: M  # [N·D, H]
    key: M  # [KV·D, H]
    value: M  # [KV·D, H]
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
    shared: FeedForward[M]


@dataclass(frozen=True)
class Layer(Generic[M, A]):
    input_norm: A  # [H]
    attention: Attention[M]
    post_norm: A  # [H]
    mlp: FeedForward[M] | Mixture[M]


@dataclass(frozen=True)
class Weights(Generic[M, A]):
    config: Llama4Config
    rotary: RotaryConstants
    attention_scale: float  # 1 / sqrt(D)
    embedding: M  # [V, H]
    layers: tuple[Layer[M, A], ...]
    norm: A  # [H]
    head: M  # [V, H]; the embedding itself where tied


def build_weights(
    config: Llama4Config,
    matrix: Callable[[str, int, int], M],
    vector: Callable[..., A],
    rotary: RotaryConstants,
) -> Weights[M, A]:
    """All weights. `matrix(name, rows, columns)` and `vector(name, *shape)` return them by our names."""
    c = config
    H, D, N, KV = c.hidden_size, c.head_dim, c.num_attention_heads, c.num_key_value_heads

    def feed_forward(name: str, I: int) -> FeedForward[M]:  # noqa: E741
        return FeedForward(
            gate=matrix(f"{name}.gate", I, H),
            up=matrix(f"{name}.up", I, H),
            down=matrix(f"{name}.down", H, I),
        )

    def attention(name: str) -> Attention[M]:
        return Attention(
            query=matrix(f"{name}.query", N * D, H),
            key=matrix(f"{name}.key", KV * D, H),
            value=matrix(f"{name}.value", KV * D, H),
            output=matrix(f"{name}.output", H, N * D),
        )

    def mixture(name: str) -> Mixture[M]:
        return Mixture(
            router=matrix(f"{name}.router", c.num_local_experts, H),
            shared=feed_forward(f"{name}.shared", c.intermediate_size),
        )

    embedding = matrix("embedding", c.vocab_size, H)
    layers = []
    for i, is_mixture in enumerate(c.moe_layers):
        name = f"layers.{i}"
        layers.append(
            Layer(
                input_norm=vector(f"{name}.input_norm", H),
                attention=attention(f"{name}.attention"),
                post_norm=vector(f"{name}.post_norm", H),
                mlp=mixture(name) if is_mixture else feed_forward(f"{name}.mlp", c.intermediate_size_mlp),
            )
        )
    norm = vector("norm", H)
    head = embedding if c.tie_word_embeddings else matrix("head", c.vocab_size, H)
    return Weights(config, rotary, inverse_square_root(D), embedding, tuple(layers), norm, head)


def expert_layers(config: Llama4Config) -> tuple[ExpertLayer, ...]:
    """The layers with routed experts, and their shapes."""
    return tuple(
        ExpertLayer(i, config.num_local_experts, config.intermediate_size, config.hidden_size)
        for i, is_mixture in enumerate(config.moe_layers)
        if is_mixture
    )


# --- state -----------------------------------------------------------------------------------------------------


def state_layout(config: Llama4Config) -> tuple[LayerState, ...]:
    """The state of a sequence in each layer."""
    return tuple(
        AttentionState(
            config.num_key_value_heads, config.head_dim, chunk_size=config.attention_chunk_size if chunked else 0
        )
        for chunked in config.chunked_layers
    )


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
    cos, sin = ops.rotary_table(  # each [R, D/2]
        ws, step.rotary_positions, rotary.frequencies, rotary.sections, rotary.factor
    )
    temperature = ops.attention_temperature(ws, step.index, c.floor_scale, c.attn_scale)  # [R]
    everything = np.zeros(len(x), dtype=np.int64)  # [R]: first visible positions
    own_chunk = step.index - step.index % c.attention_chunk_size  # [R]
    chunks = chunks_of(step, x, cos, sin, temperature, everything, own_chunk)
    for i, (layer, pool) in enumerate(zip(weights.layers, state.layers, strict=True)):
        if i:
            yield x
        if observe is not None:
            observe(i, x)
        if isinstance(layer.mlp, Mixture) and experts.guesses(len(x)):
            with ws:
                experts.guess(i, route(layer.mlp, c, ws, ops.rms_norm(ws, x, layer.post_norm, c.rms_norm_eps))[0])
        assert isinstance(pool, AttentionPages)
        for part, x_r, cos_r, sin_r, temperature_r, everything_r, own_chunk_r in chunks:
            with ws:
                if c.chunked_layers[i]:
                    table, first = part.chunk_pages, own_chunk_r
                else:
                    table, first = part.global_pages, everything_r
                past = ops.Past(
                    pool.keys, pool.values, table.pages, table.first_page, part.span_starts, part.index, first
                )
                attention(weights, layer, i, past, ws, x_r, cos_r, sin_r, temperature_r)  # [r, H]
        if isinstance(layer.mlp, Mixture):
            with ws:
                h = ops.rms_norm(ws, x, layer.post_norm, c.rms_norm_eps)  # [R, H]
                routed, shared = mixture(layer.mlp, c, experts, i, ws, h)  # each [R, H]
                ops.add(x, routed)  # [R, H]
                ops.add(x, shared)  # [R, H]
            continue
        w = layer.mlp
        for _, x_r, *_ in chunks:
            ops.add_feed_forward(ws, x_r, layer.post_norm, c.rms_norm_eps, w.gate, w.up, w.down)  # [r, H]
    hidden = ops.rms_norm(ws, x, weights.norm, c.rms_norm_eps)  # [R, H]
    if observe is not None:
        observe(len(weights.layers), hidden)
    yield hidden


def attention(
    weights: KernelWeights,
    layer: Layer[Matrix, ops.Float32],
    number: int,
    past: ops.Past,
    ws: ops.Workspace,
    x: ops.Float32,
    cos: ops.Float32,
    sin: ops.Float32,
    temperature: ops.Float32,
) -> None:
    """x [r, H] += attention of its norm. Stores keys and values of the rows, then attends to the past."""
    c, w = weights.config, layer.attention
    r, N, KV, D = len(x), c.num_attention_heads, c.num_key_value_heads, c.head_dim
    q, k, v = ops.norm_matmuls(  # [r, N·D], [r, KV·D], [r, KV·D]
        ws, x, layer.input_norm, c.rms_norm_eps, (w.query, w.key, w.value)
    )
    q, k, v = q.reshape(r, N, D), k.reshape(r, KV, D), v.reshape(r, KV, D)
    if c.rope_layers[number]:
        ops.rotate(q, cos, sin, interleaved=True)
        ops.rotate(k, cos, sin, interleaved=True)
        if c.use_qk_norm:
            q = ops.rms_norm(ws, q, None, c.rms_norm_eps)  # [r, N, D]
            k = ops.rms_norm(ws, k, None, c.rms_norm_eps)  # [r, KV, D]
    elif c.attn_temperature_tuning:
        ops.scale_rows(q, temperature)
    ops.store_keys_values(past, k, v)
    o = ops.attention(ws, q, past, weights.attention_scale)  # [r, N, D]
    ops.add_matmul(ws, x, o.reshape(r, N * D), w.output)  # [r, H]


def route(w: Mixture[Matrix], c: Llama4Config, ws: ops.Workspace, h: ops.Float32) -> tuple[ops.Int32, ops.Float32]:
    """h [r, H] → the experts of each row, the best first, and their weights, each [r, k]."""
    return ops.route_sigmoid(ws, ops.matmul(ws, h, w.router), c.num_experts_per_tok)  # each [r, k] of [r, E]


def mixture(
    w: Mixture[Matrix],
    c: Llama4Config,
    experts: Experts,
    layer: int,
    ws: ops.Workspace,
    h: ops.Float32,
) -> tuple[ops.Float32, ops.Float32]:
    """h [R, H] → routed experts and shared expert, each [R, H]; the caller adds them in this order.

    A router's weight scales its expert's input.
    """

    def share(h: ops.Float32) -> tuple[ops.Float32]:
        return (ops.feed_forward(ws, h, w.shared.gate, w.shared.up, w.shared.down),)  # [r, H]

    ids, weights = by_chunks(ws, h, lambda h: route(w, c, ws, h))  # each [R, k]
    experts.request(layer, ids)
    (shared,) = by_chunks(ws, h, share)  # [R, H]
    routed = experts.apply(ws, layer, h, ids, weights, scale_input=True)  # [R, H]
    return routed, shared
