"""Ops on mixtures of experts: the table of a layer, and the sum over a row's experts, at once, in turns or in pieces.

All three ways give the same bits (docs/numerics.md, Experts). `experts` needs all experts that the rows chose. For
many rows whose experts arrive in ascending order, `add_experts` adds one part of them after the other and keeps
nothing per row and expert. For few rows whose experts arrive in any order: `begin_experts`, then `gate_up` and `down`
of each expert, then `sum_experts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.extension import Float32, Int32
from shoestring.ops.workspace import Workspace

if TYPE_CHECKING:
    from shoestring import _kernels
    from shoestring._kernels import ExpertCall, ExpertTable, Matrix
else:
    _kernels = extension.Unloaded(globals())


def expert_table(gate: Sequence[Matrix], up: Sequence[Matrix], down: Sequence[Matrix]) -> ExpertTable:
    """A table of a layer's experts, all resident: gate and up [width, hidden], down [hidden, width] of each."""
    return _kernels.ExpertTable(gate, up, down)


def empty_table(count: int, types: tuple[str, str, str], hidden_size: int, intermediate_size: int) -> ExpertTable:
    """A table of experts that come and go; types: of gate, up and down. Raises ValueError for what cannot be packed.

    `table.put(expert, arena, offset)` shows the slot of `table.slot_bytes` at `offset` as this expert: gate, up and
    down in packed form, beginning at `table.part_offsets` inside the slot. It copies nothing and keeps the arena alive.
    The bytes may still be arriving: gate and up must be complete when an op computes gate and up, down when it computes
    down. After `table.drop(expert)` the slot may be written again at once. Both wait for a kernel that runs. They raise
    ValueError for an expert that the table does not have, and for a slot that is not aligned to 64 bytes or not inside
    the arena; `drop` for an absent expert too. Every op raises ValueError, before it computes, where a row chose an
    absent expert.
    """
    return _kernels.ExpertTable.empty(count, *types, hidden_size, intermediate_size)


def experts(
    ws: Workspace, x: Float32, ids: Int32, weights: Float32, table: ExpertTable, *, scale_input: bool
) -> Float32:
    """Σ over a row's experts, in ascending expert index, of weight · down(silu(gate x) · up x).

    x [rows, hidden]; ids, weights [rows, k] → [rows, hidden]. scale_input: the weight multiplies the expert's input
    instead (Llama 4).
    """
    out = ws.floats(x.shape[0], table.hidden_size)
    _kernels.experts(x, ids, weights, table, scale_input, out)
    return out


def add_experts(
    ws: Workspace,
    x: Float32,
    ids: Int32,
    weights: Float32,
    table: ExpertTable,
    experts: Sequence[int],
    out: Float32,
    *,
    scale_input: bool,
) -> None:
    """Add the results of `experts`, ascending, to the rows that chose them; out [rows, hidden], zero at first.

    Calls whose experts ascend from one to the next give the bits of one call, and of `experts`. Experts that no row
    chose may be absent. The kernels' own scratch is used, a few megabytes whatever the rows; `ws` stays untouched.
    """
    _kernels.add_experts(x, ids, weights, table, experts, scale_input, out)


def expert_call_bytes(table: ExpertTable, rows: int, experts_per_token: int, *, scale_input: bool) -> int:
    """Bytes of workspace that a call in pieces takes until its sum."""
    return _kernels.expert_call_bytes(table, rows, experts_per_token, scale_input)


def begin_experts(
    ws: Workspace, x: Float32, ids: Int32, weights: Float32, table: ExpertTable, *, scale_input: bool
) -> ExpertCall:
    """Sort the rows by expert and quantize them: the first piece of `experts`. No expert needs to be present yet.

    x and the workspace's frame must stay until the sum. `call.experts`: those that a row chose, ascending.
    """
    nbytes = _kernels.expert_call_bytes(table, x.shape[0], ids.shape[1], scale_input)
    return _kernels.begin_experts(x, ids, weights, table, scale_input, ws.floats(nbytes // 4))


def gate_up(call: ExpertCall, experts: Sequence[int]) -> None:
    """silu(gate x) · up x of these experts, in one parallel region. Their down may still be arriving.

    Experts that no row chose are left out. Raises ValueError for an absent expert, and for one that was here before.
    """
    _kernels.gate_up(call, experts)


def down(call: ExpertCall, experts: Sequence[int]) -> None:
    """The results of these experts, whose gate_up is done. Raises as `gate_up` does."""
    _kernels.down(call, experts)


def sum_experts(ws: Workspace, call: ExpertCall) -> Float32:
    """Σ over each row's experts, ascending, [rows, hidden]. Raises ValueError where an expert's `down` is missing."""
    out = ws.floats(call.rows, call.hidden_size)
    _kernels.sum_experts(call, out)
    return out
