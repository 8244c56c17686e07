"""Ops on single rows: norms, gates, activations, rotary embedding, temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.extension import Float32, Float64, Int32, Int64
from shoestring.ops.workspace import Workspace

if TYPE_CHECKING:
    from shoestring import _kernels
else:
    _kernels = extension.Unloaded(globals())


def rms_norm(ws: Workspace, x: Float32, weight: Float32 | None, eps: float) -> Float32:
    """x / sqrt(mean(x²) + eps) · weight over the last axis; x [..., n]."""
    out = ws.floats(*x.shape)
    _kernels.rms_norm(x, weight, None, eps, out)
    return out


def gated_rms_norm(ws: Workspace, x: Float32, weight: Float32, gate: Float32, eps: float) -> Float32:
    """rms_norm(x) · weight · silu(gate) over the last axis; gate has as many elements as x."""
    out = ws.floats(*x.shape)
    _kernels.rms_norm(x, weight, gate, eps, out)
    return out


def add(x: Float32, y: Float32) -> None:
    """x += y, in place."""
    _kernels.add(x, y)


def add_gated(x: Float32, y: Float32, gate: Float32) -> None:
    """x += y · sigmoid(gate), in place; x, y [rows, n], gate [rows, 1]."""
    _kernels.add_gated(x, y, gate)


def swiglu(ws: Workspace, gate: Float32, up: Float32) -> Float32:
    """silu(gate) · up."""
    out = ws.floats(*gate.shape)
    _kernels.swiglu(gate, up, out)
    return out


def split_query_gate(ws: Workspace, query_gate: Float32, num_heads: int) -> tuple[Float32, Float32]:
    """[rows, heads·2·D], a head's query then its gate → query and gate, each [rows, heads, D]."""
    rows, columns = query_gate.shape
    shape = (rows, num_heads, columns // (2 * num_heads))
    query, gate = ws.floats(*shape), ws.floats(*shape)
    _kernels.split_query_gate(query_gate, query, gate)
    return query, gate


def sigmoid_gate(x: Float32, gate: Float32) -> None:
    """x *= sigmoid(gate), in place."""
    _kernels.sigmoid_gate(x, gate)


def scale_rows(x: Float32, factors: Float32) -> None:
    """x[r] *= factors[r], in place."""
    _kernels.scale_rows(x, factors)


def attention_temperature(ws: Workspace, index: Int64, floor_scale: int, attn_scale: float) -> Float32:
    """1 + attn_scale · log(1 + floor((index + 1) / floor_scale)), [rows]."""
    out = ws.floats(len(index))
    _kernels.attention_temperature(index, floor_scale, attn_scale, out)
    return out


def rotary_table(
    ws: Workspace, positions: Int64, frequencies: Float64, sections: Int32, factor: float
) -> tuple[Float32, Float32]:
    """factor · cos and sin of positions[r, sections[i]] · frequencies[i], each [rows, dims/2].

    Positions are 64-bit; angles and their reduction are float64. sections [dims/2]: which of the three positions a
    frequency follows.
    """
    shape = (len(positions), len(frequencies))
    cos, sin = ws.floats(*shape), ws.floats(*shape)
    _kernels.rotary_table(positions, frequencies, sections, factor, cos, sin)
    return cos, sin


def rotate(x: Float32, cos: Float32, sin: Float32, *, interleaved: bool) -> None:
    """Rotary embedding of x [rows, heads, D] in place, on its first 2 · cos.shape[1] dims.

    interleaved: pairs (2i, 2i+1); otherwise (i, i + dims/2).
    """
    _kernels.rotate(x, cos, sin, interleaved)


def check_finite(x: Float32) -> bool:
    """Whether no number of x is infinite or NaN."""
    return _kernels.check_finite(x)
