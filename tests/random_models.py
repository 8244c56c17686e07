"""Configs of small random models of both families: inner sizes are multiples of 256, as K-quants want."""

from __future__ import annotations

from shoestring.checkpoint.config.types import Llama4Config, Qwen3_5Config, Rotary

Config = Qwen3_5Config | Llama4Config
VOCABULARY = 1024


def qwen3_5(*, layers: int = 4, experts: int = 8, tied: bool = False) -> Qwen3_5Config:
    """Every fourth layer full attention; `experts` 0: dense."""
    return Qwen3_5Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=layers,
        layer_types=tuple("full_attention" if (i + 1) % 4 == 0 else "linear_attention" for i in range(layers)),
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        rotary=Rotary(dims=32, theta=1e7, sections=(6, 5, 5)),
        rms_norm_eps=1e-6,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=64,
        linear_value_head_dim=64,
        linear_conv_kernel_dim=4,
        intermediate_size=0 if experts else 512,
        num_experts=experts,
        num_experts_per_tok=2 if experts else 0,
        moe_intermediate_size=256 if experts else 0,
        shared_expert_intermediate_size=256 if experts else 0,
        tie_word_embeddings=tied,
        max_position_embeddings=4096,
        mtp_num_hidden_layers=0,
        value_head_order="tiled",
    )


def llama4(*, layers: int = 4, experts: int = 4, step: int = 1) -> Llama4Config:
    """What llama.cpp's llama4 hard-codes: NoPE every fourth layer, qk-norm, temperature, chunks of 8192."""
    rope = tuple((i + 1) % 4 != 0 for i in range(layers))
    return Llama4Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        rotary=Rotary(
            dims=64,
            theta=5e5,
            scaling="llama3",
            factor=16.0,
            low_frequency_factor=1.0,
            high_frequency_factor=1.0,
            original_context=8192,
        ),
        rms_norm_eps=1e-5,
        rope_layers=rope,
        chunked_layers=rope,
        attention_chunk_size=8192,
        moe_layers=tuple((i + 1) % step == 0 for i in range(layers)),
        use_qk_norm=True,
        attn_temperature_tuning=True,
        floor_scale=8192,
        attn_scale=0.1,
        intermediate_size_mlp=512,
        intermediate_size=256,
        num_local_experts=experts,
        num_experts_per_tok=1,
        tie_word_embeddings=False,
        max_position_embeddings=16384,
    )
