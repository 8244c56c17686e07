"""Compare the planner's estimates with published speeds, and fit the engines' efficiencies to half of the sources.

    python bench/speed_points.py          # the comparison, as docs/plan.md has it
    python bench/speed_points.py --all    # every point
    python bench/speed_points.py --fit    # the figures of catalogue/engines.toml

points/speeds.csv has the measurements, points/models.csv the models outside the catalogue. A source is held out if the
first byte of the SHA-256 of its address is below 128; no fit sees its points. The factor of a point is
max(estimate ÷ measurement, measurement ÷ estimate).

A measured time of an answer's token is a sum: bytes of weights and state ÷ (bandwidth × share), bytes of routed experts
÷ (bandwidth × another share), kernels × seconds a kernel, and, on servers, other users' prompts ÷ (operations × share)
and exchanges between GPUs, with published links and latency. Least absolute relative errors find the unknowns. Shares
of operations in prompts are the medians of what the points reached.
"""

from __future__ import annotations

import csv
import hashlib
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from shoestring.catalogue.load import builtin_catalogue
from shoestring.catalogue.schema import Efficiency
from shoestring.planning.candidates.formats import bits
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.efficiency import at_once, exchange_seconds, kernels, on_gpu, on_processor
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import need
from shoestring.planning.roofline import decode_seconds, places, prefill_rate
from shoestring.planning.work import Split, Work, work_of

POINTS = Path(__file__).parent / "points"
Row = dict[str, str]
CLASSES = {
    "mac": "Mac, llama.cpp", "mlx": "Mac, MLX", "gpu": "consumer GPU, llama.cpp", "cpu": "processor",
    "server": "server",
}  # fmt: skip
#: bits per weight of whole files in types outside the catalogue's, and of mixes, as their sizes give them
FILE_BITS = {"F16": 16.0, "Q4_K_M": 4.85, "Q5_0": 5.54, "MXFP4": 4.25, "Q4_0": 4.55, "FP8": 8.0}
#: bytes per number of keys and values
CACHE_BYTES = 2


def read(name: str) -> list[Row]:
    """The rows of a file in points/, without its comments."""
    lines = (POINTS / name).read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def held_out(source: str) -> bool:
    """Whether no fit may see the points of a source. Fixed before the first fit."""
    return hashlib.sha256(source.encode()).digest()[0] < 128


@dataclass(frozen=True)
class Point:
    """A published speed, and the work and machine that it was measured with."""

    row: Row
    work: Work
    split: Split
    machine: Hardware

    @property
    def engine(self) -> str:
        return self.row["engine"]

    @property
    def decode(self) -> bool:
        return self.row["phase"] == "decode"

    @property
    def interleaved(self) -> float:
        return float(self.row["interleaved"] or 0)

    @property
    def rate(self) -> float:
        return float(self.row["tokens_per_second"])

    @property
    def held_out(self) -> bool:
        return held_out(self.row["source"])

    @property
    def estimate(self) -> float:
        """Tokens per second."""
        if not self.decode:
            rate, _ = prefill_rate(self.work, self.split, self.machine, self.engine)
            assert rate is not None
            return rate
        step, _ = decode_seconds(self.work, self.split, self.machine, self.engine)
        rate, _ = prefill_rate(self.work, self.split, self.machine, self.engine)
        assert step is not None
        assert rate is not None
        return 1 / (step + self.interleaved / rate)

    @property
    def factor(self) -> float:
        ratio = self.estimate / self.rate
        return max(ratio, 1 / ratio)


@cache
def points() -> tuple[Point, ...]:
    shapes = {row["model"]: row for row in read("models.csv")}
    found = []
    for row in read("speeds.csv"):
        machine = parse_hardware(row["hardware"], builtin_catalogue())
        users = int(row["users"])
        # a prompt is half of a context
        context = int(row["context"]) if row["phase"] == "decode" else 2 * int(row["context"])
        if row["model"] in shapes:
            work = reference(shapes[row["model"]], row["type"], float(row["gigabytes"] or 0), context, users)
        else:
            work = of_catalogue(row["model"], row["type"], float(row["gigabytes"] or 0), context, users)
        whole = (1.0, 1.0)
        split = Split(gpu=whole, gpu_layers=work.layers) if machine.gpu is not None else Split(ram=whole)
        found.append(Point(row, work, split, machine))
    return tuple(found)


def reference(shape: Row, type_: str, gigabytes: float, context: int, users: int) -> Work:
    """The work of a model of models.csv. A file's bits are spread evenly over its parameters."""
    parameters, looked_up, routed = (1e9 * float(shape[name]) for name in ("parameters", "looked_up", "routed"))
    layers, hidden, heads, attending, key_numbers, experts, chosen = (
        int(shape[name]) for name in ("layers", "hidden", "heads", "attending", "key_numbers", "experts", "chosen")
    )
    each = 1e9 * gigabytes / parameters if gigabytes else (FILE_BITS.get(type_) or bits(type_)) / 8
    active = parameters - looked_up - (routed * (1 - chosen / experts) if experts else 0)

    def flops(seen: int) -> float:
        return 2 * active + 4 * hidden * attending * seen

    return Work(
        type=type_, users=users, context=context, layers=layers, hidden=hidden, heads=heads, experts=experts,
        chosen=chosen, always_bytes=each * (parameters - looked_up - routed), routed_bytes=each * routed,
        sequence_bytes=2 * CACHE_BYTES * key_numbers * attending * context, decode_flops=flops(context),
        prompt_flops=flops(context // 4),
    )  # fmt: skip


def of_catalogue(model: str, type_: str, gigabytes: float, context: int, users: int) -> Work:
    """The work of a model of the catalogue; its bytes are scaled to the file's."""
    n = need(resolve(model, builtin_catalogue()), type_, context, users)
    work = work_of(n)
    if not gigabytes:
        return work
    scale = 1e9 * gigabytes / (n.file.total - n.file.of("vision", "mtp"))
    return Work(**{
        **vars(work), "always_bytes": scale * work.always_bytes, "routed_bytes": scale * work.routed_bytes,
    })  # fmt: skip


def efficiency_of(p: Point) -> Efficiency:
    return on_processor(p.engine) if p.machine.gpu is None else on_gpu(p.engine, p.machine)


# --- the comparison --------------------------------------------------------------------------------------------------


def summary() -> str:
    """One line a class and phase: points, sources, and the factors of the held-out ones."""
    lines = [
        "| points | phase | fitted | held out | sources held out | median factor | within 1.8 | largest |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for phase in ("decode", "prefill"):
        for name, title in (*CLASSES.items(), ("", "all")):
            group = [p for p in points() if p.row["phase"] == phase and name in ("", p.row["class"])]
            unseen = [p for p in group if p.held_out]
            if not unseen:
                continue
            factors = sorted(p.factor for p in unseen)
            sources = len({p.row["source"] for p in unseen})
            within = sum(f <= 1.8 for f in factors) / len(factors)
            lines.append(
                f"| {title} | {phase} | {len(group) - len(unseen)} | {len(unseen)} | {sources} "
                f"| {statistics.median(factors):.2f} | {100 * within:.0f} % | {factors[-1]:.2f} |"
            )
    return "\n".join(lines)


def farthest(count: int = 12) -> str:
    """The held-out points with the largest factors."""
    unseen = sorted((p for p in points() if p.held_out), key=lambda p: -p.factor)[:count]
    lines = ["| machine | model | type | phase | estimate | published | factor |", "|---|---|---|---|---:|---:|---:|"]
    return "\n".join([*lines, *(line(p) for p in unseen)])


def shares() -> str:
    """What catalogue/engines.toml says that engines reach."""
    lines = [
        "| engine | on | bandwidth | of experts | prompts, dense | with experts | a kernel |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in builtin_catalogue().efficiencies.values():
        each = f"{1e6 * row.core_seconds:.2g} µs a core" if row.core_seconds else f"{1e6 * row.kernel_seconds:.3g} µs"
        lines.append(
            f"| {row.engine} | {', '.join(row.devices_of)} | {row.bandwidth:.2f} | {row.expert_bandwidth:.2f} "
            f"| {row.dense_compute:.2g} | {row.expert_compute:.2g} | {each} |"
        )
    return "\n".join(lines)


def line(p: Point) -> str:
    row = p.row
    return (
        f"| `{row['hardware']}` | {row['model']} | {row['type']} | {row['phase']} | {p.estimate:,.4g} "
        f"| {p.rate:,.4g} | {p.factor:.2f} |"
    )


# --- the fit ---------------------------------------------------------------------------------------------------------


def terms(p: Point) -> tuple[list[float], float]:
    """A point's terms, and its seconds less the exchanges between GPUs.

    Seconds of a step at full speed: weights and state; routed experts; one a kernel (and core of a processor); other
    users' prompts, dense and with experts.
    """
    w, machine, engine = p.work, p.machine, p.engine
    gpu = machine.gpu
    bandwidth = machine.ram_bandwidth if gpu is None else at_once(w, engine, machine) * gpu.bandwidth
    place = places(w, p.split, machine, engine)[1 if gpu is None else 0]
    reached = efficiency_of(p)
    share = reached.expert_compute if w.experts else reached.dense_compute
    prompts = p.interleaved * w.prompt_flops / (place.compute / share) if place.compute else 0.0
    exchanged = w.layers * exchange_seconds(w, engine, machine, w.users) if gpu is not None else 0.0
    own = [
        (w.always_bytes + w.users * w.sequence_bytes) / bandwidth, w.touched(w.users) / bandwidth,
        sum(kernels(w, p.split)) * (1.0 if gpu is not None else machine.cores),
        prompts * (not w.experts), prompts * bool(w.experts),
    ]  # fmt: skip
    return own, 1 / p.rate - exchanged


def solve(table: Sequence[Sequence[float]], times: Sequence[float]) -> list[float]:
    """Non-negative factors of the columns with the least absolute relative errors; 0 for a column of zeros."""
    a, t = np.array(table), np.array(times)
    a = a / t[:, None]
    used = [i for i in range(a.shape[1]) if a[:, i].any()]
    weights = np.ones(len(t))
    factors = np.zeros(a.shape[1])
    for _ in range(60):
        found, *_ = np.linalg.lstsq(a[:, used] * weights[:, None], weights, rcond=None)
        if (found < 0).any():
            used.pop(int(np.argmin(found)))
            weights[:] = 1
            continue
        weights = 1 / np.sqrt(np.maximum(np.abs(a[:, used] @ found - 1), 1e-3))
        factors = np.zeros(a.shape[1])
        factors[used] = found
    return [float(f) for f in factors]


def fits() -> dict[str, dict[str, float]]:
    """The figures of catalogue/engines.toml by row and field, from the points that the fit may see."""
    found: dict[str, dict[str, float]] = {}
    seen = [p for p in points() if not p.held_out]
    for id in dict.fromkeys(efficiency_of(p).id for p in seen):
        group = [p for p in seen if efficiency_of(p).id == id]
        figures = _of_answers([terms(p) for p in group if p.decode], id.endswith("processor"))
        for name, wanted in (("dense_compute", False), ("expert_compute", True)):
            reached = [reached_share(p) for p in group if not p.decode and bool(p.work.experts) == wanted]
            if reached:
                figures[name] = statistics.median(reached)
        found[id] = figures
    return found


def _of_answers(decode: Sequence[tuple[list[float], float]], processor: bool) -> dict[str, float]:
    """The figures that answers show; {} if there are fewer answers than unknowns."""
    table = [own for own, _ in decode]
    if len(table) < sum(any(column) for column in zip(*table, strict=True)) or not table:
        return {}
    always, routed, kernel, dense, mixture = solve(table, [t for _, t in decode])
    figures = {"bandwidth": min(1.0, 1 / always), "core_seconds" if processor else "kernel_seconds": kernel}
    if routed:
        figures["expert_bandwidth"] = min(1.0, 1 / routed)
    return figures | {name: 1 / f for name, f in (("dense_compute", dense), ("expert_compute", mixture)) if f}


def reached_share(p: Point) -> float:
    """Share of the stated operations that a prompt reached."""
    place = places(p.work, p.split, p.machine, p.engine)[1 if p.machine.gpu is None else 0]
    reached = efficiency_of(p)
    share = reached.expert_compute if p.work.experts else reached.dense_compute
    return p.rate * p.work.prompt_flops / (place.compute / share)


def main(arguments: Iterable[str]) -> None:
    asked = set(arguments)
    if "--fit" in asked:
        for id, figures in fits().items():
            print(id, ", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
        return
    print(shares(), summary(), sep="\n\n", end="\n\n")
    if "--all" in asked:
        print("\n".join(f"{'held out' if p.held_out else 'fitted'} {line(p)}" for p in points()))
    else:
        print(farthest())


if __name__ == "__main__":
    main(sys.argv[1:])
