"""Stage 2: the whole student learns the teacher's distributions, experts and routers too.

The loss is the Kullback-Leibler divergence from the teacher's next-token distribution (its likeliest tokens one by
one, the rest as one) in nats a token, plus a little for an unbalanced router. Large matrices are rounded as the
export will round them. The embedding stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.demo_qwen3_5.layout import FULL_LAYERS, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, WIDE
from shoestring.train.checkpoint import Run, write_curve
from shoestring.train.data import Order
from shoestring.train.layerwise import compiled, rate_schedule
from shoestring.train.optimizer import Trained
from shoestring.train.rounding import rounded
from shoestring.train.student import layer
from shoestring.train.targets import Targets, as_tokens
from shoestring.train.teacher import Teacher, rms_norm, rotary

_BALANCE = 0.01
_ROWS = 512  # of logits at once
_WIDTH = HEADS * HEAD_DIM
_MUON = 0.0025
#: What the rates are multiplied by: the stage at full length starts from a student that has settled.
_SHARES = {"whole": 1.8, "long": 0.5}
#: name → (rate, rows of the matrices stacked in it); what a layer has of these is trained, the rest is frozen
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
    "router": (3e-4, ()),
    "shared_gate": (3e-4, ()),
    "gate_up_in": (5e-4, ()),
    "gate_up_out": (1e-3, ()),
    "down_in": (5e-4, ()),
    "down_out": (1e-3, ()),
}


def start(run: Run) -> None:
    """Mark what this stage trains, from the beginning of its optimizers' memories."""
    for p, trained in zip(run.layers, run.trained, strict=True):
        trained.clear()
        for name, (rate, parts) in RATES.items():
            if name in p:
                trained[name] = Trained(p[name].requires_grad_(), rate, parts)


def train(
    run: Run, teacher: Teacher, targets: Targets, order: Order, batch: int, steps: int, say: Callable[[str], None]
) -> None:
    """Until `steps` are done, `batch` windows of the order a step."""
    device = teacher.embedding.device
    one_layer = compiled(layer)
    cos, sin = (table[:, None] for table in rotary(torch.arange(targets.windows.shape[1], device=device)))
    while run.step < steps:
        started = time.perf_counter()
        these = order[run.step * batch : (run.step + 1) * batch]
        tokens = as_tokens(targets.windows[these], device)
        wanted = targets.of(these, teacher)
        taught = time.perf_counter() - started
        x, imbalances = teacher.embedding[tokens].requires_grad_(), []  # as in every other layer: compiled once
        for i, p in enumerate(run.layers):
            x, imbalance = one_layer(rounded(p), x, i in FULL_LAYERS, cos, sin)
            imbalances.append(imbalance)
        unbalanced = torch.stack(imbalances).mean()
        loss, gradient = divergence(rms_norm(x.detach(), teacher.norm), teacher.embedding, *wanted)
        after = rms_norm(x, teacher.norm)
        torch.autograd.backward([after, _BALANCE * unbalanced], [gradient, torch.ones_like(unbalanced)])
        schedule = _SHARES[run.stage] * rate_schedule(run.step, steps, warm=5)
        for trained in run.trained:
            for one in trained.values():
                one.step(schedule, run.step + 1)
        run.step += 1
        run.tokens += tokens.numel()
        speed = tokens.numel() / (time.perf_counter() - started)
        write_curve(
            run.folder, run.stage, step=run.step, tokens=run.tokens, loss=loss, imbalance=unbalanced.item(), speed=speed
        )
        say(
            f"{run.stage} {run.step}/{steps}  loss {loss:.4f}  router {unbalanced.item():.3f}  {speed:.0f} tokens/s"
            f"  (teacher {taught:.0f} s)"
        )
        run.save_sometimes()
    run.save()


@torch.no_grad()
def divergence(hidden: Tensor, embedding: Tensor, tokens: Tensor, logs: Tensor) -> tuple[float, Tensor]:
    """KL of hidden [B, T, H] to the targets [B, T, kept], and its gradient; never more than a few rows of logits."""
    rows, kept = hidden.reshape(-1, hidden.shape[-1]), tokens.shape[-1]
    total = 0.0
    gradients = []
    for x, ids, known in zip(
        rows.split(_ROWS), tokens.view(-1, kept).split(_ROWS), logs.view(-1, kept).split(_ROWS), strict=True
    ):
        p = known.exp()
        p_rest = (1 - p.sum(-1, keepdim=True)).clamp(min=1e-6)
        log_q = F.linear(x, embedding).log_softmax(-1)
        chosen = log_q.gather(-1, ids)
        q = log_q.exp_()
        q_rest = (1 - chosen.exp().sum(-1, keepdim=True)).clamp(min=1e-6)
        total += float((p * (known - chosen)).sum() + (p_rest * (p_rest.log() - q_rest.log())).sum())
        # d/dlogit: q − p where kept; of the rest, q's share of a rest that ought to weigh p_rest.
        kept_gradient = chosen.exp() - p
        q.mul_(1 - p_rest / q_rest).scatter_(-1, ids, kept_gradient)
        gradients.append(q @ embedding / len(rows))
    return total / len(rows), torch.cat(gradients).view_as(hidden)
