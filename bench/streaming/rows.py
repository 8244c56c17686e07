"""The rows of the table: what each measures, and its bar."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring.errors import CapacityError
from shoestring.models.families import expert_layers
from shoestring.models.weights import stored_bytes
from shoestring.runtime.loading import plan
from shoestring.runtime.opening import open_model
from shoestring.samples.synthetic.routing import token_chain
from streaming.limit import Limit, limit_of
from streaming.ours import CACHE, Job
from streaming.runs import Settings, disk_rate, llama, median, ours
from streaming.shapes import Shape
from streaming.table import Line, at_least, at_most, read_ahead_kb, skipped

#: What a resident process needs beside weights, at most: interpreter, tokenizer, workspace, state.
OVERHEAD = 1 << 30
SHARE = 0.85


@dataclass(frozen=True)
class Sizes:
    """Bytes of a model in its file: all routed experts, everything else, one part of one expert.

    chosen: experts of a token in a layer. count: experts of all layers.
    """

    experts: int
    others: int
    part: int
    chosen: int
    layers: int
    count: int


def sizes(file: Path) -> Sizes:
    opened = open_model(file)
    layers = expert_layers(opened.config)
    experts, parts = 0, []
    for name, source in opened.binding.sources.items():
        if ".experts." in name:
            experts += stored_bytes(source)
            parts.append(stored_bytes(source))
    others = sum(stored_bytes(source) for source in opened.binding.sources.values()) - experts
    return Sizes(
        experts, others, int(statistics.mean(parts)), opened.config.num_experts_per_tok, len(layers),
        sum(layer.num_experts for layer in layers),
    )  # fmt: skip


def budget(settings: Settings, file: Path, share: float, context: int, parallel: int = 1) -> int:
    """The least budget with slots for this share of the experts, to a MiB, as the engine plans it."""
    opened = open_model(file)

    def enough(memory: int) -> bool:
        try:
            planned = plan(
                opened, kv_type="f16", context=context, threads=settings.threads, memory=memory, parallel=parallel,
                cache_memory=0,
            )  # fmt: skip
        except CapacityError:
            return False
        return planned.streaming is None or planned.streaming.slots.share >= share

    low, high = 0, (file.stat().st_size >> 20) + 4096
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle << 20) else (middle, high)
    return high << 20


def decode(
    settings: Settings,
    shape: Shape,
    file: Path,
    memory: int,
    limit: int,
    *,
    case: str,
    bars: tuple[float, float] | None,
    timed: int = 64,
    llama_timed: int = 16,
    whole: int | None = None,
    loads_within: float | None = None,
) -> Iterator[Line]:
    """One sequence: share of the limit, and the ratio to llama.cpp; bars: with and without a read-ahead of 8 MB.

    whole: layers of the whole model, for an estimate of its rate. loads_within: seconds.
    """
    size = sizes(file)
    settle = max(8, timed // 2)
    chain = token_chain(shape.routing, shape.config.vocab_size, 8 + settle + timed + 1).tolist()
    job = Job(str(file), memory, settings.threads, 512, [chain[:8]], [chain[8:]], settle=settle, in_memory=True)
    few = replace(job, answers=[chain[8 : 8 + 8 + llama_timed + 1]], settle=8)
    limits: list[Limit] = []
    theirs: list[float] = []
    loads: list[float] = []
    flight = size.chosen
    for number in range(settings.rounds):
        for engine in ("ours", "llama")[:: 1 if number % 2 == 0 else -1]:
            if engine == "llama" and settings.llama and bars is not None:
                theirs.append(1 / statistics.mean(llama(settings, few, limit)["step_seconds"]))
            elif engine == "ours":
                before = disk_rate(file, size.part, flight)
                facts = ours(settings, job, limit)
                flight = in_flight(facts, size)
                after = disk_rate(file, size.part, flight)
                limits.append(limit_of(facts, (before + after) / 2))
                loads.append(facts["load_seconds"])
    rate = median([1 / one.measured for one in limits])
    middle = sorted(limits, key=lambda one: one.share)[len(limits) // 2]
    yield Line(case, "memory", memory_text(memory, facts, size))
    if loads_within is not None:
        yield at_most(case, "load", max(loads), loads_within, "{:.1f} s")
    yield Line(case, "decode", f"{rate:.2f} tokens/s")
    yield Line(case, "of the median round", str(middle))
    yield at_least(case, "share of the limit", 100 * median([one.share for one in limits]), 100 * SHARE, "{:.0f} %")
    if whole is not None:
        yield Line(case, f"all {whole} layers", estimate(middle, facts["head"], shape.config.num_hidden_layers, whole))
    if theirs:
        their = median(theirs)
        yield Line(case, "llama.cpp decodes", f"{their:.2f} tokens/s")
        ahead = read_ahead_kb(file.parent) or 0
        assert bars is not None
        yield at_least(case, "ratio to llama.cpp", rate / their, bars[0] if ahead >= 8192 else bars[1], "{:.1f} ×")
    elif bars is not None:
        yield skipped(case, "llama.cpp: give --llama PYTHON")


def in_flight(facts: dict[str, Any], size: Sizes) -> int:
    """Experts that a layer misses in a step of this run."""
    missed = statistics.mean(facts["step_read_bytes"]) / (3 * size.part * size.layers)
    return max(1, round(missed))


def memory_text(memory: int, facts: dict[str, Any], size: Sizes) -> str:
    slots = f", {facts['slots']} slots" if facts.get("slots") else ""
    share = f", {facts['slots'] / size.count:.0%} of all experts" if slots else ""
    parts = f"resident parts {size.others / 1e9:.2f} GB and experts {size.experts / 1e9:.2f} GB of the file"
    return f"{memory / 1e9:.2f} GB; {parts}{slots}{share}"


def prefill(
    settings: Settings, shape: Shape, file: Path, memory: int, limit: int, tokens: int, case: str
) -> Iterator[Line]:
    """A prompt: share of max(resident time, bytes read / R), reads of an expert, the ratio to llama.cpp."""
    size = sizes(file)
    chain = token_chain(shape.routing, shape.config.vocab_size, tokens + 1).tolist()
    job = Job(str(file), memory, settings.threads, tokens + 16, [chain[:tokens]], [chain[tokens:]])
    resident: list[float] = []
    if size.experts + size.others + OVERHEAD < free_bytes():
        resident = [
            ours(settings, replace(job, memory=None), None)["prefill_seconds"][0]
            for _ in range(min(2, settings.rounds))
        ]
    else:
        yield skipped(case, "resident time: the file does not fit in memory; the bound is bytes read / R alone")
    base = min(resident, default=0.0)
    shares, seconds, theirs, rates, reads = [], [], [], [], 0
    for number in range(settings.rounds):
        for engine in ("ours", "llama")[:: 1 if number % 2 == 0 else -1]:
            if engine == "llama" and settings.llama and tokens <= 1024:
                theirs.append(llama(settings, job, limit)["prefill_seconds"])
            elif engine == "ours":
                before = disk_rate(file, size.part, 8)
                facts = ours(settings, job, limit)
                rate = (before + disk_rate(file, size.part, 8)) / 2
                rates.append(rate)
                seconds.append(facts["prefill_seconds"][0])
                shares.append(max(base, facts["prefill_read_bytes"][0] / rate) / seconds[-1])
                reads = max(reads, *facts["prefill_reads_of_an_expert"])
    read = facts["prefill_read_bytes"][0]
    yield Line(case, "prefill", f"{median(seconds):.2f} s, {tokens / median(seconds):.1f} tokens/s; "
               f"resident {base:.2f} s; {read / 1e9:.2f} GB read at R {median(rates) / 1e9:.2f} GB/s")  # fmt: skip
    if resident:
        yield at_least(case, "share of max(resident, read / R)", 100 * median(shares), 100 * SHARE, "{:.0f} %")
    else:
        yield Line(case, "share of read / R", f"{100 * median(shares):.0f} %")
    yield at_most(case, "reads of an expert", reads, 1, "{:.0f}")
    if theirs:
        ratio = median(theirs) / median(seconds)
        yield Line(case, "llama.cpp's prefill", f"{median(theirs):.2f} s")
        if tokens == 512 and median(rates) >= 2e9:
            yield at_least(case, "ratio to llama.cpp", ratio, 1.5, "{:.2f} ×")
        else:
            yield Line(case, "ratio to llama.cpp", f"{ratio:.2f} ×")


def eight(settings: Settings, shape: Shape, file: Path, case: str, timed: int = 32) -> Iterator[Line]:
    """Eight sequences at once, with a quarter of the experts in memory."""
    size = sizes(file)
    memory = budget(settings, file, 0.25, 256, 8)
    limit = memory * 3 // 2
    settle = max(4, timed // 4)
    chains = [
        token_chain(shape.routing, shape.config.vocab_size, 4 + settle + timed + 1, seed=seed).tolist()
        for seed in range(8)
    ]
    job = Job(
        str(file), memory, settings.threads, 256, [chain[:4] for chain in chains], [chain[4:] for chain in chains],
        settle=settle,
    )  # fmt: skip
    # Eight tokens may need more experts than a quarter: their D and E come from a run with more memory.
    wide = budget(settings, file, 0.75, 256, 8)
    fast = replace(job, memory=wide, in_memory=True, settle=0, answers=[answer[-2:] for answer in job.answers])
    in_memory = ours(settings, fast, wide * 3 // 2)
    alone = replace(job, prompts=job.prompts[:1], answers=job.answers[:1])
    shares, ratios, twice = [], [], 0
    for _ in range(settings.rounds):
        before = disk_rate(file, size.part, 4 * size.chosen)
        facts = in_memory | ours(settings, job, limit)
        one = limit_of(facts, (before + disk_rate(file, size.part, in_flight(facts, size))) / 2)
        twice = max(twice, *facts["step_reads_of_an_expert"])
        single = statistics.mean(ours(settings, alone, limit)["step_seconds"])
        shares.append(one.share)
        ratios.append(8 * single / one.measured)
    yield Line(case, "memory", memory_text(memory, facts, size))
    yield Line(case, "of the last round", str(one))
    yield Line(case, "decode", f"{8 / one.measured:.2f} tokens/s, one sequence {1 / single:.2f}")
    yield at_least(case, "share of the limit", 100 * median(shares), 100 * SHARE, "{:.0f} %")
    yield at_least(case, "ratio to one sequence", median(ratios), 1.1, "{:.2f} ×")
    yield at_most(case, "reads of an expert in a step", twice, 1, "{:.0f}")
    short = replace(job, hashes=True, settle=0, answers=[answer[:12] for answer in job.answers])
    together, apart = (ours(settings, replace(short, at_once=once), limit)["hashes"] for once in (True, False))
    yield Line(
        case, "answers equal those alone", f"{sum(map(str.__eq__, together, apart))} of 8", "8 of 8", together == apart
    )


def answer(settings: Settings, shape: Shape, file: Path, tokens: int, case: str, *, small: bool) -> Iterator[Line]:
    """A sampled answer: streamed `==` resident, tokens and log-probabilities."""
    prompt = token_chain(shape.routing, shape.config.vocab_size, 16).tolist()
    job = Job(str(file), None, settings.threads, tokens + 32, [prompt], answer=tokens)
    expected = ours(settings, job, None)["answers"][0]
    shares, threads = ((0.15, 0.3, 0.5), (1, 3)) if small else ((0.2,), (settings.threads,))
    runs = [
        # the second run is warm, and its prompt is in the prefix cache
        replace(job, memory=budget(settings, file, share, job.context) + CACHE, threads=count, runs=2 if small else 1)
        for share in shares for count in threads
    ]  # fmt: skip
    found = [one for run in runs for one in ours(settings, run, run.memory and run.memory * 3 // 2)["answers"]]
    equal = sum(one == expected for one in found)
    what = f"{tokens} tokens, {len(shares)} budgets, threads {' and '.join(map(str, threads))}"
    yield Line(case, f"streamed == resident: {what}", f"{equal} of {len(found)}", "all", equal == len(found))


def batches(settings: Settings, file: Path, case: str) -> Iterator[Line]:
    """Changing batches for a while, within the budget."""
    memory = budget(settings, file, 0.25, 1024, 8) + CACHE
    job = Job(str(file), memory, settings.threads, 1024, batches=settings.batches)
    before = len(settings.peaks)
    facts = ours(settings, job, memory * 3 // 2)
    if len(settings.peaks) == before:
        yield skipped(case, "peak: no control groups")
        return
    yield Line(case, "changing batches", f"{settings.batches:.0f} s, {facts['tokens']} tokens")
    yield at_most(case, "peak of the group ÷ M", settings.peaks[-1], 1.03, "{:.3f}")


def resident(settings: Settings, shape: Shape, file: Path, case: str, rounds: int = 5) -> Iterator[Line]:
    """A model that fits: as fast as the version before, and the same bits."""
    if settings.before is None:
        yield skipped(case, "give --before SRC, the source tree of another version with its extension")
        return
    chain = token_chain(shape.routing, shape.config.vocab_size, 512 + 65).tolist()
    job = Job(str(file), None, settings.threads, 1024, [chain[:512]], [chain[512:]], settle=8, hashes=True)
    times: dict[str, list[list[float]]] = {"now": [[], []], "before": [[], []]}
    hashes = set()
    for number in range(rounds):
        order = (("now", None), ("before", settings.before))
        for name, source in order if number % 2 == 0 else reversed(order):
            facts = ours(settings, job, None, source)
            times[name][0].append(facts["prefill_seconds"][0])
            times[name][1].append(statistics.mean(facts["step_seconds"]))
            hashes.add(tuple(facts["hashes"]))
    for i, phase in enumerate(("prefill 512", "decode")):
        ratio = median(times["now"][i]) / median(times["before"][i])
        yield at_most(case, f"{phase}: time ÷ time before", ratio, 1.03, "{:.3f}")
    yield Line(case, "bits", f"{len(hashes)} different", "1", len(hashes) == 1)


def estimate(limit: Limit, head: float, layers: int, whole: int) -> str:
    """Tokens/s of a whole model from some of its layers; the head runs once. head: its seconds, a part of D."""
    times = whole / layers
    rest = replace(limit.costs, rest_seconds=limit.costs.rest_seconds - head)
    seconds = head + times * rest.limit_seconds
    formula = f"head {1e3 * head:.0f} ms + {whole}/{layers} × (D - head + max(E, M/R))"
    return f"{1 / seconds:.2f} tokens/s, an estimate: {formula} = {1e3 * seconds:.0f} ms"


def free_bytes() -> int:
    from shoestring.runtime.memory import free_memory

    return free_memory()
