"""Stage 1: each delta-net layer learns to match the teacher's attention on the teacher's own input.

One pass of the teacher serves all layers. The loss of a layer is the squared error of its output, relative to the
square of the target.
"""

from __future__ import annotations

import time

import numpy as np
from torch import Tensor

from shoestring.samples.demo_qwen3_5.layout import FULL_LAYERS, HEAD_DIM, HEADS, HIDDEN
from train_demo.checkpoint import Run, Say
from train_demo.data import Lesson
from train_demo.optimizer import Trained
from train_demo.products import compiled, fast_products
from train_demo.student import Parameters, delta_net
from train_demo.teacher import Teacher, as_tokens, layer, walk

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
    """Mark the parameters that this stage trains."""
    for i, p in enumerate(run.layers):
        trained = run.trained[i]
        if i not in FULL_LAYERS:
            for name, (rate, parts) in MIXER_RATES.items():
                trained[name] = Trained(p[name].requires_grad_(), rate, parts)


def train(run: Run, teacher: Teacher, lesson: Lesson, say: Say) -> None:
    """Run all remaining steps."""
    device = teacher.embedding.device
    taught, mixer = compiled(layer), compiled(delta_net)
    while run.step < lesson.steps:
        started = time.perf_counter()
        tokens = as_tokens(lesson.at(run.step), device)
        schedule = rate_schedule(run.step, lesson.steps, warm=3)
        losses = []
        with fast_products(device):
            for i, passed in enumerate(walk(teacher, tokens, taught)):
                if i in FULL_LAYERS:
                    continue
                output = mixer(mixers(run.layers[i]), passed.attention_input)
                loss = relative_error(output.float(), passed.attention_output.float())
                loss.backward()
                losses.append(loss.item())
                for one in run.trained[i].values():
                    one.step(schedule, run.step + 1)
        shown = {"loss": float(np.mean(losses)), "worst": max(losses)}
        run.finish_step(tokens.numel(), time.perf_counter() - started, lesson.steps, shown, say)
    run.save()


def mixers(p: Parameters) -> Parameters:
    return {name: p[name] for name in MIXER_RATES}


def relative_error(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean() / target.square().mean()


def rate_schedule(step: int, steps: int, warm: int) -> float:
    """Linear warm-up over `warm` steps, then linear decay to a twentieth."""
    return min((step + 1) / warm, max(0.05, (steps - step) / steps))
