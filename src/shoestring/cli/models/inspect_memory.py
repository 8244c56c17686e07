"""`shoestring inspect --memory`: what a budget keeps in memory, what streams, and the predicted rate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.errors import CheckpointError
from shoestring.kv_types import KVType
from shoestring.sizes import human

if TYPE_CHECKING:
    from shoestring.runtime.opening import Opened
    from shoestring.runtime.vision.vision import Vision

#: Why a plan is missing, where it is.
_NO_KERNELS = "the compiled extension is missing, which reads experts"


def streaming_facts(
    opened: Opened,
    memory: int | None,
    routes: Path | None = None,
    vision: Vision | None = None,
    kv_type: KVType = "f16",
) -> dict[str, Any]:
    """What --json says about streaming, with keys and values in `kv_type`.

    least_bytes: the least --memory; null with `why_not` for a model that cannot stream. least_bytes_with_pictures: of a
    model that sees. With a budget, its plan too. Raises CapacityError for a budget that is too small.
    """
    from shoestring.runtime.loading import least_memory
    from shoestring.runtime.pictures.tower import vision_bytes

    try:
        least = least_memory(opened, kv_type)
    except (CheckpointError, ImportError) as error:
        why = str(error) if isinstance(error, CheckpointError) else _NO_KERNELS
        return {"least_bytes": None, "why_not": why} | _plan(opened, memory, routes, vision, kv_type)
    why_not = "only experts can stay on disk, and this model is dense" if least is None else None
    facts: dict[str, Any] = {"least_bytes": least, "why_not": why_not}
    if least is not None and vision is not None and vision.tower is not None:
        facts["least_bytes_with_pictures"] = least + vision_bytes(vision.tower)
    return facts | _plan(opened, memory, routes, vision, kv_type)


def _plan(
    opened: Opened, memory: int | None, routes: Path | None, vision: Vision | None, kv_type: KVType
) -> dict[str, Any]:
    """The plan for a budget: nothing streams, or what does; and whether it reads pictures."""
    if memory is None:
        return {}
    from shoestring.runtime.loading import physical_cores, plan, plan_with_vision
    from shoestring.runtime.pictures.tower import vision_bytes
    from shoestring.runtime.streamed.forecast import curve_of, forecast
    from shoestring.runtime.streamed.memory import memory_of

    threads = physical_cores()
    limits: dict[str, Any] = {"kv_type": kv_type, "context": None, "threads": threads, "memory": memory}
    if vision is None:
        planned, pictures = plan(opened, **limits), 0
    else:
        planned, vision = plan_with_vision(opened, vision, needed=False, **limits)
        pictures = vision_bytes(vision.tower)
    needs = memory_of(opened, planned, threads, kv_type, pictures)
    facts: dict[str, Any] = {"memory": memory, "resident": asdict(needs), "context": planned.context}
    if planned.streaming is None:
        return facts | {"slots": None}
    curve = None if routes is None else curve_of(opened, routes)
    found = forecast(opened, planned, threads, curve, kv_type)
    slots, p = planned.streaming.slots, found.prediction
    return facts | {
        "slots": slots.slots,
        "experts": slots.experts,
        "share": slots.share,
        "pass_rows": planned.streaming.pass_rows,
        "hit_rate": p.hit_rate,
        "hit_rate_source": p.source,
        "disk_bytes_per_second": found.disk_rate,
        "disk_source": found.disk_source,
        "tokens_per_second": p.tokens_per_second,
    }


def streaming_lines(facts: dict[str, Any]) -> list[str]:
    """The same for people."""
    if facts["least_bytes"] is not None:
        seeing = facts.get("least_bytes_with_pictures")
        more = "" if seeing is None else f", and from {human(seeing, 'up')} on it reads pictures too"
        lines = [f"  experts stream from disk with --memory from about {human(facts['least_bytes'], 'up')} on{more}"]
    else:
        lines = [f"  all of it must fit: {facts['why_not']}"]
    if "memory" not in facts:
        return lines
    needs, budget = facts["resident"], human(facts["memory"])
    if facts["slots"] is None:
        return [
            *lines,
            f"  with --memory {budget} nothing streams: all of it fits, with a context of {facts['context']:,}",
        ]
    return [
        *lines,
        f"  with --memory {budget}: {human(needs['weights'])} of weights, {human(needs['experts'])} of experts, "
        f"{human(needs['state'] + needs['cache'])} of state, {human(needs['process'])} for the process"
        + (f", {human(needs['vision'])} for pictures" if needs["vision"] else ""),
        f"  {facts['slots']:,} of {facts['experts']:,} experts in memory ({100 * facts['share']:.0f} %), "
        f"context {facts['context']:,}, passes of {facts['pass_rows']:,} rows",
        f"  about {facts['tokens_per_second']:.2g} tokens/s predicted: hit rate {100 * facts['hit_rate']:.0f} % "
        f"({facts['hit_rate_source']}), disk {facts['disk_bytes_per_second'] / 1e9:.1f} GB/s ({facts['disk_source']})",
    ]
