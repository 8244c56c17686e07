"""Runners with passes, for models whose experts are all in memory; and experts that count."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np

from shoestring import ops
from shoestring.engine.runner import FamilyRunner
from shoestring.models.experts import Experts


def with_passes(runner: Any, pass_rows: int | None, experts: Experts | None = None) -> FamilyRunner:
    """The same weights, computing prompts in passes."""
    assert isinstance(runner, FamilyRunner)
    other = copy.copy(runner)
    other.pass_rows = pass_rows
    other._workspace, other._pass_workspace = ops.Workspace(), ops.Workspace()
    other._experts = experts or runner._experts
    return other


class CountingExperts:
    """Counts how often each layer's experts are applied, and checks that they were requested before."""

    def __init__(self, experts: Experts) -> None:
        self._experts = experts
        self._requested: list[tuple[int, bytes]] = []
        #: by layer
        self.applied: Counter[int] = Counter()
        #: by layer and expert: times that a step needed it
        self.needed: Counter[tuple[int, int]] = Counter()

    def guesses(self, rows: int) -> bool:
        return False

    def guess(self, layer: int, ids: Any) -> None:
        raise AssertionError("guessed without need")

    def request(self, layer: int, ids: Any) -> None:
        self._requested.append((layer, ids.tobytes()))

    def apply(self, ws: Any, layer: int, x: Any, ids: Any, weights: Any, *, scale_input: bool) -> Any:
        assert self._requested.pop() == (layer, ids.tobytes()), "applied without a request"
        self.applied[layer] += 1
        self.needed.update((layer, int(expert)) for expert in np.unique(ids))
        return self._experts.apply(ws, layer, x, ids, weights, scale_input=scale_input)
