"""Speeds of a model's work on a machine, from actual bytes and operations.

In each place (GPU, RAM, disk), a decode step of N users reads the weights that at least one of them needs (routed
experts by the expected number of distinct ones) and their keys, values and state, and computes 2 operations per weight
and token. A place takes the longer of the two times; places take turns. Kernel launches and exchanges between GPUs come
on top. efficiency.py says how much of each limit engines reach. docs/plan.md compares the results with published ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.planning.efficiency import (
    DISK_BANDWIDTH_SHARE,
    at_once,
    compute_share,
    exchange_seconds,
    kernels,
    on_gpu,
    on_processor,
)
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.work import Split, Work

#: prompts are processed in chunks of this many tokens
PREFILL_CHUNK = 2048
#: llama.cpp copies weights from RAM to a GPU for this many tokens at once (its --ubatch-size and --op-offload)
COPIED_FOR = 512


@dataclass(frozen=True)
class Place:
    """The weights in one place, and how fast an engine uses them there."""

    name: str
    #: share of the weights that every token uses, and so of the state; share of the routed experts
    weights: float
    routed: float
    #: bytes per second of the first, and of the routed experts; operations per second of prompts, and of answers:
    #: a processor takes the few tokens of a step one by one, so experts cost it no sorting; 0: unknown
    bandwidth: float
    expert_bandwidth: float
    compute: float
    step_compute: float

    def seconds(self, weights: float, routed: float) -> float:
        """Seconds to read `weights` and `routed` bytes of the whole model, of which this place has its shares."""
        return self.weights * weights / self.bandwidth + self.routed * routed / self.expert_bandwidth


def places(w: Work, split: Split, machine: Hardware, engine: str) -> list[Place]:
    gpu, card, host = machine.gpu, on_gpu(engine, machine), on_processor(engine)
    cards = at_once(w, engine, machine) * gpu.bandwidth if gpu is not None else 0.0
    flops = 0.0 if gpu is None else _flops(w, machine) * at_once(w, engine, machine) * compute_share(w, card)
    by_processor = machine.cpu_flops * compute_share(w, host)
    steps = machine.cpu_flops * host.dense_compute
    disk = machine.disk_bandwidth * DISK_BANDWIDTH_SHARE
    unified = gpu is not None and gpu.unified
    return [
        Place("GPU", *split.gpu, cards * card.bandwidth, cards * card.expert_bandwidth, flops, flops),
        Place("RAM", *split.ram, machine.ram_bandwidth * host.bandwidth,
              machine.ram_bandwidth * host.expert_bandwidth, by_processor, steps),
        Place("disk", *split.disk, disk, disk, flops if unified else by_processor, flops if unified else steps),
    ]  # fmt: skip


def _flops(w: Work, machine: Hardware) -> float:
    """Operations per second of one GPU with this type; 0: unknown."""
    gpu = machine.gpu
    if gpu is None:
        return 0.0
    if w.type == "FP8" and gpu.flops_8:
        return gpu.flops_8
    return gpu.flops_4 if w.type == "NVFP4" and gpu.flops_4 else gpu.flops_16


def decode_seconds(w: Work, split: Split, machine: Hardware, engine: str) -> tuple[float | None, list[str]]:
    """Seconds of a step with one token per user; None: no estimate. And how they are computed, one line per part."""
    routed, state = w.touched(w.users), w.users * w.sequence_bytes
    operations = w.users * w.decode_flops
    active = max(1.0, w.always_bytes + routed)
    total, lines = 0.0, []
    for p in places(w, split, machine, engine):
        size = p.weights * (w.always_bytes + state) + p.routed * routed
        if size <= 0:
            continue
        if not p.bandwidth:
            return None, [f"{p.name}: its bandwidth is unknown, so there is no estimate"]
        seconds = p.seconds(w.always_bytes + state, routed)
        reached = size / seconds
        if p.step_compute and p.name != "disk":
            part = operations * (p.weights * w.always_bytes + p.routed * routed) / active
            seconds = max(seconds, part / p.step_compute)
        total += seconds
        lines.append(f"{p.name}: {size / 1e9:.2f} GB ÷ {reached / 1e9:.0f} GB/s = {1e3 * seconds:.2f} ms")
    for name, count, reached_by in zip(
        ("GPU", "RAM"), kernels(w, split), (on_gpu(engine, machine), on_processor(engine)), strict=True
    ):
        if count:
            each = reached_by.kernel_seconds + (machine.cores * reached_by.core_seconds if name == "RAM" else 0.0)
            total += count * each
            lines.append(f"{name}: {count} kernels × {1e6 * each:.3g} µs = {1e3 * count * each:.2f} ms")
    exchanges = split.gpu_layers * exchange_seconds(w, engine, machine, w.users)
    if exchanges:
        total += exchanges
        lines.append(f"GPU: {split.gpu_layers} layers exchange between the GPUs in {1e3 * exchanges:.2f} ms")
    lines.append(f"decode: {w.users} tokens ÷ {1e3 * total:.2f} ms = {w.users / total:.1f} tokens/s")
    return total, lines


def prefill_rate(w: Work, split: Split, machine: Hardware, engine: str) -> tuple[float | None, str]:
    """Tokens per second of a prompt of half the context; None: no estimate. Each chunk reads the weights it uses once.

    The fitted share of operations includes kernel launches, because the measured prompts did, too.
    """
    chunk = min(PREFILL_CHUNK, max(1, w.context // 2))
    operations = chunk * w.prompt_flops
    chosen = w.touched(1)
    active = max(1.0, w.always_bytes + chosen)
    found = places(w, split, machine, engine)
    on_card = found[0].compute
    total = 0.0
    for p in found:
        if p.weights * w.always_bytes + p.routed * w.touched(chunk) <= 0:
            continue
        if not p.compute or not p.bandwidth:
            return None, f"prefill: {p.name}'s {'speed' if p.bandwidth else 'bandwidth'} is unknown"
        part = (p.weights * w.always_bytes + p.routed * chosen) / active
        seconds = max(p.seconds(w.always_bytes, w.touched(chunk)), operations * part / p.compute)
        if p.name == "RAM" and machine.gpu is not None and machine.gpu.host_bandwidth and on_card:
            weights = p.weights * w.always_bytes + p.routed * w.touched(min(chunk, COPIED_FOR))
            copying = max(1.0, chunk / COPIED_FOR) * weights / machine.gpu.host_bandwidth
            seconds = min(seconds, copying + operations * part / on_card)
        total += seconds
    total += split.gpu_layers * exchange_seconds(w, engine, machine, chunk)
    return chunk / total, f"prefill: {chunk} tokens ÷ {1e3 * total:.0f} ms = {chunk / total:.0f} tokens/s"
