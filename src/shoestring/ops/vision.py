"""Ops of vision towers: layer norms, linear maps with biases, learned positions, attention inside a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from shoestring.ops import extension
from shoestring.ops.extension import Float32
from shoestring.ops.workspace import Workspace

if TYPE_CHECKING:
    from shoestring import _kernels
    from shoestring._kernels import Matrix
else:
    _kernels = extension.Unloaded(globals())

Activation = Literal["none", "gelu_tanh", "gelu_erf"]
#: In the order of the kernels' enumeration.
_ACTIVATIONS: tuple[Activation, ...] = ("none", "gelu_tanh", "gelu_erf")


def layer_norm(ws: Workspace, x: Float32, weight: Float32, bias: Float32, eps: float) -> Float32:
    """(x − mean) / sqrt(variance + eps) · weight + bias over the last axis; x [rows, n]."""
    out = ws.floats(*x.shape)
    _kernels.layer_norm(x, weight, bias, eps, out)
    return out


def linear(ws: Workspace, x: Float32, weight: Matrix, bias: Float32 | None, activation: Activation = "none") -> Float32:
    """activation(x [rows, in] · weightᵀ [in, out] + bias [out]) → [rows, out].

    gelu_tanh is x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), gelu_erf is x/2 · (1 + erf(x/√2)).
    """
    out = ws.floats(x.shape[0], weight.rows)
    _kernels.matmul(x, weight, out)
    if bias is not None or activation != "none":
        _kernels.activate(out, bias, _ACTIVATIONS.index(activation))
    return out


def add_linear(ws: Workspace, x: Float32, y: Float32, weight: Matrix, bias: Float32) -> None:
    """x += y [rows, in] · weightᵀ + bias, in place; x [rows, out]."""
    with ws:
        out = ws.floats(*x.shape)
        _kernels.matmul(y, weight, out)
        _kernels.add_biased(x, out, bias)


def add_grid_positions(x: Float32, table: Float32, rows: int, columns: int, merge: int) -> None:
    """x [rows · columns, n] += the learned position of each patch, in place. Patches come in blocks of merge × merge.

    table [side · side, n] covers the whole picture, corners on corners; between its rows and columns it is
    interpolated, bilinear.
    """
    _kernels.grid_positions(x, table, rows, columns, merge)


def part_attention(ws: Workspace, q: Float32, k: Float32, v: Float32, scale: float) -> Float32:
    """softmax(scale · q · kᵀ) v, every row over all rows; q, k, v [rows, heads, D] → [rows, heads, D]."""
    out = ws.floats(*q.shape)
    _kernels.part_attention(q, k, v, scale, out)
    return out
