"""The synthetic models of the table, made one at a time and removed after their rows."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from shoestring.checkpoint.config.types import Config, Llama4Config, Qwen3_5Config
from shoestring.samples import synthetic
from shoestring.samples.synthetic import read_config, synthetic_bytes, with_layers, write_synthetic
from shoestring.samples.synthetic.routing import UNIFORM, Routing

CONFIGS = Path(synthetic.__file__).parents[2] / "catalogue" / "configs"
MIX = "Q4_K_M"
#: Bytes of the disk that stay free.
MARGIN = 3 * 10**9


@dataclass(frozen=True)
class Shape:
    """A model to write."""

    name: str
    config: Config
    routing: Routing = UNIFORM

    @property
    def nbytes(self) -> int:
        return synthetic_bytes(self.config, MIX)

    @property
    def experts(self) -> int:
        """Routed experts of a layer."""
        return self.config.num_local_experts if isinstance(self.config, Llama4Config) else self.config.num_experts


def qwen(routing: Routing) -> Shape:
    """16 of the 40 layers of Qwen3.5-35B-A3B: 256 experts, 8 a token, 8.9 GB."""
    config = with_layers(read_config(CONFIGS / "qwen3.5-35b-a3b.json"), 16)
    return Shape("Qwen 3.5, 16 layers", config, routing)


def large_qwen() -> Shape:
    """4 of the 60 layers of Qwen3.5-397B-A17B at full size: 512 experts, 10 a token, 17.3 GB."""
    return Shape("Qwen3.5-397B, 4 layers", with_layers(read_config(CONFIGS / "qwen3.5-397b-a17b.json"), 4))


def scout(free: int) -> Shape | None:
    """Llama 4 Scout at full width: all 48 layers, or as many as `free` bytes take, whole periods of 4."""
    config = read_config(CONFIGS / "llama-4-scout.json")
    for layers in range(config.num_hidden_layers, 0, -4):
        shape = Shape(f"Scout, {layers} layers", with_layers(config, layers))
        if shape.nbytes + MARGIN <= free:
            return shape
    return None


def small(routing: Routing) -> Shape:
    """4 layers with 64 experts, 8 a token: 250 MB."""
    config = with_layers(read_config(CONFIGS / "qwen3.5-35b-a3b.json"), 4)
    assert isinstance(config, Qwen3_5Config)
    config = replace(
        config, vocab_size=8192, hidden_size=1024, num_experts=64, num_attention_heads=8, linear_num_value_heads=16
    )
    return Shape("small Qwen 3.5, 4 layers", config, routing)


@contextlib.contextmanager
def written(shape: Shape, folder: Path, keep: bool = False) -> Iterator[Path]:
    """The file of a shape. keep: leave it there, and use it again."""
    file = folder / f"{shape.name.replace(', ', '-').replace(' ', '-').casefold()}-{shape.routing.name}.gguf"
    if not (keep and file.exists()):
        free = shutil.disk_usage(folder).free
        if shape.nbytes + MARGIN > free:
            raise OSError(f"{shape.name} needs {shape.nbytes / 1e9:.1f} GB and a margin, {free / 1e9:.1f} GB are free")
        began = time.perf_counter()
        write_synthetic(shape.config, file, MIX, seed=21, routing=shape.routing)
        seconds = time.perf_counter() - began
        print(
            f"{shape.name}, {shape.routing.name}: wrote {shape.nbytes / 1e9:.1f} GB in {seconds:.0f} s", file=sys.stderr
        )
    try:
        forget(file)
        yield file
    finally:
        if not keep:
            file.unlink(missing_ok=True)


def forget(file: Path) -> None:
    """Drop a file's pages from the page cache, so that no run reads what another one left there."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
