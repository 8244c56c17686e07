"""Train with rounded weights: each step computes with the numbers that Q5_0 can represent.

The gradient ignores the rounding (straight-through estimator, arXiv 1308.3432) and updates the unrounded numbers, so
that the exported weights are those that were trained.
"""

from __future__ import annotations

import torch
from torch import Tensor

from train_demo.student import Parameters

#: Parameters that `export` writes as Q5_0, and the axis of their blocks of 32.
ROUNDED = {
    "in_proj_qkv": -1,
    "in_proj_z": -1,
    "out_proj": -1,
    "gate_up_in": -1,
    "gate_up_out": -1,
    "down_in": 1,
    "down_out": -1,
}
_BLOCK = 32


def rounded(p: Parameters) -> Parameters:
    """The layer's parameters, rounded; gradients reach `p`."""
    return {
        name: value + (q5_0(value.detach(), ROUNDED[name]) - value.detach()) if name in ROUNDED else value
        for name, value in p.items()
    }


def q5_0(values: Tensor, axis: int = -1) -> Tensor:
    """Round as `blocks.to_q5_0` does, to the bit."""
    moved = values.movedim(axis, -1)
    blocks = moved.reshape(-1, _BLOCK)
    largest, smallest = blocks.amax(1, keepdim=True), blocks.amin(1, keepdim=True)
    scale = (torch.where(largest > -smallest, largest, smallest) / -16).half().float()
    codes = torch.where(scale != 0, blocks / scale, 0).round().clamp(-16, 15)
    return (codes * scale).view(moved.shape).movedim(-1, axis)
