"""The teacher: SmolLM2-135M-Instruct in torch, with dequantized Q4_1 weights.

Defines its forward pass over windows, layer by layer.
Letters: B sequences, T tokens of a window, H hidden, D dims of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.checkpoint.tensors import Checkpoint
from shoestring.reference.dequantize import dequantize
from shoestring.samples.demo_qwen3_5.layout import HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS

THETA, EPS = 100_000.0, 1e-5


@dataclass(frozen=True)
class TeacherLayer:
    """Weights of a layer. q and k rows are in halves, as in transformers; matrices are [out, in]."""

    attn_norm: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    output: Tensor
    ffn_norm: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


@dataclass(frozen=True)
class Teacher:
    embedding: Tensor  # [V, H], the head too
    layers: tuple[TeacherLayer, ...]
    norm: Tensor


def read_teacher(source: Checkpoint, device: torch.device) -> Teacher:
    """Read the original GGUF file as float32."""

    def read(name: str) -> Tensor:
        tensor = source.tensors[name]
        if tensor.type == "F32":
            values = tensor.data.view("<f4").reshape(tensor.shape)
        else:
            values = dequantize(tensor.data.reshape(tensor.shape[0], -1), tensor.type)
        return torch.tensor(values, dtype=torch.float32, device=device)

    layers = []
    for i in range(LAYERS):
        block = f"blk.{i}."
        layers.append(
            TeacherLayer(
                attn_norm=read(block + "attn_norm.weight"),
                q=halves(read(block + "attn_q.weight"), HEADS),
                k=halves(read(block + "attn_k.weight"), KV_HEADS),
                v=read(block + "attn_v.weight"),
                output=read(block + "attn_output.weight"),
                ffn_norm=read(block + "ffn_norm.weight"),
                gate=read(block + "ffn_gate.weight"),
                up=read(block + "ffn_up.weight"),
                down=read(block + "ffn_down.weight"),
            )
        )
    return Teacher(read("token_embd.weight"), tuple(layers), read("output_norm.weight"))


def halves(rows: Tensor, heads: int) -> Tensor:
    """Reorder adjacent rotary pairs, as llama.cpp stores Llama 2 and 3, to first halves of a head, then second ones."""
    return rows.reshape(heads, HEAD_DIM // 2, 2, -1).transpose(1, 2).reshape(rows.shape).contiguous()


def normed(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return normed(x) * weight


def rotary(T: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin of the first T positions, the same for all heads: each [T, 1, D/2]."""
    frequencies = THETA ** (-torch.arange(0, HEAD_DIM, 2, device=device, dtype=torch.float64) / HEAD_DIM)
    angles = torch.arange(T, device=device, dtype=torch.float64)[:, None, None] * frequencies
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first D dims of x [..., D or more], with paired halves; keep the rest."""
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q [B, T, heads, D], k, v [B, T, kv, D] → [B, T, heads, D], causal, with grouped key-value heads."""
    group = q.shape[2] // k.shape[2]
    q, k, v = q.transpose(1, 2), *(x.transpose(1, 2).repeat_interleave(group, 1) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def attention(layer: TeacherLayer, h: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """h [B, T, H] → [B, T, H]; cos and sin [T, 1, D/2]."""
    B, T, _ = h.shape
    q = rotate(F.linear(h, layer.q).view(B, T, HEADS, HEAD_DIM), cos, sin)
    k = rotate(F.linear(h, layer.k).view(B, T, KV_HEADS, HEAD_DIM), cos, sin)
    v = F.linear(h, layer.v).view(B, T, KV_HEADS, HEAD_DIM)
    return F.linear(attend(q, k, v).reshape(B, T, HIDDEN), layer.output)


def feed_forward(layer: TeacherLayer, h: Tensor) -> Tensor:
    return F.linear(F.silu(F.linear(h, layer.gate)) * F.linear(h, layer.up), layer.down)


@dataclass(frozen=True)
class Passed:
    """Activations of one layer: inputs of its two parts after their norms, and their outputs."""

    attention_input: Tensor  # [B, T, H]
    attention_output: Tensor  # [B, T, H]
    feed_forward_input: Tensor  # [B, T, H]
    output: Tensor  # [B, T, H], the residual stream after the layer


def layer(p: TeacherLayer, x: Tensor, cos: Tensor, sin: Tensor) -> Passed:
    """Pass the residual stream x [B, T, H] through one layer."""
    h = rms_norm(x, p.attn_norm)
    mixed = attention(p, h, cos, sin)
    x = x + mixed
    after = rms_norm(x, p.ffn_norm)
    return Passed(h, mixed, after, x + feed_forward(p, after))


@torch.no_grad()
def walk(teacher: Teacher, tokens: Tensor, one_layer: Callable[..., Passed] = layer) -> Iterator[Passed]:
    """Yield the activations of each layer for tokens [B, T]; `one_layer` may be `layer`, compiled."""
    cos, sin = rotary(tokens.shape[1], tokens.device)
    x = teacher.embedding[tokens]
    for p in teacher.layers:
        passed = one_layer(p, x, cos, sin)
        x = passed.output
        yield passed


@torch.no_grad()
def hidden(teacher: Teacher, tokens: Tensor) -> Tensor:
    """Hidden states after the last norm, [B, T, H]; their product with the embedding gives the logits."""
    for passed in walk(teacher, tokens):
        last = passed.output
    return rms_norm(last, teacher.norm)


def as_tokens(ids: npt.NDArray[np.uint16], device: torch.device) -> Tensor:
    return torch.tensor(ids.astype(np.int64), device=device)
