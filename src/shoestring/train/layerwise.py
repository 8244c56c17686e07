"""Stage 1: every delta-net layer learns alone what the teacher's attention makes of the teacher's own input.

One pass of the teacher serves all layers, and its logits are kept for stage 2. The loss of a layer is the squared
error of its output, as a share of the output's square.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from shoestring.demo_qwen3_5.layout import FULL_LAYERS, HEAD_DIM, HEADS, HIDDEN
from shoestring.train.checkpoint import Run, write_curve
from shoestring.train.data import Order
from shoestring.train.optimizer import Trained
from shoestring.train.student import Parameters, delta_net
from shoestring.train.targets import Targets, as_tokens
from shoestring.train.teacher import Teacher, walk

Made = TypeVar("Made", bound=Callable[..., Any])

_WIDTH = HEADS * HEAD_DIM
#: name → (rate, rows of the matrices stacked in it)
MIXER_RATES: dict[str, tuple[float, tuple[int, ...]]] = {
    "in_proj_qkv": (0.03, (_WIDTH, _WIDTH, _WIDTH)),
    "in_proj_z": (0.03, (_WIDTH,)),
    "out_proj": (0.03, (HIDDEN,)),
    "in_proj_a": (1e-3, ()),
    "in_proj_b": (1e-3, ()),
    "conv1d": (1e-3, ()),
    "A_log": (5e-3, ()),
    "dt_bias": (5e-3, ()),
    "norm": (3e-3, ()),
}


def start(run: Run) -> None:
    """Mark what this stage trains."""
    for i, p in enumerate(run.layers):
        trained = run.trained[i]
        if i not in FULL_LAYERS:
            for name, (rate, parts) in MIXER_RATES.items():
                trained[name] = Trained(p[name].requires_grad_(), rate, parts)


def train(
    run: Run, teacher: Teacher, targets: Targets, order: Order, batch: int, steps: int, say: Callable[[str], None]
) -> None:
    """Until `steps` are done, `batch` windows of the order a step."""
    device = teacher.embedding.device
    mixer = compiled(delta_net)
    while run.step < steps:
        started = time.perf_counter()
        these = order[run.step * batch : (run.step + 1) * batch]
        tokens = as_tokens(targets.windows[these], device)
        schedule = rate_schedule(run.step, steps, warm=3)
        losses = []
        for i, passed in enumerate(walk(teacher, tokens)):
            last = passed.output
            if i in FULL_LAYERS:
                continue
            loss = relative_error(mixer(mixers(run.layers[i]), passed.attention_input), passed.attention_output)
            loss.backward()
            losses.append(loss.item())
            for one in run.trained[i].values():
                one.step(schedule, run.step + 1)
        targets.keep(these, teacher, last)
        run.step += 1
        run.tokens += tokens.numel()
        mean, speed = float(np.mean(losses)), tokens.numel() / (time.perf_counter() - started)
        write_curve(run.folder, run.stage, step=run.step, tokens=run.tokens, loss=mean, worst=max(losses), speed=speed)
        say(f"layers {run.step}/{steps}  loss {mean:.4f}  worst {max(losses):.3f}  {speed:.0f} tokens/s")
        run.save_sometimes()
    run.save()


def mixers(p: Parameters) -> Parameters:
    return {name: p[name] for name in MIXER_RATES}


def relative_error(made: Tensor, wanted: Tensor) -> Tensor:
    return (made - wanted).square().mean() / wanted.square().mean()


def rate_schedule(step: int, steps: int, warm: int) -> float:
    """Up in `warm` steps, then down to a twentieth along a line."""
    return min((step + 1) / warm, max(0.05, (steps - step) / steps))


def compiled(function: Made) -> Made:
    """Elementwise work costs half then. Without a C++ compiler, or where it fails, the function stays as it is."""
    if not can_compile():
        return function
    torch._dynamo.config.suppress_errors = True
    return cast(Made, torch.compile(function, dynamic=False))


def can_compile() -> bool:
    return shutil.which("g++") is not None or torch.cuda.is_available()
