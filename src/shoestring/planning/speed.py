"""Estimate the speeds of a placed model, or take measurements: the roofline of roofline.py, scaled and labelled."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.candidates.formats import TYPES
from shoestring.planning.efficiency import engine_of
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.measured import Measured
from shoestring.planning.memory import Need, Placement, on_machine
from shoestring.planning.roofline import decode_seconds, prefill_rate
from shoestring.planning.streamed.speed import StreamedSpeed, lines, streamed_speed, with_seconds
from shoestring.planning.streamed.split import Recorded, Streamed, hit_curve
from shoestring.planning.work import split_of, work_of

#: tokens per sequence in `shoestring bench`
BENCH_CONTEXT = 512


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
    #: what the speeds of a model whose experts our engine reads from disk come from
    streamed: StreamedSpeed | None = None


@dataclass(frozen=True)
class Scale:
    """Median ratios of this machine's measurements to their estimates."""

    decode: float
    prefill: float
    count: int


def scale_of(measured: Sequence[Measured], machine: Hardware, catalogue: Catalogue) -> Scale | None:
    """The scale from all measurements of catalogue models; None without any. bench uses only the processor."""
    processor = replace(machine, gpu=None, gpus=0)
    decodes, prefills = [], []
    for known in measured:
        row = catalogue.models.get(known.model)
        if row is None or known.type not in TYPES:
            continue
        alone = estimate(*on_machine(from_row(row), known.type, BENCH_CONTEXT, 1, known.kv_type, processor), processor)
        if alone.decode and alone.prefill:
            decodes.append(known.decode / alone.decode)
            if known.prefill is not None:
                prefills.append(known.prefill / alone.prefill)
    if not decodes:
        return None
    return Scale(statistics.median(decodes), statistics.median(prefills) if prefills else 1.0, len(decodes))


def estimate(
    n: Need,
    placed: Placement,
    machine: Hardware,
    measured: Sequence[Measured] = (),
    scale: Scale | None = None,
    engine: str = "",
    route: Recorded | None = None,
) -> Speed:
    """Speeds of a placed model with an engine, by default the one that serves it best.

    The last of `measured` that applies replaces the estimate; `scale` corrects estimates of models in RAM. route: the
    hit rates of a model whose experts our engine reads from disk.
    """
    if placed.fit == "no":
        return Speed(None, None, None, None, "does not run", ())
    if placed.streamed is not None:
        return _streamed(n, placed.streamed, machine, measured, scale, route)
    work, split = work_of(n), split_of(n, placed)
    engine = engine or engine_of(n, placed, machine)
    step, lines = decode_seconds(work, split, machine, engine)
    prefill, prefill_line = prefill_rate(work, split, machine, engine)
    label = "estimated"
    decode = 1 / step if step else None
    for known in measured:
        if known.applies(n, placed):
            decode, label, step = known.decode, "measured here", 1 / known.decode
            prefill, prompts = known.prefill or prefill, f", {known.prefill:g} prefill" if known.prefill else ""
            lines = [f"measured here: {decode:g} tokens/s decode{prompts} ({known.source})"]
    if scale is not None and label == "estimated" and placed.fit == "ram" and decode and prefill and step:
        label = "estimated, scaled by measurements here"
        decode, prefill, step = decode * scale.decode, prefill * scale.prefill, step / scale.decode
        lines.append(f"× {scale.decode:.2f}, from {scale.count} measured here; prefill × {scale.prefill:.2f}")
    throughput = n.users / step if step else None
    first = n.context / 2 / prefill if prefill else None
    return Speed(decode, throughput, prefill, first, label, (*lines, prefill_line))


def _streamed(
    n: Need, split: Streamed, machine: Hardware, measured: Sequence[Measured], scale: Scale | None,
    route: Recorded | None,
) -> Speed:  # fmt: skip
    """Speeds with experts on disk. Measurements correct the part of the time in memory."""
    times = (1 / scale.decode, 1 / scale.prefill) if scale is not None else (1.0, 1.0)
    curve = hit_curve(n.candidate.config, route)
    found = streamed_speed(work_of(n), split, machine, curve, *times)
    notes = [f"in memory × {times[0]:.2f}, from {scale.count} measured here"] if scale is not None else []
    for known in measured:
        if known.in_memory(n):
            found = with_seconds(found, 1 / known.decode)
            notes = [f"in memory: {known.decode:g} tokens/s measured here ({known.source})"]
    decode, prefill = 1 / found.step_seconds, found.prompt_tokens / found.prompt_seconds
    hits = "recorded" if found.recorded else "cited"
    label = f"estimated from disk: hit rate {hits}, disk {found.disk.kind}"
    formula = (*notes, *lines(found, split, n.users))
    return Speed(decode, n.users * decode, prefill, n.context / 2 / prefill, label, formula, found)
