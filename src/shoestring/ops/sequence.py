"""Ops along a sequence: keys and values in pages, attention, convolution, the gated delta rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.extension import Array, Float32, Int32, Int64
from shoestring.ops.workspace import Workspace

if TYPE_CHECKING:
    from shoestring import _kernels
else:
    _kernels = extension.Unloaded(globals())


@dataclass(frozen=True, slots=True)
class Past:
    """Keys and values of one layer, and the positions that the rows of a step see.

    Position p of span s lies in page `pages[s, p // PAGE_TOKENS - first_page[s]]` at p % PAGE_TOKENS.
    """

    keys: Array  # [pages, kv_heads, D, PAGE_TOKENS] float16 or float32; int8: q8_0 (models/state.py)
    values: Array  # [pages, kv_heads, PAGE_TOKENS, D], like keys
    pages: Int32  # [spans, entries]
    first_page: Int64  # [spans]
    span_starts: Int32  # [spans + 1]
    index: Int64  # [rows]: each row's position, the last one that it sees
    first_visible: Int64  # [rows]: the first position that it sees


def store_keys_values(past: Past, k: Float32, v: Float32) -> None:
    """Round k, v [rows, kv_heads, D] to the pages' type and store them at the rows' positions."""
    p = past
    _kernels.store_keys_values(p.keys, p.values, k, v, p.pages, p.first_page, p.span_starts, p.index)


def attention(ws: Workspace, q: Float32, past: Past, scale: float) -> Float32:
    """softmax(scale · q · kᵀ) v over the positions that each row sees; q [rows, heads, D] → [rows, heads, D].

    Query head h reads key-value head h // (heads / kv_heads).
    """
    p, out = past, ws.floats(*q.shape)
    _kernels.attention(q, p.keys, p.values, p.pages, p.first_page, p.span_starts, p.index, p.first_visible, scale, out)
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

    The width − 1 inputs before span s come from slots[read_slots[s]] (−1: zeros). Those before the next span are
    written to slots[write_slots[s]], and after each (row, slot) of snapshots to that slot too.
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
