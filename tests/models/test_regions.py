"""A layer of a decode step opens at most six parallel regions, in both families, dense and mixture, at any position."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import random_models

import shoestring
from shoestring import ops
from shoestring.samples.synthetic import write_synthetic

MOST = 6
#: Wide enough that every product and the delta rule need several threads, as in real models.
CONFIGS: dict[str, random_models.Config] = {
    "qwen3_5 mixture": replace(
        random_models.qwen3_5(experts=64),
        hidden_size=1024,
        num_attention_heads=8,
        head_dim=256,
        rotary=replace(random_models.qwen3_5().rotary, dims=64, sections=(11, 11, 10)),
        linear_num_key_heads=16,
        linear_num_value_heads=16,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        num_experts_per_tok=8,
    ),
    "qwen3_5 dense": replace(random_models.qwen3_5(experts=0), hidden_size=1024, intermediate_size=3584),
    "llama4 mixture": replace(
        random_models.llama4(experts=64),
        hidden_size=1024,
        num_attention_heads=8,
        head_dim=128,
        rotary=replace(random_models.llama4().rotary, dims=128),
    ),
    "llama4 dense": replace(random_models.llama4(step=9), hidden_size=1024, intermediate_size_mlp=4096),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_layer_has_at_most_six_regions(name: str, tmp_path: Path) -> None:
    path = tmp_path / "wide.gguf"
    write_synthetic(CONFIGS[name], path, "Q4_0", seed=1)
    with shoestring.load(path, threads=2, context=2048) as model:
        _check_regions(model)


def _check_regions(model: shoestring.Model) -> None:
    length = 1025  # three segments of attention
    seen: list[tuple[int, int]] = []

    def observe(layer: int, first: int, hidden: ops.Float32) -> None:
        if first == length - 1:
            assert hidden.shape[0] == 1
            seen.append((layer, ops.num_regions()))

    tokens = [i % 1000 for i in range(length)]
    model.engine.score(tokens, lambda *_: None, rows=[length - 1], chunk=512, observe=observe)
    counts = [after - before for (_, before), (_, after) in pairwise(seen)]  # the last norm has one row: no region
    assert len(counts) == 4
    assert min(counts) >= 3, "threads are not counted, or do not compute"
    assert max(counts) <= MOST, f"regions of each layer: {counts}"
