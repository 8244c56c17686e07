"""The optimizers: Muon for matrices, Adam for the rest. Deterministic.

Muon (Jordan 2024) makes the momentum of a matrix nearly orthogonal with a few Newton-Schulz steps, so that all of its
directions move equally.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

_MOMENTUM, _BETAS, _EPS = 0.9, (0.9, 0.98), 1e-8
#: Quintic coefficients of the steps; the first is steep for small singular values (Polar Express, 2025).
_QUINTICS = ((8.2872, -23.5959, 17.3004), (4.1071, -2.9479, 0.5448), (3.9487, -2.9089, 0.5518), (3.3184, -2.4885, 0.51))


@dataclass
class Trained:
    """One parameter and its optimizer state. The schedule of each step multiplies `rate`."""

    value: Tensor
    rate: float
    parts: tuple[int, ...] = ()  # Muon: rows of each matrix that is stacked in it; empty: Adam
    memory: list[Tensor] = field(default_factory=list)

    def step(self, schedule: float, number: int) -> None:
        """Update the parameter from its gradient; `number` of the step counts from 1."""
        gradient = self.value.grad
        assert gradient is not None
        if not self.memory:
            self.memory = [torch.zeros_like(self.value) for _ in range(1 if self.parts else 2)]
        with torch.no_grad():
            if self.parts:
                (momentum,) = self.memory
                momentum.lerp_(gradient, 1 - _MOMENTUM)
                ahead = gradient.lerp(momentum, _MOMENTUM)
                for part, target in zip(ahead.split(self.parts), self.value.split(self.parts), strict=True):
                    size = (max(1.0, part.shape[0] / part.shape[1])) ** 0.5
                    target.sub_(orthogonal(part), alpha=self.rate * schedule * size)
            else:
                first, second = self.memory
                first.lerp_(gradient, 1 - _BETAS[0])
                second.lerp_(gradient.square(), 1 - _BETAS[1])
                mean, square = first / (1 - _BETAS[0] ** number), second / (1 - _BETAS[1] ** number)
                self.value.sub_(self.rate * schedule * mean / (square.sqrt() + _EPS))
        self.value.grad = None


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with all singular values near 1; zero for a zero matrix."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    x = x / (1.01 * x.norm() + 1e-20)
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    for a, b, c in _QUINTICS:
        square = x @ x.t()
        x = a * x + (b * square + c * square @ square) @ x
    return x.t() if tall else x
