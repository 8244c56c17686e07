"""Memory is what `inspect` announces: the weights to the byte, growth by loading, and the peak of a whole context."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_checkpoints
import random_models
import tiny_models

from shoestring._kernels import ExpertTable, Matrix
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Source
from shoestring.checkpoint.tensors import TENSOR_TYPES, Tensor
from shoestring.cli.models.inspect import described
from shoestring.models.constants import RotaryConstants
from shoestring.models.experts import ResidentExperts
from shoestring.models.weights import load_weights, loaded_bytes
from shoestring.models.workspace import workspace_bytes
from shoestring.runtime.opening import Opened, open_model
from shoestring.samples.synthetic import write_synthetic

MIB = 1 << 20


def bytes_of(weights: Any) -> int:
    """Bytes of all matrices, expert tables and vectors; shared ones (a tied head) count once."""
    sizes: dict[int, int] = {}

    def walk(part: Any) -> None:
        is_vector = isinstance(part, np.ndarray) and part.dtype == np.float32  # an index of key heads is a constant
        if is_vector or isinstance(part, Matrix | ExpertTable):
            sizes[id(part)] = part.nbytes
        elif isinstance(part, tuple | list):
            for inner in part:
                walk(inner)
        elif isinstance(part, dict):
            walk(list(part.values()))
        elif isinstance(part, ResidentExperts):
            walk(vars(part))
        elif dataclasses.is_dataclass(part) and not isinstance(part, RotaryConstants):
            walk([getattr(part, field.name) for field in dataclasses.fields(part) if field.name != "config"])

    walk(weights)
    return sum(sizes.values())


def announced_and_loaded(opened: Opened) -> tuple[int, int]:
    return described(opened)["weight_bytes"], bytes_of(load_weights(opened.config, opened.binding))


# --- the weights, to the byte ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", random_checkpoints.FAMILIES)
@pytest.mark.parametrize("kind", random_checkpoints.TYPES)
def test_announced_weights_are_the_loaded_ones(family: str, kind: str, tmp_path: Path) -> None:
    announced, loaded = announced_and_loaded(open_model(random_checkpoints.write(family, kind, tmp_path / "m.gguf")))
    assert announced == loaded > MIB


@pytest.mark.parametrize("name", tiny_models.TINY)
def test_folders_too(name: str, tmp_path: Path) -> None:
    announced, loaded = announced_and_loaded(open_model(tiny_models.TINY[name].write(tmp_path)))
    assert announced == loaded


def test_fp8_counts_as_it_is_widened(tmp_path: Path) -> None:
    folder = tiny_models.TINY["qwen-mixture"].write(tmp_path)
    plain = announced_and_loaded(open_model(folder))
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    (folder / "config.json").write_text(json.dumps(config))
    tensors: dict[str, np.ndarray] = dict(tiny_models.qwen_tensors(config))
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        blocks = [-(-size // 128) for size in tensors[name].shape]
        tensors |= {name: tensors[name].astype(np.uint8), f"{name}_scale_inv": np.ones(blocks, np.float32)}
    tiny_models.write_safetensors(folder / "model.safetensors", tensors)
    opened = open_model(folder)
    assert sum(source.scale is not None for source in opened.binding.sources.values()) > 10
    assert announced_and_loaded(opened) == plain, "the folder was float32, to which FP8 is widened"


def test_a_quantized_router_counts_as_float32(tmp_path: Path) -> None:
    opened = open_model(random_checkpoints.write("qwen3_5", "Q8_0", tmp_path / "m.gguf"))
    router, table = opened.binding.sources["layers.1.router"], TENSOR_TYPES["Q8_0"]
    row_bytes = router.columns // table.block_size * table.block_bytes
    data = np.zeros(router.rows * row_bytes, np.uint8)
    tensor = Tensor("router", "Q8_0", (router.rows, router.columns), tmp_path / "m.gguf", 0, data)
    source = Source(tensor, router.rows, router.columns, 0, row_bytes, 0, "router")
    binding = dataclasses.replace(opened.binding, sources=opened.binding.sources | {"layers.1.router": source})
    loaded = bytes_of(load_weights(opened.config, binding))
    assert loaded_bytes(opened.config, binding).total() == loaded == opened.weight_bytes


# --- a process -------------------------------------------------------------------------------------------------

#: Loads a model, fills its context, and prints the memory that the system reports.
_PROBE = """
import json, sys
from shoestring import load, ops

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) << 10

ops.isa()
before = status("VmRSS:")
model = load(sys.argv[1], parallel=1)
after = status("VmRSS:")
prompt = [i % 250 for i in range(model.context - 32)]
count = sum(len(piece.tokens) for piece in model.generate(prompt, temperature=1.0, seed=1, logprobs=5, ignore_eos=True))
print(json.dumps({"before": before, "after": after, "peak": status("VmHWM:"), "tokens": len(prompt) + count}))
"""


def large(family: str) -> Config:
    """About 400 MiB in Q4_K, few of them active."""
    if family == "qwen3_5":
        mixture = {"num_experts": 96, "num_experts_per_tok": 4, "moe_intermediate_size": 512}
        return dataclasses.replace(
            random_models.qwen3_5(), vocab_size=32_768, hidden_size=1024, max_position_embeddings=2048, **mixture
        )
    mixture = {"num_local_experts": 24, "intermediate_size": 2048, "attention_chunk_size": 1024}
    return dataclasses.replace(
        random_models.llama4(), vocab_size=32_768, hidden_size=1024, max_position_embeddings=2048, **mixture
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("family", ["qwen3_5", "llama4"])
def test_a_process_takes_what_was_announced(family: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_synthetic(large(family), path, "Q4_K")
    announced = described(open_model(path))
    run = subprocess.run([sys.executable, "-c", _PROBE, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    measured = json.loads(run.stdout)
    assert measured["tokens"] == announced["context"] == 2048
    weights, grown = announced["weight_bytes"], measured["after"] - measured["before"]
    figures = (weights, grown, measured["peak"], announced["total_bytes"])
    print("{}: weights {} MiB, growth {}, peak {}, announced {}".format(family, *(bytes_ // MIB for bytes_ in figures)))
    assert weights > 300 * MIB
    assert abs(grown - weights) <= 0.03 * weights + 120e6
    assert measured["peak"] <= 1.03 * announced["total_bytes"]


#: Loads a model, computes a prompt in one pass, and prints the peak.
_PASS = """
import sys
from shoestring import load
from shoestring.engine.engine import Engine
from shoestring.ops.sampling import Sampling

rows = int(sys.argv[2])
runner = load(sys.argv[1], parallel=1, threads=1, context=4096).engine.runner
runner.pass_rows = rows
engine = Engine(runner, context=4096)
number = engine.generate([i % 250 for i in range(rows)], Sampling(temperature=0), max_tokens=2)
for _ in range(runner.layers):
    engine.step()
assert engine.status(number).state == "over"
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) << 10)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("family", ["qwen3_5", "llama4"])
def test_a_pass_takes_memory_by_its_rows(family: str, tmp_path: Path) -> None:
    model: Config = random_models.qwen3_5() if family == "qwen3_5" else random_models.llama4()
    config = dataclasses.replace(model, hidden_size=1024)
    write_synthetic(config, tmp_path / "model.gguf", "Q4_K")
    opened = open_model(tmp_path / "model.gguf")
    peaks, bounds = [], []
    for rows in (544, 3000):
        command = [sys.executable, "-c", _PASS, str(tmp_path / "model.gguf"), str(rows)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        peaks.append(int(run.stdout))
        written = opened.layout.nbytes(opened.layout.capacity(rows, snapshots=3), "f16")
        bounds.append(opened.weight_bytes + written + workspace_bytes(config, 1, rows, kept_rows=rows))
    print(f"{family}: peaks {[p // MIB for p in peaks]} MiB, bounds {[b // MIB for b in bounds]} MiB")
    assert all(peak <= 1.03 * bound for peak, bound in zip(peaks, bounds, strict=True))
    assert 0.6 <= (peaks[1] - peaks[0]) / (bounds[1] - bounds[0]) <= 1.03, "the bound grows as the memory does"
