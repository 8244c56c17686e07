"""Ops along a sequence: keys and values in pages, attention, convolution, the gated delta rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.extension import Array, Float32, Int32, Int64
from shoestring.ops.workspace import Workspace

if TYPE_CHECKING:
    from shoestring import _kernels
else:
    _kernels = extension.Unloaded(globals())


def store_keys_values(
    keys: Array,
    values: Array,
    k: Float32,
    v: Float32,
    pages: Int32,
    first_page: Int64,
    span_starts: Int32,
    index: Int64,
) -> None:
    """Rounds k, v [rows, kv_heads, D] to the pools' type and stores them at their positions (step.PageTable)."""
    _kernels.store_keys_values(keys, values, k, v, pages, first_page, span_starts, index)


def attention(
    ws: Workspace,
    q: Float32,
    keys: Array,
    values: Array,
    pages: Int32,
    first_page: Int64,
    span_starts: Int32,
    index: Int64,
    first_visible: Int64,
    scale: float,
) -> Float32:
    """softmax(scale · q · kᵀ) v over positions first_visible[r] … index[r]; q [rows, heads, D] → the same.

    Query head h reads key-value head h // (heads / kv_heads).
    """
    out = ws.floats(*q.shape)
    _kernels.attention(q, keys, values, pages, first_page, span_starts, index, first_visible, scale, out)
    return out


def causal_convolution(
    ws: Workspace,
    x: Float32,
    weight: Float32,
    slots: Array,
    span_starts: Int32,
    read_slots: Int32,
    write_slots: Int32,
    snapshots: Int32,
) -> Float32:
    """silu of the depthwise causal convolution of x [rows, channels] with weight [channels, width].

    The width − 1 inputs before a span come from slots[read_slots[s]] (−1: zeros); those before the next
    are written to slots[write_slots[s]], and after each (row, slot) of snapshots also to that slot.
    """
    out = ws.floats(*x.shape)
    _kernels.causal_convolution(x, weight, slots, span_starts, read_slots, write_slots, snapshots, out)
    return out


def delta_rule(
    ws: Workspace,
    qkv: Float32,
    a: Float32,
    b: Float32,
    decay: Float32,
    dt_bias: Float32,
    key_head_index: Int32,
    num_key_heads: int,
    slots: Array,
    span_starts: Int32,
    read_slots: Int32,
    write_slots: Int32,
    snapshots: Int32,
) -> Float32:
    """Gated delta rule (arXiv 2412.06464), token by token → [rows, value_heads, value_dim].

    qkv [rows, 2·key_heads·key_dim + value_heads·value_dim] after the convolution; q, k are L2-normed
    (x · rsqrt(Σx² + 1e-6)), q / sqrt(key_dim); g = decay · softplus(a + dt_bias); beta = sigmoid(b);
    S ← S·exp(g); δ = beta (v − Sᵀk); S ← S + k δᵀ; o = Sᵀq. Slots as in causal_convolution.
    """
    out = ws.floats(len(qkv), slots.shape[1], slots.shape[3])
    spans = (span_starts, read_slots, write_slots, snapshots)
    _kernels.delta_rule(qkv, a, b, decay, dt_bias, key_head_index, num_key_heads, slots, *spans, out)
    return out
