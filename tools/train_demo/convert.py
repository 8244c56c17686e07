"""Convert the teacher's weights to the student's initial ones, without training.

The key is a vector u for each norm with u·h ≈ 1 for the norm's outputs h: Qwen has no biases, and u acts as one.

    full attention  q and k get an extra row C·u, so that Qwen's norm of q and k always divides by nearly the same
                    number, which its weight undoes; output gate rows 0 (sigmoid ½), output doubled
    delta-net       q, k, v from the teacher's, repeated per head and small; convolution nearly the identity;
                    z = 1.28·u, so that silu(z) ≈ 1; decays by how far back each of the teacher's heads attends
    mixture         every expert starts from the last third of the neurons; the others are the shared expert,
                    whose gate is 0 and whose output is doubled
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.samples.demo_qwen3_5.layout import (
    ACTIVE,
    CONVOLUTION,
    EXPERTS,
    FULL_LAYERS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    RANK,
    ROUTED,
    SHARED,
    WIDE,
)
from train_demo.student import Parameters, delta_net
from train_demo.teacher import Passed, Teacher, TeacherLayer, rotary, rotate, walk

_RMS = 0.3  # of q, k and v before the convolution's silu, which is nearly linear there
_DECAYS = (0.2, 1.0, 4.0)  # memory of a group's heads, as multiples of how far back their teacher attends
_FIT = 0.1  # ridge, as a share of the mean variance: a smaller one overfits


def convert(teacher: Teacher, tokens: Tensor) -> list[Parameters]:
    """The parameters of every layer, from the teacher's activations on tokens [B, T] (some thousands in all)."""
    chance = torch.Generator(device=tokens.device).manual_seed(0)
    layers = []
    for i, (old, passed) in enumerate(zip(teacher.layers, walk(teacher, tokens), strict=True)):
        p: Parameters = {"input_norm": old.attn_norm.clone(), "post_norm": old.ffn_norm.clone()}
        if i in FULL_LAYERS:
            p |= _full_attention(old, passed)
        else:
            p |= _delta_net(old, passed, chance)
        layers.append(p | _mixture(old, passed.feed_forward_input.reshape(-1, HIDDEN), chance))
    return layers


def constant(h: Tensor, ridge: float = 1e-2) -> Tensor:
    """The vector u with u·h ≈ 1 for rows h [R, H]."""
    square = h.t() @ h
    damped = square + ridge * square.diagonal().mean() * torch.eye(HIDDEN, device=h.device)
    return torch.linalg.solve(damped, h.sum(0))


def _full_attention(old: TeacherLayer, passed: Passed) -> Parameters:
    h = passed.attention_input.reshape(-1, HIDDEN)
    u = constant(h)
    p: Parameters = {}
    gates = torch.zeros(HEADS, WIDE, HIDDEN, device=h.device)
    for name, rows, heads in (("q", old.q, HEADS), ("k", old.k, KV_HEADS)):
        projected = F.linear(h, rows).view(-1, heads, HEAD_DIM)
        size = 4 * projected.norm(dim=-1).mean(0).max()
        wide = torch.zeros(heads, WIDE, HIDDEN, device=h.device)
        wide[:, :HEAD_DIM] = rows.view(heads, HEAD_DIM, HIDDEN)
        wide[:, HEAD_DIM] = size * u
        # The norm divides by √((|q|² + C²) / WIDE), which is close to this for all tokens.
        undo = ((projected.square().sum(-1) + size**2) / WIDE).sqrt().mean()
        norm = torch.zeros(WIDE, device=h.device)
        norm[:HEAD_DIM] = undo
        if name == "q":
            norm *= math.sqrt(WIDE / HEAD_DIM)  # scores are divided by √WIDE now
            wide = torch.cat([wide, gates], 1)
        p[f"{name}_proj"], p[f"{name}_norm"] = wide.reshape(-1, HIDDEN), norm
    p["v_proj"] = F.pad(old.v.view(KV_HEADS, HEAD_DIM, HIDDEN), (0, 0, 0, WIDE - HEAD_DIM)).reshape(-1, HIDDEN)
    output = 2 * old.output.view(HIDDEN, HEADS, HEAD_DIM)
    p["o_proj"] = F.pad(output, (0, WIDE - HEAD_DIM)).reshape(HIDDEN, -1)
    return {name: value.contiguous() for name, value in p.items()}


def _delta_net(old: TeacherLayer, passed: Passed, chance: torch.Generator) -> Parameters:
    h = passed.attention_input.reshape(-1, HIDDEN)
    u, device = constant(h), h.device
    group = HEADS // KV_HEADS

    def scaled(rows: Tensor) -> Tensor:
        return rows * (_RMS / F.linear(h, rows).square().mean().sqrt())

    def repeated(rows: Tensor) -> Tensor:
        return rows.view(KV_HEADS, 1, HEAD_DIM, HIDDEN).expand(-1, group, -1, -1).reshape(-1, HIDDEN)

    reach = _reach(old, passed.attention_input)  # [heads], tokens
    spread = torch.tensor(_DECAYS, device=device).repeat(KV_HEADS)
    # softplus(a + dt_bias) = 1 initially, so that A alone is the decay per token.
    p: Parameters = {
        "in_proj_qkv": torch.cat([scaled(old.q), scaled(repeated(old.k)), scaled(repeated(old.v))]),
        "in_proj_z": (1.28 * u).expand(HEADS * HEAD_DIM, -1).clone(),
        "in_proj_a": torch.zeros(HEADS, HIDDEN, device=device),
        "in_proj_b": torch.zeros(HEADS, HIDDEN, device=device),
        "conv1d": 0.02 * torch.randn(3 * HEADS * HEAD_DIM, CONVOLUTION, generator=chance, device=device),
        "A_log": -(reach * spread).clamp(2, 500).log(),
        "dt_bias": torch.full((HEADS,), math.log(math.e - 1), device=device),
        "norm": torch.ones(HEAD_DIM, device=device),
        "out_proj": torch.eye(HIDDEN, device=device),
    }
    p["conv1d"][:, -1] += 1
    with torch.no_grad():
        features = delta_net(p, passed.attention_input).reshape(-1, HIDDEN)
    p["out_proj"] = fitted(features, passed.attention_output.reshape(-1, HIDDEN))
    return p


def fitted(features: Tensor, target: Tensor) -> Tensor:
    """The matrix [H, F] that maps features [R, F] closest to target [R, H]."""
    square = features.t() @ features
    damped = square + _FIT * square.diagonal().mean() * torch.eye(len(square), device=features.device)
    return torch.linalg.solve(damped, features.t() @ target).t().contiguous()


def _reach(old: TeacherLayer, h: Tensor) -> Tensor:
    """How many tokens back each head of the teacher attends on average, without the first token, [heads]."""
    h = h[:4]
    B, T, _ = h.shape
    cos, sin = rotary(T, h.device)
    q = rotate(F.linear(h, old.q).view(B, T, HEADS, HEAD_DIM), cos, sin).transpose(1, 2)
    k = rotate(F.linear(h, old.k).view(B, T, KV_HEADS, HEAD_DIM), cos, sin).transpose(1, 2)
    scores = q @ k.repeat_interleave(HEADS // KV_HEADS, 1).transpose(2, 3) * HEAD_DIM**-0.5
    causal = torch.ones(T, T, dtype=torch.bool, device=h.device).tril()
    shares = scores.masked_fill(~causal, -torch.inf).softmax(-1)[..., 1:]  # [B, heads, T, T − 1]
    back = torch.arange(T, device=h.device)[:, None] - torch.arange(1, T, device=h.device)
    return (shares * back.clamp(min=0)).sum((0, 2, 3)) / shares.sum((0, 2, 3))


def _mixture(old: TeacherLayer, h: Tensor, chance: torch.Generator) -> Parameters:
    device = h.device
    return {
        "router": _router(h),
        "shared_gate": torch.zeros(1, HIDDEN, device=device),
        "shared_gate_proj": old.gate[:SHARED].contiguous(),
        "shared_up_proj": old.up[:SHARED].contiguous(),
        "shared_down_proj": old.down[:, :SHARED].contiguous(),
        "gate_base": old.gate[SHARED:].contiguous(),
        "up_base": old.up[SHARED:].contiguous(),
        "down_base": old.down[:, SHARED:].contiguous(),
        # One factor random, the other 0: experts are equal initially.
        "gate_up_in": torch.randn(2 * EXPERTS * RANK, HIDDEN, generator=chance, device=device) / HIDDEN**0.5,
        "gate_up_out": torch.zeros(2 * EXPERTS, RANK, ROUTED, device=device),
        "down_in": torch.randn(EXPERTS, ROUTED, RANK, generator=chance, device=device) / ROUTED**0.5,
        "down_out": torch.zeros(EXPERTS * RANK, HIDDEN, device=device),
    }


def _router(h: Tensor) -> Tensor:
    """Rows a, −a, b, −b for rows h [R, H]: the two main directions in which tokens differ, split at the median."""
    u = constant(h)
    centred = h - h.mean(0)
    _, directions = torch.linalg.eigh(centred.t() @ centred)  # columns, the largest last
    rows = []
    for direction in directions.t().flip(0)[: EXPERTS // ACTIVE]:
        along = F.linear(h, direction[None])[:, 0]
        row = (direction - along.median() * u) * (1.5 / along.std())
        rows += [row, -row]
    return torch.stack(rows)
