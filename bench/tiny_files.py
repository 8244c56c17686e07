"""Tiny random models of both families, for runs in which only behaviour counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from servers import CONFIG, use_whole_vocabulary

from shoestring.checkpoint.config.types import Config, Llama4Config, Qwen3_5Config
from shoestring.samples.synthetic import read_config, with_layers, write_synthetic


@contextmanager
def tiny_qwen(name: str = "tiny") -> Iterator[Path]:
    """A Qwen 3.5 with 3 million parameters: three recurrent layers and one with attention."""
    config = with_layers(read_config(CONFIG), 4)
    assert isinstance(config, Qwen3_5Config)
    small = replace(
        config, vocab_size=1024, hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, rotary=replace(config.rotary, dims=32, sections=(6, 5, 5)), linear_num_key_heads=2,
        linear_num_value_heads=4, linear_key_head_dim=64, linear_value_head_dim=64,
    )  # fmt: skip
    with _written(small, name) as file:
        yield file


@contextmanager
def tiny_llama(name: str = "tiny") -> Iterator[Path]:
    """A Llama 4 of four layers with four experts; three of them attend inside chunks of 128 tokens."""
    config = with_layers(read_config(CONFIG.with_name("llama-4-scout.json")), 4)
    assert isinstance(config, Llama4Config)
    small = replace(
        config, vocab_size=1024, hidden_size=256, intermediate_size=256, intermediate_size_mlp=512, head_dim=64,
        rotary=replace(config.rotary, dims=64), num_attention_heads=4, num_key_value_heads=2, num_local_experts=4,
        attention_chunk_size=128,
    )  # fmt: skip
    with _written(small, name) as file:
        yield file


@contextmanager
def _written(config: Config, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.gguf"
        write_synthetic(config, file, "Q8_0", seed=7)
        use_whole_vocabulary(file)
        yield file
