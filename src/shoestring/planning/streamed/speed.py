"""Speeds of a model whose experts our engine reads from disk, from the formula of streaming/limit.py.

    time of a step = (D + Σ over the layers of the mean of max(E, M / R) of that layer) / REACHED

D and E are the step in memory, by the shares of limits that our engine reaches (efficiency.py): E of routed and shared
experts, D of everything else. M: bytes of the experts that are not in memory. Prompts go through a layer in passes of
many rows, so that a pass reads each expert at most once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shoestring.planning.efficiency import DENSE_KERNELS, EXPERT_KERNELS, OWN, compute_share, on_processor
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.streamed.disk import DiskRate, disk_rate
from shoestring.planning.streamed.split import Streamed
from shoestring.planning.work import Work
from shoestring.streaming.limit import Costs, expected_seconds
from shoestring.streaming.predict import HitCurve, missed_bytes


@dataclass(frozen=True)
class StreamedSpeed:
    """Seconds of a step with one token per user, and of a prompt; what they come from."""

    costs: Costs
    prompt_tokens: int
    prompt_seconds: float
    hit_rate: float
    #: where the hit rate comes from, and whether it was recorded of this model
    source: str
    recorded: bool
    disk: DiskRate
    #: with experts
    layers: int
    #: experts of a layer that the users' tokens choose, on average
    chosen: float

    @property
    def step_seconds(self) -> float:
        return expected_seconds(self.costs, self.layers, round(self.chosen), self.hit_rate)


def streamed_speed(
    w: Work, split: Streamed, machine: Hardware, curve: HitCurve, times: float = 1.0, prompt_times: float = 1.0
) -> StreamedSpeed:
    """times, prompt_times: measured ÷ estimated seconds in memory, of an answer and of a prompt."""
    hit_rate, disk = curve.hit_rate(split.share), disk_rate(machine)
    rest, experts = memory_seconds(w, len(split.layers), machine)
    distinct = w.touched(w.users) / w.routed_bytes * w.experts
    missed = missed_bytes(split.layers, 1, hit_rate) * distinct
    costs = Costs(times * rest, times * experts, missed, disk.bytes_per_second)
    tokens, most = max(1, w.context // 2), split.streaming.pass_rows
    passes = [most] * (tokens // most) + ([tokens % most] if tokens % most else [])

    def pass_seconds(rows: int) -> float:
        read = (1 - split.share) * split.stored_bytes * w.touched(rows) / w.routed_bytes
        return max(prompt_times * _prompt_seconds(w, machine, rows), read / disk.bytes_per_second)

    seconds = sum(map(pass_seconds, passes))
    return StreamedSpeed(
        costs, tokens, seconds, hit_rate, curve.source, curve.recorded, disk, len(split.layers), distinct
    )


def memory_seconds(w: Work, expert_layers: int, machine: Hardware) -> tuple[float, float]:
    """D and E: seconds in memory of a step with one token per user."""
    host = on_processor(OWN)
    chosen = w.touched(w.users)
    active = max(1.0, w.always_bytes + w.touched(1))
    compute = machine.cpu_flops * host.dense_compute
    kernel = host.kernel_seconds + machine.cores * host.core_seconds
    moved = expert_layers * (EXPERT_KERNELS - DENSE_KERNELS)

    def seconds(read: float, bandwidth: float, weights: float, kernels: int) -> float:
        operations = w.users * w.decode_flops * weights / active
        return max(read / (machine.ram_bandwidth * bandwidth), operations / compute if compute else 0.0) + (
            kernels * kernel
        )

    rest = w.always_bytes - w.shared_bytes
    D = seconds(rest + w.users * w.sequence_bytes, host.bandwidth, rest, w.layers * DENSE_KERNELS)
    E = seconds(w.shared_bytes + chosen, host.expert_bandwidth, w.shared_bytes + w.touched(1), moved)
    return D, E


def _prompt_seconds(w: Work, machine: Hardware, rows: int) -> float:
    """Seconds in memory of a pass of so many rows."""
    host = on_processor(OWN)
    read = w.always_bytes / host.bandwidth + w.touched(rows) / host.expert_bandwidth
    compute = machine.cpu_flops * compute_share(w, host)
    return max(read / machine.ram_bandwidth, rows * w.prompt_flops / compute if compute else 0.0)


def lines(s: StreamedSpeed, split: Streamed, users: int) -> list[str]:
    """How the speeds are computed, one line per part."""
    c = s.costs
    each = sum(layer.stored_bytes for layer in split.layers) / s.layers
    rate = users / s.step_seconds
    return [
        f"D: {1e3 * c.rest_seconds:.1f} ms in memory of everything but experts; E: {1e3 * c.expert_seconds:.1f} ms of "
        "experts",
        f"hit rate: {s.hit_rate:.0%} with {split.share:.1%} of the experts in memory ({s.source}"
        f"{'' if s.recorded else ', cited'})",
        f"M: {c.missed_bytes / 1e9:.3f} GB missed a step: {1 - s.hit_rate:.0%} of {split.experts_per_token} experts of "
        f"{each / 1e6:.2f} MB in {s.layers} layers, for {users} token{'s' if users > 1 else ''}",
        f"R: {s.disk.bytes_per_second / 1e9:.2f} GB/s ({s.disk.basis})",
        f"decode: {users} tokens ÷ {1e3 * s.step_seconds:.1f} ms = {tokens_per_second(rate)}; "
        f"limit D + max(E, M ÷ R): {1e3 * c.limit_seconds:.1f} ms",
        f"prefill: {s.prompt_tokens} tokens ÷ {s.prompt_seconds:.1f} s = {s.prompt_tokens / s.prompt_seconds:.1f} "
        f"tokens/s, in passes of {split.streaming.pass_rows} rows that read each expert at most once",
    ]


def with_seconds(s: StreamedSpeed, seconds: float) -> StreamedSpeed:
    """The same with a measured time of a token in memory, split as estimated."""
    times = seconds / (s.costs.rest_seconds + s.costs.expert_seconds)
    costs = replace(s.costs, rest_seconds=times * s.costs.rest_seconds, expert_seconds=times * s.costs.expert_seconds)
    return replace(s, costs=costs)


def tokens_per_second(rate: float) -> str:
    """A rate with its unit; slow ones with two digits."""
    return f"{rate:,.1f} tokens/s" if rate >= 1 else f"{rate:.2g} tokens/s"
