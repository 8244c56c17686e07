"""How fast it would be: a roofline of real bytes and operations, one tier after the other. Estimates, labelled so.

A decode step of N users reads, in each place, the weights that at least one of them needs (routed experts by the
expected number of different ones), their keys, values and state, and computes 2 operations a weight and token. A place
takes the longer of its two times; places take turns. Kernels cost their launch, layers shared by several GPUs their
exchanges besides. What engines reach of each limit is efficiency.py's business; docs/plan.md holds the results against
published speeds.
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

#: a prompt is computed this many tokens at a time
PREFILL_CHUNK = 2048
#: tokens of a sequence of `shoestring bench`
BENCH_CONTEXT = 512
#: of which llama.cpp copies to a GPU what lies in RAM for this many at once (its --ubatch-size and --op-offload)
COPIED_FOR = 512


@dataclass(frozen=True)
class Speed:
    """Tokens a second and what made them. None: the machine's figures do not allow an estimate."""

    decode: float | None
    #: all users together
    throughput: float | None
    prefill: float | None
    #: seconds until the first token of a prompt of half the context
    first_token: float | None
    label: str
    #: one line a step of the arithmetic
    formula: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """What this machine's measurements are to their estimates, the medians."""

    decode: float
    prefill: float
    count: int


def scale_of(measured: Sequence[Measured], machine: Hardware, catalogue: Catalogue) -> Scale | None:
    """From all measurements of models of the catalogue; None without any. bench computes on the processor alone."""
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
    """Speeds of a model as placed; the last of `measured` that applies goes before the estimate, which `scale` brings
    nearer to this machine where the model lies in RAM. `own`: by our engine where it runs the model, else by others.
    """
    if placed.fit == "no":
        return Speed(None, None, None, None, "does not run", ())
    step, lines = _decode_seconds(n, placed, machine, n.users, own)
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


def with_prompts(n: Need, placed: Placement, machine: Hardware, prompt: int, answer: int) -> float | None:
    """Tokens a second of all users' answers while each answer of `answer` tokens begins with a prompt of its own: the
    other users wait while it is computed. None where there is no estimate.
    """
    step, _ = _decode_seconds(n, placed, machine, n.users, True)
    rate, _ = _prefill_rate(replace(n, context=2 * prompt), placed, machine, True)
    if step is None or rate is None:
        return None
    return n.users / (step + (n.users - 1) * prompt / rate / answer)


def _touched(n: Need, tokens: int) -> float:
    """Share of the routed experts that `tokens` tokens need together, by chance."""
    layers = expert_layers(n.candidate.config)
    if not layers:
        return 0.0
    share = n.candidate.config.num_experts_per_tok / layers[0].num_experts
    return 1 - (1 - share) ** tokens


def read_bytes(n: Need, tokens: int) -> dict[str, float]:
    """Bytes that a step of `tokens` sequences reads: weights for every token, routed experts, state."""
    looked_up = _looked_up(n)
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


def _looked_up(n: Need) -> int:
    """The embedding where the head is another matrix: one row a token is nothing."""
    roles = {s.role: s for s in n.candidate.shapes if s.part == "embeddings"}
    return n.sizes.of("embeddings") // 2 if "head" in roles else 0


def _decode_seconds(
    n: Need, placed: Placement, machine: Hardware, tokens: int, own: bool
) -> tuple[float | None, list[str]]:
    read = read_bytes(n, tokens)
    always = max(1, n.always_bytes)
    bandwidths = _bandwidths(n, placed, machine)
    shares = {
        "GPU": (_share(placed.gpu, n, always), _routed(placed.gpu, n), bandwidths["GPU"]),
        "RAM": (_share(placed.ram, n, always), _routed(placed.ram, n), bandwidths["RAM"]),
        "disk": (0.0, _routed(placed.disk, n), bandwidths["disk"]),
    }
    operations = tokens * flops_per_token(n.candidate.config, n.context)
    active = max(1.0, read["weights"] + read["routed_experts"])
    total, lines = 0.0, []
    for place_name, (weights, routed, bandwidth) in shares.items():
        size = weights * (read["weights"] + read["state"]) + routed * read["routed_experts"]
        if size <= 0:
            continue
        if not bandwidth:
            return None, [f"{place_name}: its bandwidth is unknown, so there is no estimate"]
        seconds = size / bandwidth
        compute = _compute(n, placed, machine, place_name, own)
        of_operations = operations * (weights * read["weights"] + routed * read["routed_experts"]) / active
        if compute and place_name != "disk":
            seconds = max(seconds, of_operations / compute)
        total += seconds
        lines.append(f"{place_name}: {size / 1e9:.2f} GB ÷ {bandwidth / 1e9:.0f} GB/s = {1e3 * seconds:.2f} ms")
    for place_name, count, each in zip(
        ("GPU", "RAM"), kernels(n, placed), (on_gpu(n, placed, machine).kernel_seconds, PROCESSOR.kernel_seconds),
        strict=True,
    ):  # fmt: skip
        if count:
            total += count * each
            lines.append(f"{place_name}: {count} kernels × {1e6 * each:.3g} µs = {1e3 * count * each:.2f} ms")
    exchanges = placed.gpu_layers * exchange_seconds(n, placed, machine, tokens)
    if exchanges:
        total += exchanges
        lines.append(f"GPU: {placed.gpu_layers} layers exchange between the GPUs in {1e3 * exchanges:.2f} ms")
    lines.append(f"decode: {tokens} tokens ÷ {1e3 * total:.2f} ms = {tokens / total:.1f} tokens/s")
    return total, lines


def _share(held: dict[str, int], n: Need, always: int) -> float:
    """Share of the weights for every token, and so of state, that lies in a place."""
    parts = {str(part) for part, _ in n.sizes.by_part if part not in UNUSED and part != "routed_experts"}
    return sum(size for name, size in held.items() if name in parts) / always


def _routed(held: dict[str, int], n: Need) -> float:
    return held.get("routed_experts", 0) / n.routed_bytes if n.routed_bytes else 0.0


def _bandwidths(n: Need, placed: Placement, machine: Hardware) -> dict[str, float]:
    """Bytes a second at which an engine reads from each place."""
    of_one = machine.gpu.bandwidth if machine.gpu is not None else 0.0
    return {
        "GPU": at_once(n, placed, machine) * of_one * on_gpu(n, placed, machine).bandwidth,
        "RAM": machine.ram_bandwidth * (1.0 if machine.ram_reached else PROCESSOR.bandwidth),
        "disk": machine.disk_bandwidth * DISK_BANDWIDTH_SHARE,
    }


def _compute(n: Need, placed: Placement, machine: Hardware, place_name: str, own: bool) -> float:
    """Operations a second of a place on this type; 0: not stated. What lies on disk is computed beside the RAM."""
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
    """Tokens a second of a prompt, computed in chunks that read all they touch once. Launches are within the share of
    operations, as the prompts that it was fitted to had them too.
    """
    chunk = min(PREFILL_CHUNK, max(1, n.context // 2))
    read = read_bytes(n, chunk)
    operations = chunk * flops_per_token(n.candidate.config, n.context // 2)
    always = max(1, n.always_bytes)
    active_weights = max(1, n.always_bytes - n.sizes.of("vision") - _looked_up(n))
    chosen = n.routed_bytes * _touched(n, 1)
    bandwidths = _bandwidths(n, placed, machine)
    total = 0.0
    for place_name, held in (("GPU", placed.gpu), ("RAM", placed.ram), ("disk", placed.disk)):
        weights = 0.0 if place_name == "disk" else _share(held, n, always)
        routed = _routed(held, n)
        size = weights * read["weights"] + routed * read["routed_experts"]
        if size <= 0:
            continue
        bandwidth, compute = bandwidths[place_name], _compute(n, placed, machine, place_name, own)
        if not compute or not bandwidth:
            return None, f"prefill: {place_name}'s {'speed' if bandwidth else 'bandwidth'} is unknown"
        part = (weights * active_weights + routed * chosen) / (active_weights + chosen)
        seconds = max(size / bandwidth, operations * part / compute)
        on_card = _compute(n, placed, machine, "GPU", own)
        if place_name == "RAM" and machine.gpu is not None and machine.gpu.host_bandwidth and on_card:
            copied = weights * read["weights"] + routed * read_bytes(n, min(chunk, COPIED_FOR))["routed_experts"]
            copying = max(1.0, chunk / COPIED_FOR) * copied / machine.gpu.host_bandwidth
            seconds = min(seconds, copying + operations * part / on_card)
        total += seconds
    total += placed.gpu_layers * exchange_seconds(n, placed, machine, chunk)
    return chunk / total, f"prefill: {chunk} tokens ÷ {1e3 * total:.0f} ms = {chunk / total:.0f} tokens/s"
