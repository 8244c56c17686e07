"""Routed experts: a model applies them by (layer, ids) through one object.

They are all in memory, or an object of the same methods reads them from disk on demand: no model file knows which. A
model requests experts as soon as its router has chosen, computes its shared expert meanwhile, and then applies them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shoestring import ops
from shoestring.ops import Float32, Int32, Workspace

if TYPE_CHECKING:
    from shoestring._kernels import ExpertTable


@dataclass(frozen=True)
class ExpertLayer:
    """A layer with routed experts, and their shapes: gate and up [I, H], down [H, I]."""

    layer: int
    num_experts: int
    intermediate_size: int
    hidden_size: int


class Experts(Protocol):
    """Owner of the routed experts' matrices. R rows, k experts a token, H hidden_size."""

    def guesses(self, rows: int) -> bool:
        """Whether to call `guess` in the next layer of a step with so many rows."""

    def guess(self, layer: int, ids: Int32) -> None:
        """What the layer's router says before its mixer is computed: `request` will ask for about the same ids [R, k].

        The best first: in each row, experts of higher weights come first.
        """

    def request(self, layer: int, ids: Int32) -> None:
        """Announce that `apply` follows with the same ids [R, k]: begin to read what is not in memory."""

    def apply(
        self, ws: Workspace, layer: int, x: Float32, ids: Int32, weights: Float32, *, scale_input: bool
    ) -> Float32:
        """Σ over each row's experts in ascending expert order, as `ops.experts`; x [R, H] → [R, H]."""


@dataclass(frozen=True)
class ResidentExperts:
    """All experts, in memory. tables: by layer, none for dense layers."""

    tables: dict[int, ExpertTable]

    def guesses(self, rows: int) -> bool:
        return False

    def guess(self, layer: int, ids: Int32) -> None:
        pass

    def request(self, layer: int, ids: Int32) -> None:
        pass

    def apply(
        self, ws: Workspace, layer: int, x: Float32, ids: Int32, weights: Float32, *, scale_input: bool
    ) -> Float32:
        return ops.experts(ws, x, ids, weights, self.tables[layer], scale_input=scale_input)
