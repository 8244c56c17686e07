"""How fast it would be: a roofline of real bytes and operations, one tier after the other. Estimates, labelled so.

A decode step of N users reads, in each place, the weights that at least one of them needs (routed experts by the
expected number of different ones), their keys, values and state, and computes 2 operations a weight and token. A place
takes the longer of its two times; places take turns. GPUs add a constant for each layer. The constants below are set
from first sources, never fitted to published speeds; docs/plan.md holds the results against those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.models.families import expert_layers
from shoestring.models.sizes import flops_per_token
from shoestring.models.state import AttentionState
from shoestring.planning.hardware import Hardware
from shoestring.planning.measured import Measured
from shoestring.planning.memory import UNUSED, Need, Placement

#: share of the stated bandwidth that reading weights reaches (aiconfigurator-core's mem_bw_empirical_scaling_factor)
GPU_BANDWIDTH_SHARE = 0.8
RAM_BANDWIDTH_SHARE = 0.8
DISK_BANDWIDTH_SHARE = 0.8
#: share of the stated operations that matrix products of a prompt reach
GPU_COMPUTE_SHARE = 0.5
CPU_COMPUTE_SHARE = 0.5
#: seconds: a kernel on a GPU and an exchange between GPUs (aiconfigurator-core: 3 µs and 10 µs), both a layer
KERNEL_SECONDS, KERNELS_A_LAYER = 3e-6, 12
EXCHANGE_SECONDS, EXCHANGES_A_LAYER = 10e-6, 2
#: a prompt is computed this many tokens at a time
PREFILL_CHUNK = 2048


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


def estimate(n: Need, placed: Placement, machine: Hardware, measured: Sequence[Measured] = ()) -> Speed:
    """Speeds of a model as placed; the last of `measured` that applies goes before the estimate."""
    if placed.fit == "no":
        return Speed(None, None, None, None, "does not run", ())
    step, lines = _decode_seconds(n, placed, machine, n.users)
    prefill, prefill_line = _prefill_rate(n, placed, machine)
    label = "estimated"
    decode = 1 / step if step else None
    for known in measured:
        if known.applies(n, placed):
            decode, prefill, label, step = known.decode, known.prefill, "measured here", 1 / known.decode
            lines = [f"measured here: {decode:g} tokens/s decode, {prefill:g} prefill ({known.source})"]
    throughput = n.users / step if step else None
    first = n.context / 2 / prefill if prefill else None
    return Speed(decode, throughput, prefill, first, label, (*lines, prefill_line))


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
        for s in n.layout
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


def _decode_seconds(n: Need, placed: Placement, machine: Hardware, tokens: int) -> tuple[float | None, list[str]]:
    read = read_bytes(n, tokens)
    always = max(1, n.always_bytes)
    shares = {
        "GPU": (_share(placed.gpu, n, always), _routed(placed.gpu, n), machine.gpu_bandwidth * GPU_BANDWIDTH_SHARE),
        "RAM": (_share(placed.ram, n, always), _routed(placed.ram, n), machine.ram_bandwidth * RAM_BANDWIDTH_SHARE),
        "disk": (0.0, _routed(placed.disk, n), machine.disk_bandwidth * DISK_BANDWIDTH_SHARE),
    }
    operations = tokens * flops_per_token(n.candidate.config, n.context)
    active = max(1.0, read["weights"] + read["routed_experts"])
    total, lines = 0.0, []
    for place_name, (weights, routed, bandwidth) in shares.items():
        size = weights * (read["weights"] + read["state"]) + routed * read["routed_experts"]
        if size <= 0:
            continue
        if not bandwidth:
            return None, [f"{place_name}: its bandwidth is not known, so there is no estimate"]
        seconds = size / bandwidth
        compute = _compute(n, machine, place_name)
        of_operations = operations * (weights * read["weights"] + routed * read["routed_experts"]) / active
        if compute and place_name != "disk":
            seconds = max(seconds, of_operations / compute)
        total += seconds
        lines.append(f"{place_name}: {size / 1e9:.2f} GB ÷ {bandwidth / 1e9:.0f} GB/s = {1e3 * seconds:.2f} ms")
    if placed.gpu_layers and machine.gpu is not None:
        each = KERNELS_A_LAYER * KERNEL_SECONDS + (EXCHANGES_A_LAYER * EXCHANGE_SECONDS if machine.gpus > 1 else 0.0)
        constant = placed.gpu_layers * each
        total += constant
        lines.append(f"GPU: {placed.gpu_layers} layers × {1e6 * each:.0f} µs = {1e3 * constant:.2f} ms")
    lines.append(f"decode: {tokens} tokens ÷ {1e3 * total:.2f} ms = {tokens / total:.1f} tokens/s")
    return total, lines


def _share(held: dict[str, int], n: Need, always: int) -> float:
    """Share of the weights for every token, and so of state, that lies in a place."""
    parts = {str(part) for part, _ in n.sizes.by_part if part not in UNUSED and part != "routed_experts"}
    return sum(size for name, size in held.items() if name in parts) / always


def _routed(held: dict[str, int], n: Need) -> float:
    return held.get("routed_experts", 0) / n.routed_bytes if n.routed_bytes else 0.0


def _compute(n: Need, machine: Hardware, place_name: str) -> float:
    """Operations a second of a place on this type; 0: not stated."""
    if place_name == "RAM":
        return machine.cpu_flops * CPU_COMPUTE_SHARE
    if machine.gpu is None:
        return 0.0
    gpu, type_ = machine.gpu, n.sizes.type
    flops = gpu.flops_16
    if type_ == "FP8" and gpu.flops_8:
        flops = gpu.flops_8
    if type_ == "NVFP4" and gpu.flops_4:
        flops = gpu.flops_4
    return machine.gpus * flops * GPU_COMPUTE_SHARE


def _prefill_rate(n: Need, placed: Placement, machine: Hardware) -> tuple[float | None, str]:
    """Tokens a second of a prompt, computed in chunks that read all they touch once."""
    chunk = min(PREFILL_CHUNK, max(1, n.context // 2))
    read = read_bytes(n, chunk)
    operations = chunk * flops_per_token(n.candidate.config, n.context // 2)
    always = max(1, n.always_bytes)
    active_weights = max(1, n.always_bytes - n.sizes.of("vision") - _looked_up(n))
    chosen = n.routed_bytes * _touched(n, 1)
    total = 0.0
    for place_name, held, bandwidth in (
        ("GPU", placed.gpu, machine.gpu_bandwidth * GPU_BANDWIDTH_SHARE),
        ("RAM", placed.ram, machine.ram_bandwidth * RAM_BANDWIDTH_SHARE),
        ("disk", placed.disk, machine.disk_bandwidth * DISK_BANDWIDTH_SHARE),
    ):
        weights = 0.0 if place_name == "disk" else _share(held, n, always)
        routed = _routed(held, n)
        size = weights * read["weights"] + routed * read["routed_experts"]
        if size <= 0:
            continue
        compute = _compute(n, machine, "RAM" if place_name == "disk" else place_name)
        if machine.gpu is not None and machine.gpu.unified:
            compute = machine.gpu.flops_16 * GPU_COMPUTE_SHARE
        if not compute or not bandwidth:
            return None, f"prefill: {place_name}'s {'operations' if bandwidth else 'bandwidth'} are not stated"
        part = (weights * active_weights + routed * chosen) / (active_weights + chosen)
        total += max(size / bandwidth, operations * part / compute)
    if placed.gpu_layers and machine.gpu is not None:
        total += placed.gpu_layers * KERNELS_A_LAYER * KERNEL_SECONDS
    return chunk / total, f"prefill: {chunk} tokens ÷ {1e3 * total:.0f} ms = {chunk / total:.0f} tokens/s"
