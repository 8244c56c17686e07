"""The synthetic models of the table, written one at a time and removed after their rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from servers import use_whole_vocabulary

from shoestring.checkpoint.config.types import Config, Llama4Config, Qwen3_5Config
from shoestring.samples import synthetic
from shoestring.samples.synthetic import read_config, with_layers, write_synthetic

SHAPES = Path(__file__).parents[1] / "configs"
CATALOGUE = Path(synthetic.__file__).parents[2] / "catalogue" / "configs"
TYPES = ("Q4_K_M", "Q8_0", "Q4_0", "BF16")


@dataclass(frozen=True)
class Shape:
    """A model: its letter in the table, a name, its config (layers: only the first ones), and the types measured."""

    letter: str
    name: str
    config: Path
    types: tuple[str, ...]
    layers: int | None = None

    def read(self) -> Config:
        config = read_config(self.config)
        return config if self.layers is None else with_layers(config, self.layers)


MIXTURE = Shape("a", "Qwen 3.5, 64 experts, 8 a token", SHAPES / "qwen3.5-64-experts.json", TYPES)
LLAMA = Shape("b", "Llama 4, 16 experts, 1 a token", SHAPES / "llama4-16-experts.json", TYPES)
SMALL = Shape("c", "Qwen3.5-0.8B", CATALOGUE / "qwen3.5-0.8b.json", ("Q8_0",))
PERIOD = Shape("d", "Qwen3.5-35B-A3B, 4 layers", CATALOGUE / "qwen3.5-35b-a3b.json", ("Q4_K_M",), 4)
SCOUT = Shape("e", "Llama 4 Scout, 2 layers", CATALOGUE / "llama-4-scout.json", ("Q4_K_M",), 2)
ALL = {shape.letter: shape for shape in (MIXTURE, LLAMA, SMALL, PERIOD, SCOUT)}


@contextmanager
def written(shape: Shape, kind: str, folder: Path, *, tiny: bool = False) -> Iterator[Path]:
    """The file of a shape in a type. tiny: with a few million parameters, for a run that only shows that all works."""
    file = folder / f"{shape.letter}-{kind}.gguf"
    began = time.perf_counter()
    config = shape.read()
    write_synthetic(shrunk(config) if tiny else config, file, kind)
    use_whole_vocabulary(file)
    print(f"wrote {shape.name}, {kind}, {file.stat().st_size / 1e9:.2f} GB in {time.perf_counter() - began:.0f} s",
          file=sys.stderr, flush=True)  # fmt: skip
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def shrunk(config: Config) -> Config:
    """The family's shape with a few million parameters."""
    config = with_layers(config, min(4, config.num_hidden_layers))
    if isinstance(config, Llama4Config):
        return replace(
            config, vocab_size=1024, hidden_size=256, intermediate_size=256, intermediate_size_mlp=512, head_dim=64,
            rotary=replace(config.rotary, dims=64), num_attention_heads=4, num_key_value_heads=2, num_local_experts=4,
        )  # fmt: skip
    assert isinstance(config, Qwen3_5Config)
    small = replace(
        config, vocab_size=1024, hidden_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
        rotary=replace(config.rotary, dims=32, sections=(6, 5, 5)), linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=64, linear_value_head_dim=64,
    )  # fmt: skip
    if small.num_experts:
        return replace(
            small, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=256, shared_expert_intermediate_size=256
        )
    return replace(small, intermediate_size=512)
