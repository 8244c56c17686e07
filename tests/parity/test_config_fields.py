"""Every field of transformers' generation config, and of its base config where it changes no model, is accepted."""

from pathlib import Path

import pytest
from published_configs import QWEN_35B, SCOUT
from transformers.configuration_utils import PretrainedConfig
from transformers.generation.configuration_utils import GenerationConfig

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.tensors import Checkpoint


@pytest.mark.parametrize("config", [SCOUT, QWEN_35B], ids=["llama4", "qwen3_5"])
def test_base_and_generation_fields(config):
    names = {*vars(GenerationConfig()), *PretrainedConfig().to_dict()} - {"is_encoder_decoder", "model_type"}
    assert len(names) > 60
    metadata = config | dict.fromkeys(names, "x")
    plain = parse_config(Checkpoint(Path("m"), "safetensors", {}, config, ()))
    assert parse_config(Checkpoint(Path("m"), "safetensors", {}, metadata, ())) == plain
