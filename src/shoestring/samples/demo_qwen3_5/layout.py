"""Sizes of demo-qwen3.5, and the metadata of its GGUF file. The trainer and the join agree by this file."""

from __future__ import annotations

from typing import Any

import numpy as np

LAYERS, HIDDEN = 30, 576
HEADS, KV_HEADS = 9, 3
#: Dims of a head in SmolLM2 and of a delta-net head; the first of a full-attention head, which rotate.
HEAD_DIM = 64
#: Dims of a full-attention head. Of the others, which do not rotate, one makes the norms of q and k constant.
WIDE = 128
USED = HEAD_DIM + 1
CONVOLUTION = 4
#: Every fourth layer is full attention, as in every published Qwen 3.5.
FULL_LAYERS = tuple(range(3, LAYERS, 4))
#: Of SmolLM2's 1,536 neurons the first are the shared expert, the last the beginning of each routed one.
SHARED, ROUTED = 1024, 512
EXPERTS, ACTIVE = 4, 2
#: Rank of what tells one expert from another.
RANK = 8

SIZES = {
    "llama.block_count": LAYERS,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": SHARED + ROUTED,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
}


def metadata(old: dict[str, Any]) -> dict[str, Any]:
    """llama.cpp's keys for a Qwen 3.5 mixture; tokenizer, chat template and licence are those of `old`."""
    kept = {k: v for k, v in old.items() if k.startswith(("general.", "tokenizer."))}
    own = {
        "block_count": LAYERS,
        "context_length": old["llama.context_length"],
        "embedding_length": HIDDEN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.key_length": WIDE,
        "attention.value_length": WIDE,
        "attention.layer_norm_rms_epsilon": np.float32(old["llama.attention.layer_norm_rms_epsilon"]),
        "attention.recurrent_layers": [i not in FULL_LAYERS for i in range(LAYERS)],
        "full_attention_interval": FULL_LAYERS[0] + 1,
        "rope.freq_base": np.float32(old["llama.rope.freq_base"]),
        "rope.dimension_count": HEAD_DIM,
        "rope.dimension_sections": [11, 11, 10, 0],
        "ssm.conv_kernel": CONVOLUTION,
        "ssm.state_size": HEAD_DIM,
        "ssm.group_count": HEADS,
        "ssm.time_step_rank": HEADS,
        "ssm.inner_size": HEADS * HEAD_DIM,
        "expert_count": EXPERTS,
        "expert_used_count": ACTIVE,
        "expert_feed_forward_length": ROUTED,
        "expert_shared_feed_forward_length": SHARED,
    }
    return {
        **kept,
        "general.architecture": "qwen35moe",
        "general.name": "SmolLM2-135M-Instruct distilled into the Qwen 3.5 architecture",
        "general.description": "The machinery of Qwen 3.5 with weights of SmolLM2 and a short training; not Qwen's",
        **{f"qwen35moe.{key}": value for key, value in own.items()},
    }
