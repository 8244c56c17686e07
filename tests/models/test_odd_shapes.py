"""Tiny random models of any widths, as people make them for tests of their own: right, and the same in any steps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_vocabulary
from run_steps import run
from tiny_models import TinyModel, llama_config, qwen_config, tokens
from tiny_models import llama_tensors as llama
from tiny_models import qwen_tensors as qwen

from shoestring.errors import CheckpointError
from shoestring.models.weights import load_weights
from shoestring.reference.model import logits as reference_logits
from shoestring.runtime.loading import load
from shoestring.runtime.opening import open_model

DEFAULT_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
MIXTURE = {
    "architectures": ["Qwen3_5MoeForCausalLM"],
    "model_type": "qwen3_5_moe_text",
    "num_experts": 5,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 9,
    "shared_expert_intermediate_size": 7,
}


def rope(share: float, sections: list[int]) -> dict[str, Any]:
    return DEFAULT_ROPE | {
        "partial_rotary_factor": share,
        "mrope_section": sections,
        "mrope_interleaved": True,
    }


def linear(key_heads: int, value_heads: int, key_dim: int, value_dim: int, width: int = 4) -> dict[str, int]:
    return {
        "linear_num_key_heads": key_heads,
        "linear_num_value_heads": value_heads,
        "linear_key_head_dim": key_dim,
        "linear_value_head_dim": value_dim,
        "linear_conv_kernel_dim": width,
    }


def heads(query: int, key_value: int, dim: int) -> dict[str, int]:
    return {"num_attention_heads": query, "num_key_value_heads": key_value, "head_dim": dim}


def sizes(hidden: int, intermediate: int) -> dict[str, int]:
    return {"hidden_size": hidden, "intermediate_size": intermediate}


#: Shapes as transformers' own tests, peers' tests and hand-made random checkpoints have them
QWEN = {
    "transformers": qwen_config(
        **linear(4, 8, 8, 8), **heads(4, 2, 8), **sizes(32, 37), rope_parameters=rope(0.5, [1, 1, 0])
    ),
    "one of everything": qwen_config(
        **linear(1, 1, 1, 1, 1), **heads(1, 1, 2), **sizes(1, 1), rope_parameters=rope(1.0, [1, 0, 0])
    ),
    "values of 24": qwen_config(**linear(2, 4, 12, 24), hidden_size=48, intermediate_size=100),
    "values of 33": qwen_config(**linear(3, 3, 5, 33), hidden_size=67, intermediate_size=31),
    "values of 100": qwen_config(**linear(1, 3, 17, 100, 8), **heads(6, 3, 10), rope_parameters=rope(0.4, [1, 1, 0])),
    "odd head": qwen_config(**linear(2, 2, 3, 7, 2), **heads(3, 1, 13), rope_parameters=rope(0.5, [1, 1, 1])),
    "mixture": qwen_config(**MIXTURE, **linear(2, 6, 10, 20, 3), **heads(5, 5, 6), hidden_size=21)
    | {"rope_parameters": rope(1.0, [1, 1, 1])},
    "only recurrent": qwen_config(**linear(2, 4, 6, 6), layer_types=["linear_attention"] * 4),
    "only attention": qwen_config(**heads(2, 2, 6), layer_types=["full_attention"] * 4) | {
        "rope_parameters": rope(1.0, [1, 1, 1])
    },
    "one layer": qwen_config(**linear(1, 2, 4, 3), num_hidden_layers=1, layer_types=["linear_attention"]),
    "few tokens": qwen_config(vocab_size=3, **linear(2, 4, 8, 4)),
}  # fmt: skip
LLAMA = {
    "odd widths": llama_config(hidden_size=37, intermediate_size=11, intermediate_size_mlp=23, **heads(3, 1, 10)),
    "one of everything": llama_config(
        hidden_size=1, intermediate_size=1, intermediate_size_mlp=1, num_local_experts=1, **heads(1, 1, 2)
    ),
    "transformers": llama_config(hidden_size=32, intermediate_size=64, num_local_experts=8, **heads(4, 2, 8)),
    "chunks of 5": llama_config(**heads(10, 5, 6), attention_chunk_size=5, num_experts_per_tok=2)
    | {"rope_parameters": DEFAULT_ROPE},
    "only dense": llama_config(interleave_moe_layer_step=9, **heads(7, 7, 18), hidden_size=65),
}
CASES = [pytest.param(config, qwen, id=f"qwen: {name}") for name, config in QWEN.items()]
CASES += [pytest.param(config, llama, id=f"llama: {name}") for name, config in LLAMA.items()]


@pytest.mark.parametrize(("config", "make"), CASES)
def test_near_the_reference_and_the_same_in_any_steps(config: dict[str, Any], make: Any, tmp_path: Path) -> None:
    opened = open_model(TinyModel(config, make).write(tmp_path))
    loaded = load_weights(opened.config, opened.binding)
    ids = tokens(70, config["vocab_size"])
    whole = run(loaded, ids)
    expected = reference_logits(opened.config, opened.binding, ids.tolist())
    assert np.abs(whole - expected).max() <= 5e-5 * np.abs(expected).max()
    for chunks in ([1] * 70, [7] * 10, [64, 6]):
        assert np.array_equal(run(loaded, ids, chunks=chunks), whole)


@pytest.mark.parametrize(("config", "make"), CASES)
def test_a_model_answers(config: dict[str, Any], make: Any, tmp_path: Path) -> None:
    """Through engine, pages and cache; the model's vocabulary is that of a tokenizer, or smaller."""
    size = len(small_vocabulary.metadata()["tokenizer.ggml.tokens"])
    config = config | {"vocab_size": min(size, 4 * config["vocab_size"])}
    folder = TinyModel(config, make).write(tmp_path)
    small_vocabulary.write_folder(folder)
    opened = open_model(folder)
    ids = tokens(70, config["vocab_size"])
    expected = run(load_weights(opened.config, opened.binding), ids, "f16")
    with load(folder, threads=2, context=256) as model:
        assert np.array_equal(model.logits(ids), expected)
        assert list(model.generate([ids.tolist(), [1, 2]], max_tokens=10, seed=1))
        assert np.array_equal(model.logits(ids, chunk=3), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"linear_conv_kernel_dim": 9}, "linear_conv_kernel_dim is 9, an integer from 1 to 8"),
        ({"linear_num_value_heads": 3}, "linear_num_value_heads 3 is no multiple of linear_num_key_heads 2"),
        ({"rope_parameters": rope(0.04, [])}, r"partial_rotary_factor is 0\.04, an even share of head_dim 32"),
    ],
)
def test_what_cannot_be_computed_is_refused_at_load(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(qwen_config()))
    TinyModel(qwen_config(), qwen).write(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(qwen_config(**changes)))
    with pytest.raises(CheckpointError, match=message):
        open_model(tmp_path)
