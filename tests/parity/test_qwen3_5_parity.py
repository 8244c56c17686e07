"""Qwen 3.5 live against `transformers`: random models of every shape that the family allows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from live import Case, check_engine, check_reference, make_pair

LINEAR, FULL = "linear_attention", "full_attention"


def dense(**changes: Any) -> dict[str, Any]:
    text: dict[str, Any] = {
        "model_type": "qwen3_5_text",
        "vocab_size": 251,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 4,
        "layer_types": [LINEAR, LINEAR, LINEAR, FULL],
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rms_norm_eps": 1e-6,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_conv_kernel_dim": 4,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "rope_parameters": rope(0.25, [2, 1, 1]),
    }
    return text | changes


def rope(share: float, sections: list[int], **scaling: Any) -> dict[str, Any]:
    return {
        "rope_type": "default",
        "rope_theta": 1e7,
        "partial_rotary_factor": share,
        "mrope_section": sections,
        "mrope_interleaved": True,
    } | scaling


def mixture(experts: int, chosen: int, **changes: Any) -> dict[str, Any]:
    text = dense(
        model_type="qwen3_5_moe_text",
        num_experts=experts,
        num_experts_per_tok=chosen,
        moe_intermediate_size=48,
        shared_expert_intermediate_size=80,
    )
    del text["intermediate_size"]
    return text | changes


VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "num_position_embeddings": 16,
}

CASES = {
    "dense": Case(dense()),
    "dense-tied": Case(dense(tie_word_embeddings=True)),
    "all-full": Case(dense(layer_types=[FULL] * 3, num_hidden_layers=3, num_key_value_heads=1), chunks=(3, 60)),
    "all-linear": Case(dense(layer_types=[LINEAR] * 3, num_hidden_layers=3, linear_num_value_heads=2)),
    "full-first": Case(
        dense(
            layer_types=[FULL, LINEAR, FULL, LINEAR],
            num_attention_heads=6,
            head_dim=16,
            rope_parameters=rope(0.5, [2, 1, 1]),
        ),
        rows=130,
    ),
    "no-grouping": Case(dense(num_key_value_heads=4, rope_parameters=rope(1.0, [6, 5, 5]))),
    "wide-heads": Case(
        dense(
            head_dim=64,
            linear_key_head_dim=32,
            linear_value_head_dim=48,
            linear_num_value_heads=6,
            rope_parameters=rope(0.25, [3, 3, 2]),
        )
    ),
    "yarn": Case(
        dense(rope_parameters=rope(0.5, [3, 3, 2], rope_type="yarn", factor=4.0, original_max_position_embeddings=1024))
    ),
    "spread-positions": Case(dense(rope_parameters=rope(1.0, [6, 5, 5])), spread_positions=True),
    "bf16": Case(dense(), dtype=torch.bfloat16),
    "f16-tied": Case(dense(tie_word_embeddings=True), dtype=torch.float16),
    "one-expert": Case(mixture(1, 1)),
    "odd-experts": Case(mixture(7, 3, num_key_value_heads=1)),
    "all-experts": Case(mixture(5, 5, tie_word_embeddings=True)),
    "many-experts": Case(mixture(32, 4, layer_types=[FULL, LINEAR, LINEAR, FULL]), dtype=torch.bfloat16),
    "wrapped-dense": Case(dense(tie_word_embeddings=True), wrapped=True, vision=VISION),
    "wrapped-mixture": Case(mixture(4, 2), wrapped=True, vision=VISION),
    "fp8-dense": Case(dense(hidden_size=192, intermediate_size=160), fp8=True),
    "fp8-mixture": Case(
        mixture(3, 2, hidden_size=144, moe_intermediate_size=136), fp8=True, wrapped=True, vision=VISION
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_parity(name: str, tmp_path: Path) -> None:
    pair = make_pair(CASES[name], name, tmp_path)
    exact = check_reference(pair)
    full, half = check_engine(pair)
    print(f"| Qwen 3.5 | {name} | {exact:.1e} | {full:.1e} | {half:.1e} |")  # for docs/benchmarks.md, with pytest -s
    assert exact < 2e-5
    assert full < 1e-4
    assert half < 5e-3
