"""Routed experts: a model fetches them by (layer, ids) through one object.

Today all of them are resident. An object that reads experts from disk on demand would have the same single method, and
no model file would change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shoestring.ops import Int32

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
    """Owner of the routed experts' matrices."""

    def fetch(self, layer: int, ids: Int32) -> ExpertTable:
        """The layer's table, with at least the experts `ids` [rows, k] in memory."""


@dataclass(frozen=True)
class ResidentExperts:
    """All experts, in memory. tables: by layer, none for dense layers."""

    tables: dict[int, ExpertTable]

    def fetch(self, layer: int, ids: Int32) -> ExpertTable:
        return self.tables[layer]
