"""The same file in llama.cpp: random models of both families, every position's distribution compared.

The logits' deviation is above 2, so distributions are sharp. On quantized weights both engines round activations
to 8 bits, each in its own way: that is what the bounds allow. A subtle misreading hides below them, but not below
the one on float weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import numpy as np
import numpy.typing as npt
import pytest
import random_models

import shoestring
from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.models.shapes import wanted_shapes
from shoestring.reference.model import logits as reference_logits
from shoestring.reference.traps import NO_TRAPS, Traps
from shoestring.samples.synthetic import write_synthetic

FloatModel = Callable[[str], tuple[Path, npt.NDArray[np.float32]]]

TOKENS = 400
#: Branches small beside the residual, as in trained models: rounding is then not amplified from layer to layer.
#: A router's sharp scores keep near ties between experts, where any rounding decides, rare.
BRANCH = 0.12
#: Mean divergence on float32 weights, where only sums differ (and keys and values are rounded to float16).
FLOAT_BOUND = 1e-6
GAINS = dict.fromkeys(("attn_output", "ssm_out", "ffn_down", "ffn_down_shexp", "ffn_down_exps"), BRANCH) | {
    "output": 0.75,
    "ffn_gate_inp": 3.0,
}
MODELS = {
    "qwen35moe": random_models.qwen3_5(),
    "qwen35": random_models.qwen3_5(experts=0),
    "llama4": random_models.llama4(),
    "llama4-every-second": random_models.llama4(step=2),
}


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def divergence(ours: npt.NDArray[np.floating], theirs: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """KL(theirs ‖ ours) a position."""
    p, q = log_softmax(theirs), log_softmax(ours)
    return np.asarray((np.exp(p) * (p - q)).sum(axis=-1))


def tokens() -> npt.NDArray[np.int32]:
    return np.random.default_rng(7).integers(0, random_models.VOCABULARY, TOKENS).astype(np.int32)


def reference(path: Path, traps: Traps = NO_TRAPS) -> npt.NDArray[np.float64]:
    checkpoint = open_checkpoint(path)
    config = parse_config(checkpoint)
    return reference_logits(config, bind(config, checkpoint, wanted_shapes(config)), tokens().tolist(), traps)


@pytest.mark.parametrize("mix", ["Q4_K_M", "Q6_K", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("name", MODELS)
def test_engine_agrees_on_quantized_models(name: str, mix: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_synthetic(MODELS[name], path, mix, gains=GAINS)
    theirs = llama_cpp.logits(path, tokens())
    assert theirs.std() >= 2
    ours = shoestring.load(path).logits(tokens().tolist())
    mean_divergence = divergence(ours, theirs).mean()
    top_1 = (ours.argmax(axis=-1) == theirs.argmax(axis=-1)).mean()
    print(f"| {name} | {mix} | {mean_divergence:.1e} | {top_1:.1%} |")  # for docs/benchmarks.md, with pytest -s
    assert mean_divergence <= 0.005
    assert top_1 >= 0.97


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    """A model's file in float32 and llama.cpp's logits, made once."""

    @functools.cache
    def make(name: str) -> tuple[Path, npt.NDArray[np.float32]]:
        path = tmp_path_factory.mktemp("float") / f"{name}.gguf"
        write_synthetic(MODELS[name], path, "F32", gains=GAINS)
        return path, llama_cpp.logits(path, tokens())

    return make


@pytest.mark.parametrize("name", MODELS)
def test_all_agree_on_float_models(name: str, float_model: FloatModel) -> None:
    """Names, layouts and folded constants are understood alike: the engine, float64, and llama.cpp on one file."""
    path, theirs = float_model(name)
    assert divergence(reference(path), theirs).mean() < FLOAT_BOUND
    assert divergence(shoestring.load(path).logits(tokens().tolist()), theirs).mean() < FLOAT_BOUND


@pytest.mark.parametrize(
    ("name", "trap"),
    [
        ("qwen35moe", "query_gate_halves"),
        ("qwen35moe", "value_heads_swapped"),
        ("qwen35moe", "router_not_renormalised"),
        ("qwen35moe", "shared_expert_ungated"),
        ("qwen35moe", "rotary_pairs_swapped"),
        ("llama4", "no_rope_layers_inverted"),
        ("llama4", "sigmoid_scales_output"),
        ("llama4", "rotary_pairs_swapped"),
    ],
)
def test_a_wrong_branch_would_show(name: str, trap: str, float_model: FloatModel) -> None:
    """On float weights the bound tells a wrong reading of a family from rounding."""
    path, theirs = float_model(name)
    wrong = reference(path, Traps(**{trap: True}))
    assert divergence(wrong, theirs).mean() > 10 * FLOAT_BOUND
