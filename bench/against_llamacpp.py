"""Compare prefill and decode speed with a native llama.cpp build, on the same synthetic files, in alternating runs.

    python bench/against_llamacpp.py LLAMA_BUILD/bin [--types Q4_K_M Q8_0] [--threads 2] [--rounds 5]

A round runs both engines once on each file, in an order that alternates between rounds, so that a machine that slows
down slows both. Reports medians over rounds: tokens per second for a prompt of 512 tokens and for 64 tokens one by one.
The files take 1 to 8 GB, one at a time, in --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shoestring.samples.synthetic import read_config, write_synthetic

CONFIGS = sorted((Path(__file__).parent / "configs").glob("*.json"))
PREFILL, DECODE = 512, 64


@dataclass
class Speeds:
    """Tokens per second of each round."""

    prefill: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)


@dataclass
class Row:
    """One file in both engines."""

    config: str
    type: str
    ours: Speeds = field(default_factory=Speeds)
    theirs: Speeds = field(default_factory=Speeds)

    def medians(self, phase: str) -> tuple[float, float, float]:
        """Ours, theirs, ours / theirs."""
        ours, theirs = (statistics.median(getattr(side, phase)) for side in (self.ours, self.theirs))
        return ours, theirs, ours / theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=Path, help="folder with llama-bench of a native llama.cpp build")
    parser.add_argument("--configs", type=Path, nargs="+", default=CONFIGS, help="config.json files (bench/configs)")
    parser.add_argument("--types", nargs="+", default=["Q4_K_M", "Q8_0"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files are written (a temporary folder)")
    parser.add_argument("--json", type=Path, help="also write all samples to this file")
    arguments = parser.parse_args()

    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for config in arguments.configs:
            for kind in arguments.types:
                file = Path(folder) / f"{config.stem}-{kind}.gguf"
                print(f"writing {file.name} …", file=sys.stderr)
                write_synthetic(read_config(config), file, kind)
                row = Row(config.stem, kind)
                measure(row, file, arguments.bin, arguments.threads, arguments.rounds)
                rows.append(row)
                file.unlink()
    machine = {"cpu": cpu(), "shoestring": version(), "llama.cpp": llama_commit, "threads": arguments.threads}
    print(table(rows, machine))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1))


def measure(row: Row, file: Path, folder: Path, threads: int, rounds: int) -> None:
    """Measure both engines `rounds` times each; add the results to `row`."""
    runs: list[Callable[[], None]] = [
        lambda: run_shoestring(file, threads, row.ours),
        lambda: run_llama(file, folder, threads, row.theirs),
    ]
    for number in range(rounds):
        for run in runs if number % 2 == 0 else reversed(runs):
            run()
        parts = [f"{phase} {ours[-1]:.1f} / {theirs[-1]:.1f}" for phase, ours, theirs in phases(row)]
        print(f"{row.config} {row.type} round {number + 1}: {', '.join(parts)}", file=sys.stderr)


def phases(row: Row) -> list[tuple[str, list[float], list[float]]]:
    return [("prefill", row.ours.prefill, row.theirs.prefill), ("decode", row.ours.decode, row.theirs.decode)]


def run_shoestring(file: Path, threads: int, speeds: Speeds) -> None:
    command = [sys.executable, "-m", "shoestring", "bench", str(file), "--threads", str(threads),
               "--repetitions", "1", "--json"]  # fmt: skip
    result = output(command)
    speeds.prefill.append(result["prefill_tokens_per_second"])
    speeds.decode.append(result["decode_tokens_per_second"])


#: Commit of the build, from llama-bench's own report.
llama_commit = ""


def run_llama(file: Path, folder: Path, threads: int, speeds: Speeds) -> None:
    global llama_commit
    command = [str(folder / "llama-bench"), "-m", str(file), "-p", str(PREFILL), "-n", str(DECODE),
               "-t", str(threads), "-r", "1", "-o", "json"]  # fmt: skip
    for part in output(command):
        llama_commit = part["build_commit"]
        (speeds.prefill if part["n_prompt"] else speeds.decode).append(part["avg_ts"])


def output(command: list[str]) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def version() -> str:
    report = output([sys.executable, "-m", "shoestring", "version", "--json"])
    return f"{report['version']} ({report['isa']})"


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} threads"


def table(rows: list[Row], machine: dict[str, Any]) -> str:
    """The Markdown table of docs/benchmarks.md."""
    lines = [
        f"{machine['cpu']}; shoestring {machine['shoestring']}, llama.cpp {machine['llama.cpp']}, "
        f"{machine['threads']} threads; tokens/s, medians",
        "",
        "| model | type | prefill 512: ours | llama.cpp | ratio | decode 64: ours | llama.cpp | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{a:.1f} | {b:.1f} | {r:.2f}" for a, b, r in map(row.medians, ("prefill", "decode"))]
        lines.append(f"| {row.config} | {row.type} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
