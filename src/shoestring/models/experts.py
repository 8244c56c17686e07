"""Where routed experts come from: a model asks for them by (layer, ids), through one object.

Today all tables are resident; an object that reads experts from disk when they are asked for has the same
one method, and no model changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from shoestring._kernels import ExpertTable

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class ExpertLayer:
    """A layer that routes: its experts, as data. gate and up [I,H], down [H,I]."""

    layer: int
    num_experts: int
    intermediate_size: int
    hidden_size: int


class Experts(Protocol):
    """Owner of the routed experts' matrices."""

    def fetch(self, layer: int, ids: Int32) -> ExpertTable:
        """The table of a layer, in which at least the experts `ids` [rows, k] can be computed with."""
        ...


@dataclass(frozen=True)
class ResidentExperts:
    """All experts in memory for as long as the model lives; `tables` by layer, absent where a layer is dense."""

    tables: dict[int, ExpertTable]

    def fetch(self, layer: int, ids: Int32) -> ExpertTable:
        return self.tables[layer]
