"""Estimate speeds with a roofline model of actual bytes and operations.

In each place (GPU, RAM, disk), a decode step of N users reads the weights that at least one of them needs (routed
experts by the expected number of distinct ones) and their keys, values and state, and computes 2 operations per weight
and token. A place takes the longer of the two times; places take turns. Kernel launches and exchanges between GPUs come
on top. efficiency.py says how much of each limit engines reach. docs/plan.md compares the results with published ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shoestring.catalogue.schema import Catalogue
from shoestring.models.families import expert_layers
from shoestring.models.sizes import flops_per_token
from shoestring.models.state import AttentionState
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.candidates.formats import TYPES
from shoestring.planning.efficiency import (
    DISK_BANDWIDTH_SHARE,
    PROCESSOR,
    at_once,
    compute_share,
    exchange_seconds,
    kernels,
    on_gpu,
    on_processor,
)
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.measured import Measured
from shoestring.planning.memory import UNUSED, Need, Placement, on_machine

#: prompts are processed in chunks of this many tokens
PREFILL_CHUNK = 2048
#: tokens per sequence in `shoestring bench`
BENCH_CONTEXT = 512
#: llama.cpp copies weights from RAM to a GPU for this many tokens at once (its --ubatch-size and --op-offload)
COPIED_FOR = 512


@dataclass(frozen=True)
class Speed:
    """Tokens per second, and how they are computed. None: no estimate, because a figure of the machine is missing."""

    decode: float | None
    #: all users together
    throughput: float | None
    prefill: float | None
    #: seconds until the first token of a prompt of half the context
    first_token: float | None
    label: str
    #: one line per step of the computation
    formula: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """Median ratios of this machine's measurements to their estimates."""

    decode: float
    prefill: float
    count: int


def scale_of(measured: Sequence[Measured], machine: Hardware, catalogue: Catalogue) -> Scale | None:
    """The scale from all measurements of catalogue models; None without any. bench uses only the processor."""
    processor = replace(machine, gpu=None, gpus=0)
    ratios = []
    for known in measured:
        row = catalogue.models.get(known.model)
        if row is None or known.type not in TYPES:
            continue
        alone = estimate(*on_machine(from_row(row), known.type, BENCH_CONTEXT, 1, "f16", processor), processor)
        if alone.decode and alone.prefill:
            ratios.append((known.decode / alone.decode, known.prefill / alone.prefill))
    if not ratios:
        return None
    return Scale(statistics.median(d for d, _ in ratios), statistics.median(p for _, p in ratios), len(ratios))


def estimate(
    n: Need,
    placed: Placement,
    machine: Hardware,
    measured: Sequence[Measured] = (),
    scale: Scale | None = None,
    own: bool = True,
) -> Speed:
    """Speeds of a placed model.

    The last of `measured` that applies replaces the estimate; `scale` corrects estimates of models in RAM. `own`: use
    our engine where it can run the model; else other engines.
    """
    if placed.fit == "no":
        return Speed(None, None, None, None, "does not run", ())
    step, lines = _decode_seconds(n, placed, machine, own)
    prefill, prefill_line = _prefill_rate(n, placed, machine, own)
    label = "estimated"
    decode = 1 / step if step else None
    for known in measured:
        if known.applies(n, placed):
            decode, prefill, label, step = known.decode, known.prefill, "measured here", 1 / known.decode
            lines = [f"measured here: {decode:g} tokens/s decode, {prefill:g} prefill ({known.source})"]
    if scale is not None and label == "estimated" and placed.fit == "ram" and decode and prefill and step:
        label = "estimated, scaled by measurements here"
        decode, prefill, step = decode * scale.decode, prefill * scale.prefill, step / scale.decode
        lines.append(f"× {scale.decode:.2f}, from {scale.count} measured here; prefill × {scale.prefill:.2f}")
    throughput = n.users / step if step else None
    first = n.context / 2 / prefill if prefill else None
    return Speed(decode, throughput, prefill, first, label, (*lines, prefill_line))


def _touched(n: Need, tokens: int) -> float:
    """Expected share of the routed experts that `tokens` tokens use together."""
    layers = expert_layers(n.candidate.config)
    if not layers:
        return 0.0
    share = n.candidate.config.num_experts_per_tok / layers[0].num_experts
    return 1 - (1 - share) ** tokens


def read_bytes(n: Need, tokens: int) -> dict[str, float]:
    """Bytes that a step of `tokens` sequences reads: weights that every token uses, routed experts, state."""
    # If the head is a separate matrix, a step reads only one row of the embedding per token.
    separate_head = any(shape.role == "head" for shape in n.candidate.shapes)
    looked_up = n.sizes.of("embeddings") // 2 if separate_head else 0
    attended = sum(
        min(n.context, s.chunk_size or n.context) * s.bytes_per_token(n.kv_type)
        for s in n.layout.layers
        if isinstance(s, AttentionState)
    )
    return {
        "weights": n.always_bytes - n.sizes.of("vision") - looked_up,
        "routed_experts": n.routed_bytes * _touched(n, tokens),
        "state": tokens * (attended + 2 * n.state_bytes_per_sequence),
    }


def _decode_seconds(n: Need, placed: Placement, machine: Hardware, own: bool) -> tuple[float | None, list[str]]:
    """Seconds of a step with one token per user; None: no estimate. And how they are computed, one line per part."""
    read = read_bytes(n, n.users)
    operations = n.users * flops_per_token(n.candidate.config, n.context)
    active = max(1.0, read["weights"] + read["routed_experts"])
    total, lines = 0.0, []
    for p in _places(n, placed, machine, own):
        size = p.weights * (read["weights"] + read["state"]) + p.routed * read["routed_experts"]
        if size <= 0:
            continue
        if not p.bandwidth:
            return None, [f"{p.name}: its bandwidth is unknown, so there is no estimate"]
        seconds = size / p.bandwidth
        if p.compute and p.name != "disk":
            part = operations * (p.weights * read["weights"] + p.routed * read["routed_experts"]) / active
            seconds = max(seconds, part / p.compute)
        total += seconds
        lines.append(f"{p.name}: {size / 1e9:.2f} GB ÷ {p.bandwidth / 1e9:.0f} GB/s = {1e3 * seconds:.2f} ms")
    for place_name, count, each in zip(
        ("GPU", "RAM"), kernels(n, placed), (on_gpu(n, placed, machine).kernel_seconds, PROCESSOR.kernel_seconds),
        strict=True,
    ):  # fmt: skip
        if count:
            total += count * each
            lines.append(f"{place_name}: {count} kernels × {1e6 * each:.3g} µs = {1e3 * count * each:.2f} ms")
    exchanges = placed.gpu_layers * exchange_seconds(n, placed, machine, n.users)
    if exchanges:
        total += exchanges
        lines.append(f"GPU: {placed.gpu_layers} layers exchange between the GPUs in {1e3 * exchanges:.2f} ms")
    lines.append(f"decode: {n.users} tokens ÷ {1e3 * total:.2f} ms = {n.users / total:.1f} tokens/s")
    return total, lines


@dataclass(frozen=True)
class _Place:
    """The weights in one place, and how fast an engine uses them there."""

    name: str
    #: share of the weights that every token uses, and so of the state; share of the routed experts
    weights: float
    routed: float
    #: bytes and operations per second; 0: unknown
    bandwidth: float
    compute: float


def _places(n: Need, placed: Placement, machine: Hardware, own: bool) -> list[_Place]:
    parts = {str(part) for part, _ in n.sizes.by_part if part not in UNUSED and part != "routed_experts"}
    of_one = machine.gpu.bandwidth if machine.gpu is not None else 0.0
    rows = (
        ("GPU", placed.gpu, at_once(n, placed, machine) * of_one * on_gpu(n, placed, machine).bandwidth),
        ("RAM", placed.ram, machine.ram_bandwidth * (1.0 if machine.ram_reached else PROCESSOR.bandwidth)),
        ("disk", placed.disk, machine.disk_bandwidth * DISK_BANDWIDTH_SHARE),
    )
    places = []
    for name, sizes, bandwidth in rows:
        always = 0 if name == "disk" else sum(size for part, size in sizes.items() if part in parts)
        routed = sizes.get("routed_experts", 0) / n.routed_bytes if n.routed_bytes else 0.0
        compute = _compute(n, placed, machine, name, own)
        places.append(_Place(name, always / max(1, n.always_bytes), routed, bandwidth, compute))
    return places


def _compute(n: Need, placed: Placement, machine: Hardware, place_name: str, own: bool) -> float:
    """Operations per second of a place with this type; 0: unknown. Weights on disk are computed by the processor."""
    gpu, type_ = machine.gpu, n.sizes.type
    if place_name == "RAM" or (place_name == "disk" and not (gpu is not None and gpu.unified)):
        return machine.cpu_flops * compute_share(n, on_processor(n, placed) if own else PROCESSOR)
    if gpu is None:
        return 0.0
    flops = gpu.flops_16
    if type_ == "FP8" and gpu.flops_8:
        flops = gpu.flops_8
    if type_ == "NVFP4" and gpu.flops_4:
        flops = gpu.flops_4
    return at_once(n, placed, machine) * flops * compute_share(n, on_gpu(n, placed, machine))


def _prefill_rate(n: Need, placed: Placement, machine: Hardware, own: bool) -> tuple[float | None, str]:
    """Tokens per second in prefill. Each chunk reads the weights it uses once.

    The fitted share of operations includes kernel launches, because the measured prompts did, too.
    """
    chunk = min(PREFILL_CHUNK, max(1, n.context // 2))
    read, one, copied = (read_bytes(n, tokens) for tokens in (chunk, 1, min(chunk, COPIED_FOR)))
    operations = chunk * flops_per_token(n.candidate.config, n.context // 2)
    active_weights, chosen = max(1, one["weights"]), one["routed_experts"]
    on_card = _compute(n, placed, machine, "GPU", own)
    total = 0.0
    for p in _places(n, placed, machine, own):
        size = p.weights * read["weights"] + p.routed * read["routed_experts"]
        if size <= 0:
            continue
        if not p.compute or not p.bandwidth:
            return None, f"prefill: {p.name}'s {'speed' if p.bandwidth else 'bandwidth'} is unknown"
        part = (p.weights * active_weights + p.routed * chosen) / (active_weights + chosen)
        seconds = max(size / p.bandwidth, operations * part / p.compute)
        if p.name == "RAM" and machine.gpu is not None and machine.gpu.host_bandwidth and on_card:
            weights = p.weights * read["weights"] + p.routed * copied["routed_experts"]
            copying = max(1.0, chunk / COPIED_FOR) * weights / machine.gpu.host_bandwidth
            seconds = min(seconds, copying + operations * part / on_card)
        total += seconds
    total += placed.gpu_layers * exchange_seconds(n, placed, machine, chunk)
    return chunk / total, f"prefill: {chunk} tokens ÷ {1e3 * total:.0f} ms = {chunk / total:.0f} tokens/s"
