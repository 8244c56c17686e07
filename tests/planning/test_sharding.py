"""How vLLM splits models: heads of every kind divide, copies of KV heads count, experts stay wide enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.errors import CapacityError
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.sharding import Config, Shards, a_gpu_needs, shards


def config_of(name: str) -> Config:
    return resolve(name, builtin_catalogue()).config


MODELS = ["qwen3.5", "qwen3.5:35b-a3b", "qwen3.5:122b-a10b", "qwen3.5:0.8b", "scout", "maverick"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("gpus", [1, 2, 3, 4, 6, 8, 16])
def test_a_split_uses_all_gpus_and_divides_what_it_must(name: str, gpus: int) -> None:
    config = config_of(name)
    split = shards(config, gpus)
    assert split.gpus == gpus or (split.tensor == 1 and split.pipeline <= config.num_hidden_layers)
    assert config.num_attention_heads % split.tensor == 0
    kv = config.num_key_value_heads
    assert kv % split.tensor == 0 or split.tensor % kv == 0
    if config.family == "qwen3_5":
        assert config.linear_num_value_heads % split.tensor == config.linear_num_key_heads % split.tensor == 0


def test_narrow_experts_are_dealt_out_whole() -> None:
    """512 columns over 8 GPUs leave 64, half of a scale of FP8; 1024 leave 128."""
    assert shards(config_of("qwen3.5:35b-a3b"), 8) == Shards(8, 1, experts=True)
    assert shards(config_of("qwen3.5:35b-a3b"), 2) == Shards(2, 1, experts=False)
    assert shards(config_of("scout"), 8) == Shards(8, 1, experts=False)
    assert "--enable-expert-parallel" in shards(config_of("qwen3.5:35b-a3b"), 8).words()


def test_copies_of_keys_and_values_decide_between_tensor_and_pipeline() -> None:
    """Two KV heads: eight GPUs that share each layer keep four copies, four stages of two keep none."""
    config = config_of("qwen3.5")
    assert config.num_key_value_heads == 2
    weights, state = 400 << 30, 320 << 30
    wide, deep = Shards(8), Shards(2, 4)
    assert a_gpu_needs(config, wide, weights, state) == (50 << 30) + (160 << 30)
    assert a_gpu_needs(config, deep, weights, state) == (50 << 30) + (40 << 30)
    assert shards(config, 8, weight_bytes=weights, state_bytes=state, gpu_bytes=220 << 30).tensor == 8
    assert shards(config, 8, weight_bytes=weights, state_bytes=state, gpu_bytes=100 << 30) == Shards(2, 4)
    with pytest.raises(CapacityError, match="each of 8 GPUs would need"):
        shards(config, 8, weight_bytes=weights, state_bytes=state, gpu_bytes=80 << 30)


def test_without_gpus_nothing_is_split() -> None:
    assert shards(config_of("scout"), 0) == Shards()
    assert shards(replace(config_of("qwen3.5:0.8b"), num_attention_heads=7), 4).tensor == 1
