"""Compare what `plan --measure` makes of a few layers with `bench` of the whole model, on this machine.

    python bench/measured_layers.py qwen3.5-0.8b --types Q8_0 Q4_K_M --rounds 3

Writes random models in the catalogue's shapes to the folder for temporary files. Each round times the whole model and
then its layers, so that both meet the same load; the table has the medians. Prompts are timed as --measure does, with
256 tokens, and answers with 32.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from shoestring.catalogue.load import builtin_catalogue
from shoestring.cli.advise.measure import LARGEST_FILE, RATES, extended, reduced, speeds
from shoestring.planning.candidates.candidates import from_row
from shoestring.samples.synthetic import synthetic_bytes, write_synthetic


def compare(model: str, type_: str, rounds: int) -> list[str]:
    """The lines of a table."""
    config = from_row(builtin_catalogue().models[model]).config
    shapes = reduced(config, type_, LARGEST_FILE, synthetic_bytes)
    if shapes is None:
        raise SystemExit(f"{model}: two periods of its layers are larger than {LARGEST_FILE:,} bytes")
    whole, layers = [], []
    with tempfile.TemporaryDirectory(prefix="shoestring-whole-") as folder:
        path = Path(folder) / f"{model}.gguf"
        write_synthetic(config, path, type_)
        for _ in range(rounds):
            whole.append(speeds(path))
            layers.append(extended(shapes, config.num_hidden_layers, type_))
    lines = []
    for key in RATES:
        full, few = (statistics.median(r[key] for r in runs) for runs in (whole, layers))
        lines.append(f"| {model} | {type_} | {key.partition('_')[0]} | {full:.4g} | {few:.4g} | {few / full:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--types", nargs="+", default=["Q8_0"])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print("| model | type | phase | whole, tokens/s | from layers | ratio |", "|---|---|---|---:|---:|---:|", sep="\n")
    for type_ in given.types:
        print("\n".join(compare(given.model, type_, given.rounds)), flush=True)
    print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
