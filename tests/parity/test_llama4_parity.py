"""Llama 4 live against `transformers`: random models of every shape that the family allows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from live import Case, check_engine, check_reference, make_pair


def text(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "model_type": "llama4_text",
        "vocab_size": 251,
        "hidden_size": 64,
        "intermediate_size": 48,
        "intermediate_size_mlp": 112,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rms_norm_eps": 1e-5,
        "attention_chunk_size": 32,
        "no_rope_layers": [1, 1, 1, 0],
        "attn_temperature_tuning": True,
        "floor_scale": 16,
        "attn_scale": 0.1,
        "use_qk_norm": True,
        "interleave_moe_layer_step": 1,
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
    }
    return config | changes


def llama3(factor: float, low: float, high: float, original: int) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vision_output_dim": 32,
    "projector_input_dim": 32,
    "projector_output_dim": 32,
    "image_size": 28,
    "patch_size": 14,
}

CASES = {
    "scout": Case(text(rope_parameters=llama3(16.0, 1.0, 1.0, 64))),
    "maverick": Case(text(interleave_moe_layer_step=2, num_local_experts=8, use_qk_norm=False)),
    "dense": Case(text(moe_layers=[]), chunks=(33, 1)),
    "one-expert": Case(text(num_local_experts=1)),
    "odd-experts": Case(text(num_local_experts=7, num_attention_heads=6)),
    "two-chosen": Case(text(num_local_experts=5, num_experts_per_tok=2)),
    "tied": Case(text(tie_word_embeddings=True, num_key_value_heads=1)),
    "all-rope": Case(text(no_rope_layers=[1, 1, 1, 1], num_key_value_heads=4)),
    "no-rope": Case(text(no_rope_layers=[0, 0, 0, 0])),
    "every-second": Case(text(no_rope_layers=[1, 0, 1, 0], attention_chunk_size=64), rows=150),
    "no-temperature": Case(text(attn_temperature_tuning=False, rope_parameters=llama3(8.0, 1.0, 4.0, 64))),
    "chunk-off-pages": Case(text(attention_chunk_size=100, head_dim=64), rows=230, chunks=(90, 30, 1)),
    "small-chunk": Case(text(attention_chunk_size=5, head_dim=16, floor_scale=3), chunks=(1, 1, 4, 7)),
    "chunked-without-rope": Case(
        text(
            layer_types=["chunked_attention", "full_attention", "chunked_attention", "chunked_attention"],
            no_rope_layers=[1, 1, 0, 0],
        )
    ),
    "bf16": Case(text(), dtype=torch.bfloat16),
    "fp8": Case(text(hidden_size=192, intermediate_size_mlp=160, interleave_moe_layer_step=2), fp8=True, seed=1),
    "wrapped": Case(text(), wrapped=True, vision=VISION),
    "wrapped-bf16-maverick": Case(text(interleave_moe_layer_step=2), wrapped=True, vision=VISION, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("name", CASES)
def test_parity(name: str, tmp_path: Path) -> None:
    pair = make_pair(CASES[name], name, tmp_path)
    exact = check_reference(pair)
    full, half = check_engine(pair)
    print(f"| Llama 4 | {name} | {exact:.1e} | {full:.1e} | {half:.1e} |")  # for docs/benchmarks.md, with pytest -s
    assert exact < 2e-5
    assert full < 1e-4
    assert half < 5e-3
