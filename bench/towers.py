"""Measure the vision towers in their true shapes, with random weights: one picture of 1024 × 1024 pixels.

    python bench/towers.py [--family qwen3_5] [--layers N] [--tiles N] [--type BF16] [--threads N]
                           [--transformers] [--mtmd PYTHON]

Prints the time of the picture, and the time and the share of the float limit of products and of attention. Beside it,
the time of float32 `transformers` with --transformers, and of llama.cpp's mtmd with --mtmd: a Python that has
llama-cpp-python. The limit: fused multiply-adds of all threads in registers, measured just before. Attention counts
4 · rows² · hidden size operations a layer, products 2 · rows · in · out.

A whole picture takes minutes on two cores: --layers computes that many layers, --tiles that many of Llama 4's 17 tiles,
in all three engines alike. mtmd cuts a large picture into other tiles than Llama 4's processor: it gets one of a single
tile, and times count for each tile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import cpu

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
from shoestring.ops import limits
from shoestring.runtime.loading import physical_cores
from shoestring.samples.synthetic import read_config, with_layers, write_synthetic
from shoestring.samples.synthetic.vision import write_mmproj

SIDE = 1024
#: Required shares of the float limit.
REQUIRED = {"products": 0.60, "attention": 0.35}
CONFIGS: dict[str, VisionConfig] = {
    "qwen3_5": Qwen3_5VisionConfig(
        num_hidden_layers=27, hidden_size=1152, num_attention_heads=16, intermediate_size=4304, patch_size=16,
        temporal_patch_size=2, spatial_merge_size=2, num_position_embeddings=2304, out_hidden_size=2048,
        layer_norm_eps=1e-6, rope_theta=10000.0,
    ),
    "llama4": Llama4VisionConfig(
        num_hidden_layers=34, hidden_size=1408, num_attention_heads=16, intermediate_size=5632, image_size=336,
        patch_size=14, shuffle_size=2, adapter_size=4096, out_hidden_size=2048, layer_norm_eps=1e-5,
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


def parts_of(family: str, tiles: int | None) -> list[tuple[Any, Grid]]:
    """A picture of noise, as the tower reads it. tiles: of Llama 4, the first so many."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    if family == "llama4":
        return [(v, Grid(1, 24, 24)) for v in llama_picture(pixels, LlamaSettings()).values(LlamaSettings())[:tiles]]
    picture = qwen_picture(pixels, QwenSettings())
    return [(picture.patches(QwenSettings()), picture.grid)]


def measured(config: VisionConfig, path: Path, parts: list[tuple[Any, Grid]]) -> dict[str, Any]:
    checkpoint = open_gguf(path)
    read = parse_vision_config(checkpoint)
    assert read is not None
    weights = load_tower(read, bind_vision(read, checkpoint, towers.wanted_shapes(read)))
    clock = Clock()
    clock.watch(_kernels, "matmul", "products", lambda x, weight, out: 2 * x.size * weight.rows)
    clock.watch(_kernels, "part_attention", "attention", lambda q, *rest: 4 * len(q) * q.size)
    ws = ops.Workspace()
    limit = limits.peaks().fma
    began = time.perf_counter()
    tokens = 0
    for pixels, grid in parts:
        with ws:
            tokens += len(towers.encode(weights, pixels, grid, ws))
    facts: dict[str, Any] = {"tokens": tokens, "seconds": time.perf_counter() - began, "limit_gflops": limit / 1e9}
    for what in REQUIRED:
        rate = clock.operations[what] / clock.seconds[what]
        facts[what] = {
            "tflop": clock.operations[what] / 1e12, "seconds": clock.seconds[what], "gflops": rate / 1e9,
            "share": rate / limit,
        }  # fmt: skip
    return facts


def mtmd_facts(python: Path, tower: Path, config: VisionConfig, threads: int) -> dict[str, Any]:
    """Tokens and seconds of llama.cpp's mtmd: of the picture, or of one tile."""
    name = "qwen3.5" if config.family == "qwen3_5" else "llama4"
    text = read_config(next((Path(__file__).parent / "configs").glob(f"{name}-*.json")))
    file, side = tower.with_name("text.gguf"), SIDE if config.family == "qwen3_5" else 336
    write_synthetic(with_layers(text, 4), file, "Q4_0", vision=True)
    command = [str(python), str(Path(__file__).with_name("towers_mtmd.py")), str(file), str(tower), str(side)]
    done = subprocess.run([*command, str(threads)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"mtmd failed: {done.stderr[-1000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def transformers_seconds(config: VisionConfig, threads: int, parts: list[tuple[Any, Grid]]) -> float:
    """The same parts in float32 `transformers`, after a run of a few patches or one tile."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "parity"))
    import torch
    import torchvision_operators

    torchvision_operators.declare()
    import transformers

    torch.set_num_threads(threads)
    if isinstance(config, Qwen3_5VisionConfig):
        from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5VisionModel

        theirs = transformers.AutoConfig.for_model("qwen3_5").vision_config
        theirs.depth, theirs.out_hidden_size = config.num_hidden_layers, config.out_hidden_size
        theirs._attn_implementation = "sdpa"
        model = Qwen3_5VisionModel(theirs).eval()
        ((pixels, grid),) = parts
        runs = [(pixels[:64], {"grid_thw": torch.tensor([[1, 8, 8]])})]
        runs.append((pixels, {"grid_thw": torch.tensor([[1, grid.rows, grid.columns]])}))
    else:
        from transformers.models.llama4.modeling_llama4 import Llama4VisionModel

        theirs = transformers.Llama4VisionConfig(
            hidden_size=1408, num_hidden_layers=config.num_hidden_layers, image_size=336, vision_output_dim=4096,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )  # fmt: skip
        theirs._attn_implementation = "sdpa"
        model = Llama4VisionModel(theirs).eval()
        tiles = np.stack([pixels for pixels, _ in parts])
        runs = [(tiles[:1], {}), (tiles, {})]
    seconds = 0.0
    with torch.no_grad():
        for values, options in runs:
            began = time.perf_counter()
            model(torch.from_numpy(values), **options)
            seconds = time.perf_counter() - began
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=sorted(CONFIGS), default="qwen3_5")
    parser.add_argument("--layers", type=int, help="compute the first N layers alone")
    parser.add_argument("--tiles", type=int, help="of Llama 4: compute the first N tiles alone")
    parser.add_argument("--type", default="BF16")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--transformers", action="store_true", help="also measure transformers, which needs torch")
    parser.add_argument("--mtmd", type=Path, metavar="PYTHON", help="also measure mtmd with this Python")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    whole = config = CONFIGS[arguments.family]
    if arguments.layers:
        config = replace(config, num_hidden_layers=arguments.layers)
    ops.set_num_threads(arguments.threads)
    parts, all_parts = parts_of(config.family, arguments.tiles), len(parts_of(config.family, None))
    facts: dict[str, Any] = {"family": config.family, "type": arguments.type, "threads": arguments.threads}
    facts |= {"isa": ops.isa(), "layers": config.num_hidden_layers, "parts": len(parts)}
    with tempfile.TemporaryDirectory() as folder:
        tower = Path(folder) / "mmproj.gguf"
        write_mmproj(config, tower, arguments.type)
        facts |= measured(config, tower, parts)
        if arguments.transformers:
            facts["transformers_seconds"] = transformers_seconds(config, arguments.threads, parts)
        if arguments.mtmd:
            facts["mtmd"] = mtmd_facts(arguments.mtmd, tower, config, arguments.threads)
    if arguments.json:
        arguments.json.write_text(json.dumps(facts, indent=1))
    layers = f"{config.num_hidden_layers} of {whole.num_hidden_layers} layers of {whole.hidden_size}"
    print(
        f"{config.family}, {SIDE} × {SIDE}: {layers}, {len(parts)} of {all_parts} parts, {arguments.type}; "
        f"{arguments.threads} threads of {cpu()} ({facts['isa']}), float limit {facts['limit_gflops']:.0f} GFLOP/s"
    )
    print("\n".join(table(facts)))


def table(facts: dict[str, Any]) -> list[str]:
    """A Markdown table of all figures."""
    seconds = facts["seconds"]
    lines = ["| | TFLOP | seconds | GFLOP/s | of the limit | required |", "|---|---|---|---|---|---|"]
    for what, share in REQUIRED.items():
        f = facts[what]
        lines.append(
            f"| {what} | {f['tflop']:.2f} | {f['seconds']:.1f} | {f['gflops']:.0f} | {f['share']:.0%} | {share:.0%} |"
        )
    lines += ["", "| | tokens | seconds | ours / theirs |", "|---|---|---|---|"]
    lines.append(f"| shoestring | {facts['tokens']:,} | {seconds:.1f} | |")
    if "transformers_seconds" in facts:
        theirs = facts["transformers_seconds"]
        lines.append(f"| transformers, float32 | {facts['tokens']:,} | {theirs:.1f} | {seconds / theirs:.2f} |")
    if "mtmd" in facts:
        theirs, tokens = facts["mtmd"]["seconds"], facts["mtmd"]["tokens"]
        each = seconds * tokens / facts["tokens"]
        lines.append(f"| mtmd | {tokens:,} | {theirs:.1f} | {each / theirs:.2f} (for as many tokens) |")
    return lines


if __name__ == "__main__":
    main()
