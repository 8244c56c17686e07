"""Files for measuring streams: every expert has bytes of its own, and tokens choose experts as the routing says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from streaming.curve import curve, mean, router_routes

import shoestring
from shoestring.checkpoint.config.types import Qwen3_5Config
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.tensors import TENSOR_TYPES
from shoestring.samples.synthetic import fill, read_config, with_layers, write_synthetic
from shoestring.samples.synthetic.routing import REALISTIC, UNIFORM, token_chain, words

CONFIG = Path(__file__).parents[2] / "bench" / "configs" / "qwen3.5-64-experts.json"


def small(vocabulary: int = 4096, experts: int = 64) -> Qwen3_5Config:
    config = with_layers(read_config(CONFIG), 4)
    assert isinstance(config, Qwen3_5Config)
    return replace(
        config, vocab_size=vocabulary, hidden_size=512, num_attention_heads=2, num_key_value_heads=1,
        linear_num_key_heads=2, linear_num_value_heads=4, num_experts=experts, moe_intermediate_size=256,
        shared_expert_intermediate_size=256,
    )  # fmt: skip


@pytest.mark.parametrize("mix", ["Q4_K_M", "Q8_0", "BF16", "F32", "Q4_0"])
def test_every_expert_has_its_own_bytes(mix: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_synthetic(replace(small(), num_experts=16), path, mix, routing=UNIFORM)
    stacks = [tensor for name, tensor in open_checkpoint(path).tensors.items() if name.endswith("_exps.weight")]
    assert len(stacks) == 12
    for kind in {tensor.type for tensor in stacks}:
        size = TENSOR_TYPES[kind].block_bytes
        width = size if size > 4 else 64
        data = np.concatenate([tensor.data.reshape(-1) for tensor in stacks if tensor.type == kind])
        blocks = data.reshape(-1, width).view(f"V{width}").reshape(-1)
        assert len(np.unique(blocks)) == len(blocks)  # without a change of their own, runs of the pool overlap


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K"])
def test_masked_blocks_are_valid_and_scaled(kind: str) -> None:
    run = fill.pool(kind, 0.05, seed=3)[:4000]
    changed = fill.masked(run, kind, fill.mask(kind, fill.random_bits("expert 7", 3)))
    assert (changed != run).any(axis=1).mean() > 0.9
    values = gguf.dequantize(changed.reshape(4, -1), gguf.GGMLQuantizationType[kind]).reshape(-1)
    assert np.isfinite(values).all()
    assert abs(values.std() / 0.05 - 1) < 0.12
    assert abs(values.mean()) < 0.005
    if kind == "Q8_0":
        assert changed[:, 2:].view(np.int8).min() >= -127


def test_the_engine_computes_them(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_synthetic(small(), path, "Q4_K_M", routing=REALISTIC)
    with shoestring.load(path, threads=1, context=64) as model:
        logits = model.logits(token_chain(REALISTIC, 4096, 32).tolist())
    assert np.isfinite(logits).all()
    assert 1 < logits.std() < 6


def test_the_same_call_writes_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        write_synthetic(small(1024, 8), path, "Q4_0", seed=seed, routing=REALISTIC)
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()


def test_an_interrupted_file_is_removed(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(small(1024, 8), tmp_path / "m.gguf", "Q4_0", routing=UNIFORM, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_tokens_name_their_topic_and_cluster() -> None:
    each = words(REALISTIC, 4096)
    tokens = token_chain(REALISTIC, 4096, 3000)
    assert tokens.min() >= 0
    assert tokens.max() < 4096
    assert each * REALISTIC.topics * REALISTIC.clusters <= 4096
    assert np.array_equal(tokens, token_chain(REALISTIC, 4096, 3000))
    assert not np.array_equal(tokens, token_chain(REALISTIC, 4096, 3000, seed=1))
    clusters = tokens // each
    assert len(set(clusters.tolist())) > 100
    assert abs((clusters[1:] == clusters[:-1]).mean() - 60 / 104) < 0.02


def test_locality(tmp_path: Path) -> None:
    """The curve that docs/benchmarks.md states, for 256 experts of which a token chooses 8."""
    path = tmp_path / "m.gguf"
    config = replace(small(32768, 256), hidden_size=2048, moe_intermediate_size=32)
    curves = {}
    for routing in (REALISTIC, UNIFORM):
        write_synthetic(config, path, "Q4_0", routing=routing)
        tokens = token_chain(routing, 32768, 1500)
        curves[routing] = mean([curve(routes, 256) for routes in router_routes(path, tokens)])
    local, uniform = curves[REALISTIC], curves[UNIFORM]
    assert abs(local.next - 0.45) < 0.05
    assert abs(local.within_8 - 0.80) < 0.05
    assert abs(local.hits[0.125] - 0.67) < 0.05
    assert abs(local.hits[0.25] - 0.80) < 0.05
    assert abs(uniform.next - 8 / 256) < 0.02
    assert abs(uniform.hits[0.25] - 0.25) < 0.04
