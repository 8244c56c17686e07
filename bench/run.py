"""Measure this machine's speed: the demo model, and both families' shapes in several types. `make bench` runs it.

    python bench/run.py [--types Q4_K_M Q8_0 BF16 …] [--threads 2] [--repetitions 5] [--folder FOLDER]

Each row is a `shoestring bench`: median tokens per second for a prompt of 512 tokens and for 64 tokens one by one.
bench/against_llamacpp.py compares with llama.cpp; bench/limits.py measures memory and time to the first token.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from against_llamacpp import CONFIGS, cpu, output, version

from shoestring.samples.synthetic import read_config, write_synthetic

TYPES = ("Q4_K_M", "Q8_0", "Q4_0", "Q6_K", "BF16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where models are written, one at a time (a temporary folder)")
    arguments = parser.parse_args()
    options = ["--threads", str(arguments.threads), "--repetitions", str(arguments.repetitions), "--json"]

    print(f"{cpu()}; shoestring {version()}, {arguments.threads} threads; tokens/s, medians and range\n")
    print("| model | type | prefill 512 | decode 64 | load s | peak MiB |\n|---|---|---|---|---|---|")
    print(row("demo-llama4", "Q4_1", bench("demo-llama4", options)))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for config in CONFIGS:
            for kind in arguments.types:
                file = Path(folder) / f"{config.stem}-{kind}.gguf"
                write_synthetic(read_config(config), file, kind)
                print(row(config.stem, kind, bench(str(file), options)), flush=True)
                file.unlink()


def bench(model: str, options: list[str]) -> dict[str, Any]:
    facts = output([sys.executable, "-m", "shoestring", "bench", model, *options])
    assert isinstance(facts, dict)
    return facts


def row(name: str, kind: str, facts: dict[str, Any]) -> str:
    cells = []
    for phase in ("prefill", "decode"):
        samples = facts["samples"][f"{phase}_tokens_per_second"]
        cells.append(f"{facts[f'{phase}_tokens_per_second']:.1f} ({min(samples):.1f} … {max(samples):.1f})")
    return (
        f"| {name} | {kind} | {' | '.join(cells)} | {facts['load_seconds']:.1f} "
        f"| {facts['peak_memory_bytes'] / 2**20:.0f} |"
    )


if __name__ == "__main__":
    main()
