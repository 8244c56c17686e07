"""Several ops as one: what a layer does to few rows, each group in one parallel region and one call.

Up to FEW_ROWS rows, a number of the kernels, take the fused kernels, which norm and quantize them once and wake the
threads once; more rows take the ops one by one, where that costs nothing. Both give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.extension import Array, Float32, Int32
from shoestring.ops.matrices import matmul, matmuls
from shoestring.ops.rows import add, rms_norm, swiglu
from shoestring.ops.workspace import Workspace

if TYPE_CHECKING:
    from shoestring import _kernels
    from shoestring._kernels import Matrix
else:
    _kernels = extension.Unloaded(globals())


def norm_matmuls(
    ws: Workspace, x: Float32, norm: Float32, eps: float, weights: Sequence[Matrix]
) -> tuple[Float32, ...]:
    """rms_norm(x) times each of several matrices; x [rows, in] → [rows, out] of each."""
    rows = len(x)
    if rows > _kernels.FEW_ROWS:
        return matmuls(ws, rms_norm(ws, x, norm, eps), weights)
    outs = tuple(ws.floats(rows, weight.rows) for weight in weights)
    with ws:
        _kernels.fused_matmuls(x, norm, eps, ws.floats(*x.shape), weights, outs, False)
    return outs


def add_matmul(ws: Workspace, x: Float32, h: Float32, weight: Matrix) -> None:
    """x += h · weightᵀ, in place; x [rows, out], h [rows, in]."""
    with ws:
        if len(x) > _kernels.FEW_ROWS:
            add(x, matmul(ws, h, weight))
        else:
            _kernels.fused_matmuls(h, None, 0.0, None, (weight,), (x,), True)


def add_feed_forward(
    ws: Workspace, x: Float32, norm: Float32, eps: float, gate: Matrix, up: Matrix, down: Matrix
) -> None:
    """x += down(silu(gate h) · up h) with h = rms_norm(x), in place; x [rows, hidden]."""
    rows = len(x)
    with ws:
        if rows > _kernels.FEW_ROWS:
            add(x, feed_forward(ws, rms_norm(ws, x, norm, eps), gate, up, down))
        else:
            normed, hidden = ws.floats(*x.shape), ws.floats(rows, gate.rows)
            _kernels.feed_forward(x, norm, eps, normed, gate, up, down, hidden, x, True)


def feed_forward(ws: Workspace, h: Float32, gate: Matrix, up: Matrix, down: Matrix) -> Float32:
    """down(silu(gate h) · up h), [rows, hidden] → [rows, hidden]."""
    rows = len(h)
    if rows > _kernels.FEW_ROWS:
        gates, ups = matmuls(ws, h, (gate, up))
        return matmul(ws, swiglu(ws, gates, ups), down)
    out = ws.floats(rows, down.rows)
    with ws:
        _kernels.feed_forward(h, None, 0.0, None, gate, up, down, ws.floats(rows, gate.rows), out, False)
    return out


def delta_net(
    ws: Workspace,
    qkv: Float32,
    z: Float32,
    a: Float32,
    b: Float32,
    convolution: Float32,
    decay: Float32,
    dt_bias: Float32,
    norm: Float32,
    eps: float,
    key_head_index: Int32,
    num_key_heads: int,
    past: Array,
    memory: Array,
    span_starts: Int32,
    read_slots: Int32,
    write_slots: Int32,
    snapshots: Int32,
) -> Float32:
    """`causal_convolution`, `delta_rule` and `gated_rms_norm` of a layer → [rows, value_heads, value_dim].

    qkv [rows, channels], z [rows, value_heads·value_dim]; past: slots of the convolution, memory: those of the rule.
    """
    out = ws.floats(len(qkv), memory.shape[1], memory.shape[3])
    spans = (span_starts, read_slots, write_slots, snapshots)
    with ws:
        convolved = ws.floats(*qkv.shape)
        _kernels.delta_net(
            qkv, z, a, b, convolution, decay, dt_bias, norm, eps, key_head_index, num_key_heads, past, memory, *spans,
            convolved, out,
        )  # fmt: skip
    return out
