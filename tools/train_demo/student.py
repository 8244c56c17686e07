"""The student: the Qwen 3.5 mixture in torch, for training.

Defines parameter names and shapes, and the forward pass of one layer. Names are those of `transformers` within a
layer (A_log, dt_bias …), with two differences that the export undoes: norms store their whole weight (not minus one),
and the four experts are one frozen matrix each for gate, up and down, plus trained low-rank differences. Letters:
B sequences, T tokens, H hidden, N heads, D dims of a delta-net head, C tokens of a chunk, E experts, M their width,
r rank of a difference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.samples.demo_qwen3_5.layout import (
    ACTIVE,
    EXPERTS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    RANK,
    ROUTED,
    WIDE,
)
from train_demo.teacher import attend, rms_norm, rotate

CHUNK = 64  # tokens whose corrections are solved together
DELTA_NORM_EPS = 1e-6

Parameters = dict[str, Tensor]


def delta_net(p: Parameters, h: Tensor) -> Tensor:
    """Gated delta rule over h [B, T, H] from an empty state → [B, T, H]; T is a multiple of CHUNK."""
    B, T, _ = h.shape
    qkv = causal_convolution(F.linear(h, p["in_proj_qkv"]), p["conv1d"])
    q, k, v = (x.reshape(B, T, HEADS, HEAD_DIM) for x in qkv.split(HEADS * HEAD_DIM, -1))
    g = -p["A_log"].exp() * F.softplus(F.linear(h, p["in_proj_a"]) + p["dt_bias"])  # [B, T, N]
    beta = F.linear(h, p["in_proj_b"]).sigmoid()  # [B, T, N]
    with torch.autocast(h.device.type, enabled=False):
        o = delta_rule(*(x.float() for x in (unit(q) * HEAD_DIM**-0.5, unit(k), v, g, beta)))
    z = F.linear(h, p["in_proj_z"]).view(B, T, HEADS, HEAD_DIM)
    return F.linear((rms_norm(o, p["norm"]) * F.silu(z)).reshape(B, T, -1), p["out_proj"])


def causal_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """silu of the depthwise convolution of x [B, T, channels] with weight [channels, taps]."""
    taps = weight.shape[1]
    padded = F.pad(x, (0, 0, taps - 1, 0))
    return F.silu(torch.stack([padded[:, tap : tap + x.shape[1]] * weight[:, tap] for tap in range(taps)]).sum(0))


def unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + DELTA_NORM_EPS)


def delta_rule(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) -> Tensor:
    """q, k, v [B, T, N, D], log decays g and beta [B, T, N] → [B, T, N, D], by chunks (arXiv 2412.06464).

    Within a chunk the corrections of the tokens depend on each other through a unit triangular system; its
    solution splits into a part without the state (`fresh`) and one to subtract for the state (`known`).
    """
    B, T, N, D = q.shape
    q, k, v = (x.transpose(1, 2).reshape(B, N, T // CHUNK, CHUNK, D) for x in (q, k, v))
    g, beta = (x.transpose(1, 2).reshape(B, N, T // CHUNK, CHUNK, 1) for x in (g, beta))
    decay = g.cumsum(3)  # [B, N, chunks, C, 1]
    later = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=q.device).tril()
    between = (decay - decay.transpose(3, 4)).masked_fill(~later, -torch.inf).exp()  # [B, N, chunks, C, C]
    system = (k * beta) @ k.transpose(3, 4) * between
    right_sides = torch.cat([v * beta, k * beta * decay.exp()], -1)
    solved = torch.linalg.solve_triangular(system, right_sides, upper=False, unitriangular=True)
    fresh, known = solved.split(D, -1)
    scores = q @ k.transpose(3, 4) * between
    decayed_q = q * decay.exp()
    decayed_k = k * (decay[..., -1:, :] - decay).exp()
    fading = decay[..., -1:, :].exp()
    state = q.new_zeros(B, N, D, D)
    out = []
    for c in range(T // CHUNK):
        update = fresh[:, :, c] - known[:, :, c] @ state
        out.append(decayed_q[:, :, c] @ state + scores[:, :, c] @ update)
        state = state * fading[:, :, c] + decayed_k[:, :, c].transpose(2, 3) @ update
    return torch.cat(out, 2).transpose(1, 2)


def attention(p: Parameters, h: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Gated attention over h [B, T, H] → [B, T, H]; cos and sin [T, 1, D/2]."""
    B, T, _ = h.shape
    q, gate = F.linear(h, p["q_proj"]).view(B, T, HEADS, 2 * WIDE).split(WIDE, -1)
    k = F.linear(h, p["k_proj"]).view(B, T, KV_HEADS, WIDE)
    v = F.linear(h, p["v_proj"]).view(B, T, KV_HEADS, WIDE)
    q, k = rotate(rms_norm(q, p["q_norm"]), cos, sin), rotate(rms_norm(k, p["k_norm"]), cos, sin)
    o = attend(q, k, v) * gate.sigmoid()
    return F.linear(o.reshape(B, T, HEADS * WIDE), p["o_proj"])


def mixture(p: Parameters, h: Tensor) -> tuple[Tensor, Tensor]:
    """Shared expert and two of four routed ones: h [B, T, H] → [B, T, H], and the router's imbalance.

    Computes all experts' neurons from one product with the frozen base; unused experts have weight 0.
    """
    x = h.reshape(-1, HIDDEN)  # [R, H]
    with torch.autocast(h.device.type, enabled=False):  # choose experts as the engine does
        chances = F.linear(x, p["router"]).softmax(-1)  # [R, E]
    best, which = chances.topk(ACTIVE, -1)
    weights = torch.zeros_like(chances).scatter(1, which, best / best.sum(-1, keepdim=True))
    # Switch Transformer's loss: 1 if shares and probabilities are even.
    used = (weights > 0).float().mean(0) / ACTIVE
    imbalance = EXPERTS * (used * chances.mean(0)).sum()

    neurons = F.silu(F.linear(x, p["shared_gate_proj"])) * F.linear(x, p["shared_up_proj"])
    shared = 2 * F.linear(x, p["shared_gate"]).sigmoid() * F.linear(neurons, p["shared_down_proj"])
    reduced = F.linear(x, p["gate_up_in"]).view(-1, 2 * EXPERTS, RANK).transpose(0, 1)  # [2E, R, r]
    gate, up = torch.bmm(reduced, p["gate_up_out"]).view(2, EXPERTS, -1, ROUTED)  # each [E, R, M]
    gate, up = gate + F.linear(x, p["gate_base"]), up + F.linear(x, p["up_base"])
    neurons = F.silu(gate) * up * weights.t()[:, :, None]  # [E, R, M]
    low = torch.bmm(neurons, p["down_in"]).transpose(0, 1).reshape(-1, EXPERTS * RANK)  # [R, E·r]
    routed = F.linear(neurons.sum(0), p["down_base"]) + low @ p["down_out"]
    return (shared + routed).view_as(h), imbalance


def layer(p: Parameters, x: Tensor, full: bool, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """The residual stream x [B, T, H] after one layer, and the router's imbalance."""
    h = rms_norm(x, p["input_norm"])
    x = x + (attention(p, h, cos, sin) if full else delta_net(p, h))
    mixed, imbalance = mixture(p, rms_norm(x, p["post_norm"]))
    return x + mixed, imbalance
