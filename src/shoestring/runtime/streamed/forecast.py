"""The rate of a model that streams, predicted before anything is loaded.

D and E come from the bytes and operations of a token and from this machine's memory bandwidth, by the sums that plan
uses for models in memory; where `shoestring bench` has measured the file in memory, their sum is what it found. R comes
from `shoestring bench --disk`, else from a short probe of the model's own file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shoestring.admission import Plan
from shoestring.checkpoint.config.experts import own_experts_per_token, with_experts_per_token
from shoestring.errors import RequestError
from shoestring.kv_types import KVType
from shoestring.models.layout import Demand
from shoestring.models.sizes import flops_per_token
from shoestring.models.state import AttentionState
from shoestring.models.weights import loaded_bytes, loaded_type
from shoestring.ops import packed_bytes
from shoestring.planning.hardware import kept
from shoestring.planning.hardware.detect import processor, this_key
from shoestring.planning.hardware.disk import mount_point, read_speed
from shoestring.planning.hardware.machine import FLOPS_PER_CYCLE, Hardware
from shoestring.planning.measured import kept_seconds
from shoestring.planning.streamed.speed import memory_seconds
from shoestring.planning.streamed.split import hit_curve, recorded
from shoestring.planning.work import Work
from shoestring.runtime.opening import Opened
from shoestring.streaming.predict import HitCurve, Prediction, predict
from shoestring.streaming.routes import read_routes
from shoestring.streaming.store import READ_THREADS

#: Seconds that the probe of a disk takes.
PROBE_SECONDS = 0.25
#: Tokens before the one whose time is predicted.
CONTEXT = 512

DiskSource = Literal["measured by bench --disk", "probed now"]


@dataclass(frozen=True)
class Forecast:
    """A prediction, the curve that its hit rate is from, and where the disk's rate comes from."""

    prediction: Prediction
    curve: HitCurve
    disk_rate: float
    disk_source: DiskSource


def forecast(
    opened: Opened, planned: Plan, threads: int, curve: HitCurve | None = None, kv_type: KVType = "f16"
) -> Forecast:
    """Predict the rate of one answer of a model whose plan streams.

    curve: default: the published one of its shape. Raises CheckpointError if its file cannot be read.
    """
    assert planned.streaming is not None
    slots, experts_per_token = planned.streaming.slots, opened.config.num_experts_per_tok
    layers = [layer.nbytes for layer in opened.expert_sources]
    curve = curve or default_curve(opened)
    rate, source = disk_rate(opened)
    bandwidth = memory_bandwidth(slots.arena_bytes)
    rest, experts = token_seconds(opened, threads, bandwidth, kv_type)
    measured = kept_seconds(opened.checkpoint.path, threads, kv_type)
    if measured is not None:  # with the model's own number of experts a token
        own = with_experts_per_token(opened.config, own_experts_per_token(opened.config))
        ratio = measured / sum(token_seconds(replace(opened, config=own), threads, bandwidth, kv_type))
        rest, experts = ratio * rest, ratio * experts
    prediction = predict(
        layers, experts_per_token, slots, curve, rest_seconds=rest, expert_seconds=experts, disk_rate=rate
    )
    return Forecast(prediction, curve, rate, source)


def default_curve(opened: Opened) -> HitCurve:
    """The hit rates of models of this shape."""
    return hit_curve(opened.config, None)


def curve_of(opened: Opened, path: Path) -> HitCurve:
    """The hit rates of routes that were recorded of this model. Raises RequestError for those of another one."""
    routes = read_routes(path)
    route = recorded(routes, path)
    if not route.applies(opened.config):
        raise RequestError(f"{path} has routes of {routes.model}, a model of another shape: record those of this model")
    return route.curve


def disk_rate(opened: Opened) -> tuple[float, DiskSource]:
    """Bytes a second of random reads of the disk that the experts are on, and where the figure comes from."""
    source = opened.expert_sources[0]
    path = source.experts[0][0].tensor.file
    here = [disk for disk in kept.kept_disks(this_key()) if disk.mount_point == mount_point(path)]
    if here:
        return here[0].bytes_per_second, "measured by bench --disk"
    size = max(1, source.nbytes.stored_bytes // 3)
    in_flight = max(READ_THREADS, opened.config.num_experts_per_tok)
    return read_speed(path, size, in_flight, PROBE_SECONDS).bytes_per_second, "probed now"


def memory_bandwidth(free_bytes: int) -> float:
    """Bytes a second of this machine's memory: as plan knows it, else measured now, with at most `free_bytes`."""
    threads, _, _ = processor()
    known = kept.known_bandwidth(this_key())
    if known is not None:
        return known[0]
    if free_bytes >= 2 * kept.COPY_BYTES:
        return kept.bandwidth(this_key(), threads)[0]
    return kept.measure(threads, max(1 << 20, free_bytes // 2))


def token_seconds(opened: Opened, threads: int, bandwidth: float, kv_type: KVType = "f16") -> tuple[float, float]:
    """D and E: seconds of a token in memory, of everything but the experts, and of routed and shared experts."""
    config, layout = opened.config, opened.layout
    parts = loaded_bytes(config, opened.binding)
    routed, shared = parts["routed_experts"], parts["shared_experts"]
    always = parts.total() - routed
    if not config.tie_word_embeddings:  # an embedding that is no head is looked up
        embedding = opened.binding.sources["embedding"]
        always -= packed_bytes(loaded_type(embedding), embedding.rows, embedding.columns)
    attended = sum(
        min(CONTEXT, layer.chunk_size or CONTEXT) * layer.bytes_per_token(kv_type)
        for layer in layout.layers
        if isinstance(layer, AttentionState)
    )
    work = Work(
        type="",
        users=1,
        context=CONTEXT,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        experts=max(layer.num_experts for layer in opened.expert_layers),
        chosen=config.num_experts_per_tok,
        always_bytes=always,
        routed_bytes=routed,
        sequence_bytes=attended + 2 * layout.nbytes(Demand(slots=1), kv_type),
        decode_flops=flops_per_token(config, CONTEXT),
        prompt_flops=0,
        shared_bytes=shared,
    )
    _, clock, _ = processor()
    machine = Hardware(
        "this machine", ram_bandwidth=bandwidth, cores=threads, cpu_flops=threads * clock * FLOPS_PER_CYCLE
    )
    return memory_seconds(work, len(opened.expert_layers), machine)
