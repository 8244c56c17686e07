"""Fit how much of a machine's limits engines reach, and show how well the fit predicts machines it has not seen.

    python bench/efficiency.py

shoestring.planning.efficiency contains the printed figures. The model of a measured time is a sum: bytes read ÷
(bandwidth × share), kernels × seconds per kernel, other users' prompts ÷ (operations × share), and exchanges between
GPUs, with published links and latency. Least squares of relative errors find the four unknowns. points/*.csv name the
sources of the measurements.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from shoestring.catalogue.load import builtin_catalogue
from shoestring.models.sizes import flops_per_token
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.efficiency import (
    DENSE_KERNELS,
    EXCHANGED_BYTES,
    EXCHANGES_A_LAYER,
    EXPERT_KERNELS,
    SERVED,
)
from shoestring.planning.memory import need
from shoestring.planning.speed import PREFILL_CHUNK, read_bytes

POINTS = Path(__file__).parent / "points"
Row = dict[str, str]
#: milliseconds of: all bytes at full bandwidth, one microsecond per kernel, prompts at full operations (with experts,
#: dense), exchanges; then the measured time
Terms = tuple[float, float, float, float, float, float]

#: Llama-3.1-70B: parameters without the embedding, layers, width, bytes of keys and values per token
DENSE = (69.5e9, 80, 8192, 2 * 8 * 128 * 2 * 80)
TYPES = {"bf16": "BF16", "fp8": "FP8", "fp4": "NVFP4"}
BITS = {"bf16": 16.0, "fp8": 8.0, "fp4": 4.5}
#: the devices that the fits use
SEEN = {"served": ("b200",), "cuda": ("RTX 3090", "RTX 4090"), "metal": ("M1 Max", "M2 Ultra"), "cpu": ("EPYC 9554",)}


def read(name: str) -> list[Row]:
    lines = (POINTS / name).read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@cache
def _qwen(precision: str, prompt: int, answer: int, users: int) -> tuple[float, float]:
    """Bytes per step in the middle of the answers, and operations per token in the middle of a prompt."""
    n = need(resolve("qwen3.5", builtin_catalogue()), TYPES[precision], prompt + answer // 2, users)
    return sum(read_bytes(n, users).values()), flops_per_token(n.candidate.config, prompt // 2)


def served(row: Row) -> Terms:
    """A server's time between tokens, which other users' prompts interrupt."""
    device = builtin_catalogue().devices[row["device"]]
    gpus, users, prompt, answer = (int(row[key]) for key in ("gpus", "users", "prompt", "answer"))
    operations = gpus * {"bf16": device.flops_16, "fp8": device.flops_8, "fp4": device.flops_4}[row["precision"]]
    between = (users - 1) / answer * prompt
    mixture = row["model"].startswith("Qwen")
    if mixture:
        size, a_token = _qwen(row["precision"], prompt, answer, users)
        layers, width, kernels = 60, 4096, EXPERT_KERNELS
    else:
        parameters, layers, width, kv_bytes_per_token = DENSE
        size = parameters * BITS[row["precision"]] / 8 + users * (prompt + answer / 2) * kv_bytes_per_token
        a_token, kernels = 2 * parameters, DENSE_KERNELS

    def exchange(tokens: float) -> float:
        sent = 2 * (gpus - 1) / gpus * tokens * width * EXCHANGED_BYTES
        return (
            EXCHANGES_A_LAYER * layers * (SERVED.exchange_seconds + sent / device.link_bandwidth) if gpus > 1 else 0.0
        )

    prompts = between * a_token / operations
    waits = exchange(users) + between / PREFILL_CHUNK * exchange(PREFILL_CHUNK)
    return (
        1e3 * size / (gpus * device.bandwidth), 1e-3 * layers * kernels,
        1e3 * prompts * mixture, 1e3 * prompts * (not mixture), 1e3 * waits, float(row["milliseconds"]),
    )  # fmt: skip


def alone(row: Row) -> Terms:
    """llama.cpp's time per token; its GPUs take turns."""
    kernels = DENSE_KERNELS if row["kernels"] == "dense" else EXPERT_KERNELS
    size = 1e3 * float(row["gigabytes"]) / float(row["bandwidth_gbs"])
    return size, 1e-3 * int(row["layers"]) * kernels, 0.0, 0.0, 0.0, 1e3 / float(row["answer_rate"])


def prompt_share(row: Row) -> float:
    """Share of the stated operations reached in a prompt."""
    return 2 * float(row["billions"]) * float(row["prompt_rate"]) / (1e3 * float(row["teraflops"]))


def fit(terms: Sequence[Terms]) -> list[float]:
    """Fit the factors of the first four terms by least squares of the relative error; 0 if a term never occurs."""
    table = np.array(terms)
    used = [i for i in range(4) if table[:, i].any()]
    rest = (table[:, 5] - table[:, 4]) / table[:, 5]
    found, *_ = np.linalg.lstsq(table[:, used] / table[:, 5:], rest, rcond=None)
    factors = [0.0] * 4
    for i, value in zip(used, found, strict=True):
        factors[i] = float(value)
    return factors


def holds(factors: Sequence[float], terms: Sequence[Terms]) -> str:
    """Ratios of measured to predicted time for many points."""
    ratios = sorted(t[5] / (sum(f * x for f, x in zip(factors, t[:4], strict=True)) + t[4]) for t in terms)
    text = f"{len(ratios)} | {statistics.median(ratios):.2f} | "
    if len(ratios) > 4:
        low, _, high = statistics.quantiles(ratios, n=4)
        text += f"{low:.2f}–{high:.2f} "
    return f"{text}| {ratios[0]:.2f}–{ratios[-1]:.2f} |"


def fits() -> dict[str, dict[str, float]]:
    """The figures of efficiency.py by engine and field."""
    by_kind: dict[str, tuple[list[Row], Callable[[Row], Terms]]] = {
        "served": (read("serving.csv"), served),
        **{k: ([r for r in read("llama_cpp.csv") if r["kind"] == k], alone) for k in ("cuda", "metal", "cpu")},
    }
    found = {}
    for kind, (rows, terms) in by_kind.items():
        seen = [r for r in rows if r["device"] in SEEN[kind]]
        factors = fit([terms(r) for r in seen])
        found[kind] = {"bandwidth": 1 / factors[0], "kernel_seconds": 1e-6 * factors[1]}
        if kind == "served":
            found[kind] |= {"expert_compute": 1 / factors[2], "dense_compute": 1 / factors[3]}
        elif kind != "cpu":
            dense = statistics.median(prompt_share(r) for r in seen)
            ratio = found["served"]["expert_compute"] / found["served"]["dense_compute"]
            found[kind] |= {"dense_compute": dense, "expert_compute": dense * ratio}
    return found


def table() -> str:
    """The table of how well the fits predict the fitted and other machines."""
    lines = [
        "| measured | points | median of measured ÷ predicted time | middle half | all |",
        "|---|---:|---:|---|---|",
    ]
    found = fits()
    named = {"b200": "B200", "b300": "B300", "h100": "H100", "h200": "H200"}
    for kind, f in found.items():
        terms = served if kind == "served" else alone
        rows = [r for r in read("serving.csv" if kind == "served" else "llama_cpp.csv") if r.get("kind", kind) == kind]
        factors = [1 / f["bandwidth"], 1e6 * f["kernel_seconds"]]
        factors += [1 / f[name] if name in f else 0.0 for name in ("expert_compute", "dense_compute")]
        for key in dict.fromkeys((r["device"], r["model"] if kind == "served" else "") for r in rows):
            group = [terms(r) for r in rows if (r["device"], r["model"] if kind == "served" else "") == key]
            what = f"{named.get(key[0], key[0])}, {key[1]}" if key[1] else f"{key[0]}, llama.cpp"
            seen = ", seen by the fit" if key[0] in SEEN[kind] else ""
            lines.append(f"| {what}{seen} | {holds(factors, group)}")
    return "\n".join(lines)


if __name__ == "__main__":
    for kind, figures in fits().items():
        print(kind, ", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
    print()
    print(table())
