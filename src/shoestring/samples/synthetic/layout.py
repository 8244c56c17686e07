"""Tensors and metadata of a GGUF file of each family, as llama.cpp's converter writes them.

Owns names, shapes (outermost first) and the sense of each tensor's random content; no bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from shoestring.checkpoint.config.types import Config, Llama4Config, Qwen3_5Config
from shoestring.errors import RequestError
from shoestring.samples.synthetic.vocabulary import vocabulary

Fill = Literal["matrix", "norm", "decay", "dt_bias", "convolution", "values"]


@dataclass(frozen=True)
class Slot:
    """A tensor to be filled. `gain`: a matrix multiplies its input's deviation by about this."""

    name: str
    shape: tuple[int, ...]
    fill: Fill = "matrix"
    gain: float = 1.0
    values: tuple[float, ...] = ()


def layout(config: Config) -> list[Slot]:
    """All tensors of a model, in the order in which they are written."""
    return list(_llama4(config) if isinstance(config, Llama4Config) else _qwen3_5(config))


def metadata(config: Config) -> dict[str, Any]:
    """All metadata but the file type."""
    if isinstance(config, Llama4Config):
        name, own = "llama4", _llama4_metadata(config)
    else:
        name, own = ("qwen35moe" if config.is_mixture else "qwen35"), _qwen3_5_metadata(config)
    common = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": np.float32(config.rms_norm_eps),
        "rope.dimension_count": config.rotary.dims,
        "rope.freq_base": np.float32(config.rotary.theta),
        "vocab_size": config.vocab_size,
    }
    rest = {key: value for key, value in own.items() if key.startswith("shoestring.")}
    return {
        "general.architecture": name,
        "general.type": "model",
        "general.name": f"synthetic {name}",
        "general.quantization_version": 2,
        **{f"{name}.{key}": value for key, value in (common | own).items() if key not in rest},
        **rest,
        **vocabulary("llama4" if name == "llama4" else "qwen35", config.vocab_size),
    }


def _ends(config: Config) -> Iterator[Slot]:
    # The head's gain is the logits' standard deviation: its input is normed.
    yield Slot("token_embd.weight", (config.vocab_size, config.hidden_size), gain=3.0 if config.tie_word_embeddings else
               config.hidden_size**0.5)  # fmt: skip
    yield Slot("output_norm.weight", (config.hidden_size,), "norm")
    if not config.tie_word_embeddings:
        yield Slot("output.weight", (config.vocab_size, config.hidden_size), gain=3.0)


def _mlp(prefix: str, suffix: str, hidden: int, width: int, experts: int = 0) -> Iterator[Slot]:
    """gate, up, down of a dense layer, a shared expert, or all routed experts of a layer."""
    lead = (experts,) if experts else ()
    yield Slot(f"{prefix}ffn_gate{suffix}.weight", (*lead, width, hidden))
    yield Slot(f"{prefix}ffn_up{suffix}.weight", (*lead, width, hidden))
    yield Slot(f"{prefix}ffn_down{suffix}.weight", (*lead, hidden, width), gain=2.0)  # silu(gate) · up is about ½


def _qwen3_5(config: Qwen3_5Config) -> Iterator[Slot]:
    hidden, dim = config.hidden_size, config.head_dim
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    key_width = config.linear_num_key_heads * config.linear_key_head_dim
    value_heads = config.linear_num_value_heads
    value_width = value_heads * config.linear_value_head_dim
    if config.linear_key_head_dim != config.linear_value_head_dim:
        raise RequestError("linear_key_head_dim and linear_value_head_dim differ, which GGUF has no key for")

    yield from _ends(config)
    for number, kind in enumerate(config.layer_types):
        n = f"blk.{number}."
        yield Slot(f"{n}attn_norm.weight", (hidden,), "norm")
        yield Slot(f"{n}post_attention_norm.weight", (hidden,), "norm")
        if kind == "full_attention":
            yield Slot(f"{n}attn_q.weight", (heads * dim * 2, hidden))
            yield Slot(f"{n}attn_k.weight", (kv_heads * dim, hidden))
            yield Slot(f"{n}attn_v.weight", (kv_heads * dim, hidden))
            yield Slot(f"{n}attn_q_norm.weight", (dim,), "norm")
            yield Slot(f"{n}attn_k_norm.weight", (dim,), "norm")
            yield Slot(f"{n}attn_output.weight", (hidden, heads * dim), gain=2.0)  # its input is gated by sigmoid
        else:
            yield Slot(f"{n}attn_qkv.weight", (2 * key_width + value_width, hidden))
            yield Slot(f"{n}attn_gate.weight", (value_width, hidden))
            yield Slot(
                f"{n}ssm_conv1d.weight", (2 * key_width + value_width, config.linear_conv_kernel_dim), "convolution"
            )
            yield Slot(f"{n}ssm_dt.bias", (value_heads,), "dt_bias")
            yield Slot(f"{n}ssm_a", (value_heads,), "decay")
            yield Slot(f"{n}ssm_alpha.weight", (value_heads, hidden))
            yield Slot(f"{n}ssm_beta.weight", (value_heads, hidden))
            yield Slot(f"{n}ssm_norm.weight", (config.linear_value_head_dim,), "norm")
            yield Slot(f"{n}ssm_out.weight", (hidden, value_width), gain=2.0)
        if config.is_mixture:
            yield Slot(f"{n}ffn_gate_inp.weight", (config.num_experts, hidden), gain=2.0)
            yield Slot(f"{n}ffn_gate_inp_shexp.weight", (hidden,))
            yield from _mlp(n, "_exps", hidden, config.moe_intermediate_size, config.num_experts)
            yield from _mlp(n, "_shexp", hidden, config.shared_expert_intermediate_size)
        else:
            yield from _mlp(n, "", hidden, config.intermediate_size)


def _llama4(config: Llama4Config) -> Iterator[Slot]:
    hidden, dim = config.hidden_size, config.head_dim
    yield from _ends(config)
    if divisors := _frequency_divisors(config):
        yield Slot("rope_freqs.weight", (len(divisors),), "values", values=divisors)
    for number, mixture in enumerate(config.moe_layers):
        n = f"blk.{number}."
        yield Slot(f"{n}attn_norm.weight", (hidden,), "norm")
        yield Slot(f"{n}attn_q.weight", (config.num_attention_heads * dim, hidden))
        yield Slot(f"{n}attn_k.weight", (config.num_key_value_heads * dim, hidden))
        yield Slot(f"{n}attn_v.weight", (config.num_key_value_heads * dim, hidden))
        yield Slot(f"{n}attn_output.weight", (hidden, config.num_attention_heads * dim))
        yield Slot(f"{n}ffn_norm.weight", (hidden,), "norm")
        if mixture:
            yield Slot(f"{n}ffn_gate_inp.weight", (config.num_local_experts, hidden), gain=4.0)
            yield from _mlp(n, "_exps", hidden, config.intermediate_size, config.num_local_experts)
            yield from _mlp(n, "_shexp", hidden, config.intermediate_size)
        else:
            yield from _mlp(n, "", hidden, config.intermediate_size_mlp)


def _frequency_divisors(config: Llama4Config) -> tuple[float, ...]:
    """What llama3 scaling divides each rotary frequency by."""
    rotary = config.rotary
    if rotary.frequency_divisors or rotary.scaling != "llama3":
        return rotary.frequency_divisors
    divisors = []
    for i in range(rotary.dims // 2):
        turns = rotary.original_context * rotary.theta ** (-2 * i / rotary.dims) / (2 * math.pi)
        low, high = rotary.low_frequency_factor, rotary.high_frequency_factor
        if turns > high:
            divisors.append(1.0)
        elif turns < low:
            divisors.append(rotary.factor)
        else:
            share = (turns - low) / (high - low)
            divisors.append(1 / ((1 - share) / rotary.factor + share))
    return tuple(divisors)


def _qwen3_5_metadata(config: Qwen3_5Config) -> dict[str, Any]:
    rotary = config.rotary
    keys: dict[str, Any] = {
        "attention.recurrent_layers": [kind == "linear_attention" for kind in config.layer_types],
        "rope.dimension_sections": [*(rotary.sections or (rotary.dims // 2, 0, 0)), 0],
        "ssm.conv_kernel": config.linear_conv_kernel_dim,
        "ssm.state_size": config.linear_key_head_dim,
        "ssm.group_count": config.linear_num_key_heads,
        "ssm.time_step_rank": config.linear_num_value_heads,
        "ssm.inner_size": config.linear_num_value_heads * config.linear_value_head_dim,
    }
    if "full_attention" in config.layer_types:
        keys["full_attention_interval"] = config.layer_types.index("full_attention") + 1
    if rotary.scaling == "yarn":
        keys["rope.scaling.type"] = "yarn"
        keys["rope.scaling.factor"] = np.float32(rotary.factor)
        keys["rope.scaling.original_context_length"] = rotary.original_context
    if config.is_mixture:
        keys["expert_count"] = config.num_experts
        keys["expert_used_count"] = config.num_experts_per_tok
        keys["expert_feed_forward_length"] = config.moe_intermediate_size
        keys["expert_shared_feed_forward_length"] = config.shared_expert_intermediate_size
    else:
        keys["feed_forward_length"] = config.intermediate_size
    return keys


def _llama4_metadata(config: Llama4Config) -> dict[str, Any]:
    """Keys of the converter; where a config leaves Llama 4's published constants, keys of our own."""
    layers = config.num_hidden_layers
    step = config.moe_layers.index(True) + 1 if any(config.moe_layers) else 0
    keys: dict[str, Any] = {
        "feed_forward_length": config.intermediate_size_mlp,
        "expert_feed_forward_length": config.intermediate_size,
        "expert_count": config.num_local_experts,
        "expert_used_count": config.num_experts_per_tok,
        "interleave_moe_layer_step": step,
    }
    if config.use_qk_norm != (config.num_local_experts != 128):
        keys["shoestring.llama4.use_qk_norm"] = config.use_qk_norm
    if config.rope_layers != tuple((i + 1) % 4 != 0 for i in range(layers)):
        keys["shoestring.llama4.no_rope_layers"] = [int(rope) for rope in config.rope_layers]
    if config.chunked_layers != config.rope_layers:
        keys["shoestring.llama4.chunked_layers"] = [int(chunked) for chunked in config.chunked_layers]
    if config.moe_layers != tuple(step > 0 and (i + 1) % step == 0 for i in range(layers)):
        keys["shoestring.llama4.moe_layers"] = [i for i, mixture in enumerate(config.moe_layers) if mixture]
    if config.attention_chunk_size != 8192:
        keys["shoestring.llama4.attention_chunk_size"] = config.attention_chunk_size
    if not config.attn_temperature_tuning:
        keys["shoestring.llama4.attn_temperature_tuning"] = False
    if config.floor_scale != 8192:
        keys["shoestring.llama4.floor_scale"] = config.floor_scale
    if config.attn_scale != 0.1:
        keys["shoestring.llama4.attn_scale"] = np.float64(config.attn_scale)
    return keys
