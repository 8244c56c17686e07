"""Configs: what a file says about its model, frozen, the same from GGUF and Hugging Face. `parse` reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: 0.1. Python may compile decimal constants in a caller's rounding mode (docs/numerics.md), which changes this one.
ATTN_SCALE = float.fromhex("0x1.999999999999ap-4")


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding: rotates the first `dims` of each head.

    `sections` (Qwen): how many of the dims/2 frequencies follow the time, height and width position, interleaved
    t h w t h w …; empty: all follow the one text position.
    `scaling`: "none"; "yarn" (static, factor over original_context, attention_factor multiplies cos and sin);
    "llama3" (factor, low_frequency_factor, high_frequency_factor, original_context).
    """

    dims: int
    theta: float
    sections: tuple[int, ...] = ()
    scaling: Literal["none", "yarn", "llama3"] = "none"
    factor: float = 1.0
    original_context: int = 0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    #: Divisors of each frequency (GGUF `rope_freqs.weight`); replace `scaling` if not empty.
    frequency_divisors: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _TextModel:
    """The fields that both families have."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rotary: Rotary
    rms_norm_eps: float
    tie_word_embeddings: bool
    max_position_embeddings: int
    #: the file's number of experts a token, if the user has chosen another (config/experts.py)
    own_experts_per_tok: int | None = None
    #: unusual properties of the file, for people
    notes: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class Qwen3_5Config(_TextModel):
    """Qwen 3.5 text model, dense (`num_experts` 0) or mixture of experts."""

    #: of each layer: "linear_attention" or "full_attention"
    layer_types: tuple[str, ...]
    linear_num_key_heads: int
    linear_num_value_heads: int
    linear_key_head_dim: int
    linear_value_head_dim: int
    linear_conv_kernel_dim: int
    #: width of a dense feed-forward; 0 in a mixture
    intermediate_size: int = 0
    #: of a mixture; 0 in a dense model
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    shared_expert_intermediate_size: int = 0
    mtp_num_hidden_layers: int = 0
    #: value head j reads key head j // (values/keys) ("grouped", Hugging Face) or j % keys ("tiled", GGUF)
    value_head_order: Literal["grouped", "tiled"]
    family: Literal["qwen3_5"] = "qwen3_5"

    @property
    def is_mixture(self) -> bool:
        return self.num_experts > 0


@dataclass(frozen=True, kw_only=True)
class Llama4Config(_TextModel):
    """Llama 4 text model: Scout (every layer a mixture), Maverick (every second)."""

    #: of each layer: rotary positions or none (NoPE)
    rope_layers: tuple[bool, ...]
    #: of each layer: chunk-local attention or global
    chunked_layers: tuple[bool, ...]
    attention_chunk_size: int
    #: of each layer: mixture of experts or dense
    moe_layers: tuple[bool, ...]
    use_qk_norm: bool
    attn_temperature_tuning: bool
    floor_scale: int = 8192
    attn_scale: float = ATTN_SCALE
    #: width of a dense layer
    intermediate_size_mlp: int
    #: width of an expert and of the shared expert
    intermediate_size: int
    num_local_experts: int
    num_experts_per_tok: int
    family: Literal["llama4"] = "llama4"


Config = Qwen3_5Config | Llama4Config

#: `general.architecture` of GGUF files and `model_type` of config.json that we support
GGUF_ARCHITECTURES = ("qwen35", "qwen35moe", "llama4")
MODEL_TYPES = ("qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text", "llama4", "llama4_text")
