"""Sizes and config of demo-qwen3.5, shared by the trainer and the join."""

from __future__ import annotations

from typing import Any

from shoestring.checkpoint.config.types import Qwen3_5Config, Rotary
from shoestring.samples import smollm

LAYERS, HIDDEN, HEADS, KV_HEADS = smollm.LAYERS, smollm.HIDDEN, smollm.HEADS, smollm.KV_HEADS
#: Dims of a head in SmolLM2 and of a delta-net head; the first of a full-attention head, which rotate.
HEAD_DIM = smollm.HEAD_DIM
#: Dims of a full-attention head. Of the others, which do not rotate, one makes the norms of q and k constant.
WIDE = 128
USED = HEAD_DIM + 1
CONVOLUTION = 4
#: Every fourth layer is full attention, as in every published Qwen 3.5.
FULL_LAYERS = tuple(range(3, LAYERS, 4))
#: Of SmolLM2's 1,536 neurons, the first form the shared expert; every routed expert starts from the last.
SHARED, ROUTED = 1024, 512
EXPERTS, ACTIVE = 4, 2
#: Rank of the differences between experts.
RANK = 8


def config(old: dict[str, Any]) -> Qwen3_5Config:
    """The config of a model derived from SmolLM2, whose metadata is `old`."""
    return Qwen3_5Config(
        vocab_size=old["llama.vocab_size"],
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        layer_types=tuple("full_attention" if i in FULL_LAYERS else "linear_attention" for i in range(LAYERS)),
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=WIDE,
        rotary=Rotary(dims=HEAD_DIM, theta=old["llama.rope.freq_base"], sections=(11, 11, 10)),
        rms_norm_eps=old["llama.attention.layer_norm_rms_epsilon"],
        linear_num_key_heads=HEADS,
        linear_num_value_heads=HEADS,
        linear_key_head_dim=HEAD_DIM,
        linear_value_head_dim=HEAD_DIM,
        linear_conv_kernel_dim=CONVOLUTION,
        num_experts=EXPERTS,
        num_experts_per_tok=ACTIVE,
        moe_intermediate_size=ROUTED,
        shared_expert_intermediate_size=SHARED,
        tie_word_embeddings=True,
        max_position_embeddings=old["llama.context_length"],
        value_head_order="tiled",
    )
