"""Measure the vision towers in their true shapes, with random weights: one picture of 1024 × 1024 pixels.

    python bench/towers.py [--family qwen3_5] [--layers N] [--type BF16] [--threads N] [--transformers]

Prints the time of the picture, the time and the share of the float limit of products and of attention, and beside it
the time of `transformers` in float32 with --transformers. The limit: fused multiply-adds of all threads in registers,
measured just before. Attention counts 4 · rows² · hidden size operations a layer, products 2 · rows · in · out.
With --layers, that many layers are computed and the times are those of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shoestring import _kernels, ops
from shoestring.checkpoint.config.vision import parse_vision_config
from shoestring.checkpoint.config.vision_types import Llama4VisionConfig, Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.names.vision import bind_vision
from shoestring.media.llama4 import llama_picture
from shoestring.media.qwen3_5 import Grid, qwen_picture
from shoestring.media.settings import LlamaSettings, QwenSettings
from shoestring.models import towers
from shoestring.models.tower_weights import load_tower
from shoestring.runtime.loading import physical_cores
from shoestring.samples.synthetic.vision import write_mmproj

SIDE = 1024
CONFIGS: dict[str, VisionConfig] = {
    "qwen3_5": Qwen3_5VisionConfig(
        num_hidden_layers=27, hidden_size=1152, num_attention_heads=16, intermediate_size=4304, patch_size=16,
        temporal_patch_size=2, spatial_merge_size=2, num_position_embeddings=2304, out_hidden_size=2048,
        layer_norm_eps=1e-6, rope_theta=10000.0,
    ),
    "llama4": Llama4VisionConfig(
        num_hidden_layers=34, hidden_size=1408, num_attention_heads=16, intermediate_size=5632, image_size=336,
        patch_size=14, shuffle_size=2, adapter_size=4096, out_hidden_size=5120, layer_norm_eps=1e-5,
        rope_theta=10000.0,
    ),
}  # fmt: skip


class Clock:
    """Seconds and operations of the kernels that a tower calls, by kind."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    def watch(self, module: Any, name: str, kind: str, count: Callable[..., int]) -> None:
        inner = getattr(module, name)

        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = inner(*arguments)
            self.seconds[kind] += time.perf_counter() - began
            self.operations[kind] += count(*arguments)
            return result

        setattr(module, name, timed)


def float_limit() -> float:
    """Operations a second of all threads in registers: the best of five."""
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        count = ops.fused_multiply_adds(20_000_000)
        best = max(best, 2 * count / (time.perf_counter() - began))
    return best


def parts_of(family: str) -> list[tuple[Any, Grid]]:
    """A picture of noise, as the tower reads it."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    if family == "llama4":
        tiles = llama_picture(pixels, LlamaSettings()).values(LlamaSettings())
        return [(tile, Grid(1, 24, 24)) for tile in tiles]
    picture = qwen_picture(pixels, QwenSettings())
    return [(picture.patches(QwenSettings()), picture.grid)]


def measured(config: VisionConfig, kind: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mmproj.gguf"
        write_mmproj(config, path, kind)
        checkpoint = open_gguf(path)
        read = parse_vision_config(checkpoint)
        assert read is not None
        weights = load_tower(read, bind_vision(read, checkpoint, towers.wanted_shapes(read)))
    clock = Clock()
    clock.watch(_kernels, "product", "products", lambda x, weight, out: 2 * x.size * weight.rows)
    clock.watch(_kernels, "part_attention", "attention", lambda q, *rest: 4 * len(q) * q.size)
    parts = parts_of(config.family)
    ws = ops.Workspace()
    limit = float_limit()
    began = time.perf_counter()
    tokens = 0
    for pixels, grid in parts:
        with ws:
            tokens += len(towers.encode(weights, pixels, grid, ws))
    seconds = time.perf_counter() - began
    facts: dict[str, Any] = {
        "family": config.family, "layers": config.num_hidden_layers, "type": kind, "threads": ops.num_threads(),
        "isa": ops.isa(), "parts": len(parts), "tokens": tokens, "seconds": seconds, "limit_gflops": limit / 1e9,
    }  # fmt: skip
    for what in ("products", "attention"):
        rate = clock.operations[what] / clock.seconds[what]
        facts[what] = {
            "tflop": clock.operations[what] / 1e12, "seconds": clock.seconds[what], "gflops": rate / 1e9,
            "share": rate / limit,
        }  # fmt: skip
    return facts


def transformers_seconds(config: VisionConfig, threads: int) -> float:
    """The same picture in float32 `transformers`, the second of two runs."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    parts = parts_of(config.family)
    if isinstance(config, Qwen3_5VisionConfig):
        from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5VisionModel

        theirs = transformers.AutoConfig.for_model("qwen3_5").vision_config
        theirs.depth, theirs.out_hidden_size = config.num_hidden_layers, config.out_hidden_size
        theirs._attn_implementation = "sdpa"
        model = Qwen3_5VisionModel(theirs).eval()
        ((pixels, grid),) = parts
        arguments = [(torch.from_numpy(pixels),)]
        options = {"grid_thw": torch.tensor([[1, grid.rows, grid.columns]])}
    else:
        from transformers.models.llama4.modeling_llama4 import Llama4VisionModel

        theirs = transformers.Llama4VisionConfig(
            hidden_size=1408, num_hidden_layers=config.num_hidden_layers, image_size=336, vision_output_dim=4096,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )  # fmt: skip
        theirs._attn_implementation = "sdpa"
        model = Llama4VisionModel(theirs).eval()
        arguments = [(torch.from_numpy(np.stack([pixels for pixels, _ in parts])),)]
        options = {}
    seconds = 0.0
    with torch.no_grad():
        for _ in range(2):
            began = time.perf_counter()
            for values in arguments:
                model(*values, **options)
            seconds = time.perf_counter() - began
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=sorted(CONFIGS), default="qwen3_5")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--type", default="BF16")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--transformers", action="store_true", help="also measure transformers, which needs torch")
    arguments = parser.parse_args()
    config = CONFIGS[arguments.family]
    if arguments.layers:
        config = replace(config, num_hidden_layers=arguments.layers)
    ops.set_num_threads(arguments.threads)
    facts = measured(config, arguments.type)
    if arguments.transformers:
        facts["transformers_seconds"] = transformers_seconds(config, arguments.threads)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
