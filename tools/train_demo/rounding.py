"""Training at the width of the export: each step computes with the numbers that Q5_0 would hold.

The gradient passes through the rounding as if it were not there (straight-through estimator, arXiv 1308.3432) and moves
the numbers behind it, so that what is carried in the end is what was trained.
"""

from __future__ import annotations

import torch
from torch import Tensor

from train_demo.student import Parameters

#: What `export` writes as Q5_0, and the axis that its blocks of 32 lie along.
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
    """The layer as it is computed with; gradients reach `p`."""
    return {
        name: value + (q5_0(value.detach(), ROUNDED[name]) - value.detach()) if name in ROUNDED else value
        for name, value in p.items()
    }


def q5_0(values: Tensor, axis: int = -1) -> Tensor:
    """The numbers of `blocks.to_q5_0`, to the bit."""
    moved = values.movedim(axis, -1)
    blocks = moved.reshape(-1, _BLOCK)
    largest, smallest = blocks.amax(1, keepdim=True), blocks.amin(1, keepdim=True)
    scale = (torch.where(largest > -smallest, largest, smallest) / -16).half().float()
    codes = torch.where(scale != 0, blocks / scale, 0).round().clamp(-16, 15)
    return (codes * scale).view(moved.shape).movedim(-1, axis)
