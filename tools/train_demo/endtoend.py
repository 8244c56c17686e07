"""Stage 2: the whole student learns the teacher's distributions, including experts and routers.

The loss is the Kullback-Leibler divergence from the teacher's next-token distribution in nats per token; plus the
distance of the normed residual stream from the teacher's after each layer, which gives every layer a stronger signal
than the tokens do; plus a small term for unbalanced routers. Large matrices are rounded as in the export. The embedding
is frozen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.samples.demo_qwen3_5.layout import FULL_LAYERS, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, WIDE
from train_demo.checkpoint import Run, Say
from train_demo.data import Lesson
from train_demo.layerwise import rate_schedule
from train_demo.optimizer import Trained
from train_demo.products import compiled, fast_products
from train_demo.rounding import rounded
from train_demo.student import layer
from train_demo.teacher import Teacher, as_tokens, normed, rms_norm, rotary, walk
from train_demo.teacher import layer as teacher_layer

_STREAM, _BALANCE = {"whole": 15.0, "long": 40.0}, 0.05
_ROWS = 512  # rows of logits at once
_WIDTH = HEADS * HEAD_DIM
_MUON = 0.0025
#: Factors of the rates: smaller at full length, which starts from a trained student.
_SHARES = {"whole": 1.8, "long": 1.0}
#: name → (rate, rows of the matrices stacked in it); other parameters are frozen
RATES: dict[str, tuple[float, tuple[int, ...]]] = {
    "in_proj_qkv": (_MUON, (_WIDTH, _WIDTH, _WIDTH)),
    "in_proj_z": (_MUON, (_WIDTH,)),
    "out_proj": (_MUON, (HIDDEN,)),
    "in_proj_a": (3e-4, ()),
    "in_proj_b": (3e-4, ()),
    "conv1d": (5e-4, ()),
    "A_log": (2e-3, ()),
    "dt_bias": (2e-3, ()),
    "norm": (5e-4, ()),
    "q_proj": (_MUON / 2, (HEADS * 2 * WIDE,)),
    "k_proj": (_MUON / 2, (KV_HEADS * WIDE,)),
    "v_proj": (_MUON / 2, (KV_HEADS * WIDE,)),
    "o_proj": (_MUON / 2, (HIDDEN,)),
    "q_norm": (5e-4, ()),
    "k_norm": (5e-4, ()),
    "input_norm": (2e-4, ()),
    "post_norm": (2e-4, ()),
    "router": (3e-3, ()),
    "shared_gate": (3e-4, ()),
    "gate_up_in": (2e-3, ()),
    "gate_up_out": (4e-3, ()),
    "down_in": (2e-3, ()),
    "down_out": (4e-3, ()),
}


def start(run: Run) -> None:
    """Mark the parameters that this stage trains, with new optimizer states."""
    for p, trained in zip(run.layers, run.trained, strict=True):
        trained.clear()
        for name, (rate, parts) in RATES.items():
            if name in p:
                trained[name] = Trained(p[name].requires_grad_(), rate, parts)


def train(run: Run, teacher: Teacher, lesson: Lesson, say: Say) -> None:
    """Run all remaining steps."""
    device = teacher.embedding.device
    taught, one_layer, of_rows = compiled(teacher_layer), compiled(layer), compiled(divergence_of_rows)
    cos, sin = rotary(lesson.windows.shape[1], device)
    while run.step < lesson.steps:
        started = time.perf_counter()
        tokens = as_tokens(lesson.at(run.step), device)
        x = teacher.embedding[
            tokens
        ].requires_grad_()  # requires a gradient as in every other layer, so that it compiles once
        apart, unbalanced = [], []
        with fast_products(device):
            for i, (p, passed) in enumerate(zip(run.layers, walk(teacher, tokens, taught), strict=True)):
                x, imbalance = one_layer(rounded(p), x, i in FULL_LAYERS, cos, sin)
                unbalanced.append(imbalance)
                apart.append((normed(x) - normed(passed.output)).square().mean())
            output, target = rms_norm(x, teacher.norm), rms_norm(passed.output, teacher.norm)
            loss, gradient = divergence(output.detach(), target, teacher.embedding, of_rows)
            stream, imbalance = torch.stack(apart).mean(), torch.stack(unbalanced).mean()
            extra_loss = _STREAM[run.stage] * stream + _BALANCE * imbalance
            torch.autograd.backward([output, extra_loss], [gradient, torch.ones_like(extra_loss)])
            schedule = _SHARES[run.stage] * rate_schedule(run.step, lesson.steps, warm=5)
            for trained in run.trained:
                for one in trained.values():
                    one.step(schedule, run.step + 1)
        losses = {"loss": loss, "stream": stream.item(), "imbalance": imbalance.item()}
        run.finish_step(tokens.numel(), time.perf_counter() - started, lesson.steps, losses, say)
    run.save()


@torch.no_grad()
def divergence(
    output: Tensor, target: Tensor, embedding: Tensor, of_rows: Callable[..., tuple[Tensor, Tensor]]
) -> tuple[float, Tensor]:
    """KL divergence of `output` [B, T, H] from `target` [B, T, H] in nats per token, and its gradient [B, T, H].

    of_rows: `divergence_of_rows`, perhaps compiled; it gets few rows at a time.
    """
    rows = output.reshape(-1, output.shape[-1])
    parts = [
        of_rows(x, y, embedding)
        for x, y in zip(rows.split(_ROWS), target.reshape(rows.shape).split(_ROWS), strict=True)
    ]
    gradient = torch.cat([part[1] for part in parts]).float() / len(rows)
    return sum(float(part[0]) for part in parts) / len(rows), gradient.view_as(output)


def divergence_of_rows(output: Tensor, target: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over rows [R, H] of KL(softmax(target·E) | softmax(output·E)), and its gradient [R, H]."""
    log_q = F.linear(output, embedding).float().log_softmax(-1)
    log_p = F.linear(target, embedding).float().log_softmax(-1)
    p = log_p.exp()
    return (p * (log_p - log_q)).sum(), (log_q.exp() - p) @ embedding
