"""Ops on weight matrices: embedding rows, products and routing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.extension import Float32, Int32
from shoestring.ops.workspace import Workspace

if TYPE_CHECKING:
    from shoestring import _kernels
    from shoestring._kernels import Matrix
else:
    _kernels = extension.Unloaded(globals())


def embed(ws: Workspace, table: Matrix, token_ids: Int32) -> Float32:
    """Rows of a (quantized) matrix, [rows, hidden_size]. Does not write rows of id −1."""
    out = ws.floats(token_ids.shape[0], table.columns)
    _kernels.embed(table, token_ids, out)
    return out


def matmul(ws: Workspace, x: Float32, weight: Matrix) -> Float32:
    """x [rows, in] · weightᵀ [in, out] → [rows, out]."""
    out = ws.floats(x.shape[0], weight.rows)
    _kernels.matmul(x, weight, out)
    return out


def matmuls(ws: Workspace, x: Float32, weights: Sequence[Matrix]) -> tuple[Float32, ...]:
    """x times each of several matrices, in one parallel region."""
    rows = x.shape[0]
    outs = tuple(ws.floats(rows, weight.rows) for weight in weights)
    _kernels.matmuls(x, weights, outs)
    return outs


def route_softmax(ws: Workspace, scores: Float32, experts_per_token: int) -> tuple[Int32, Float32]:
    """Softmax over all experts, top k (ties: lowest index), renormalised → ids, weights [rows, k]."""
    shape = (len(scores), experts_per_token)
    ids, weights = ws.ints(*shape), ws.floats(*shape)
    _kernels.route_softmax(scores, ids, weights)
    return ids, weights


def route_sigmoid(ws: Workspace, scores: Float32, experts_per_token: int) -> tuple[Int32, Float32]:
    """Top k of the scores (ties: lowest index), weights sigmoid(score) → ids, weights [rows, k]."""
    shape = (len(scores), experts_per_token)
    ids, weights = ws.ints(*shape), ws.floats(*shape)
    _kernels.route_sigmoid(scores, ids, weights)
    return ids, weights
