"""The article's prices, and what it says about running the models oneself."""

from __future__ import annotations

from shoestring.catalogue.schema import Catalogue, Price
from shoestring.planning.advice.scores import pairing
from shoestring.planning.article.result import NAMES, QWEN, SCOUT, Outcome, Result, model
from shoestring.planning.assess import Question, assess
from shoestring.planning.cost import host
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import need, place

#: a model of the same family that is smaller than Scout
SMALL = "qwen3.5-35b-a3b"
LARGE_CLOUDS = ("bedrock", "azure-ai", "vertex-ai", "oci")


def _listed(catalogue: Catalogue, name: str) -> list[Price]:
    """Prices of providers that neither resell nor wind down."""
    known = (p for p in catalogue.prices_of(name) if p.source != "article")
    return [p for p in known if (h := host(p.provider, catalogue)) is None or not h.status]


def price(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "model input output"."""
    name, low_in, low_out = argument.split()
    listed = _listed(catalogue, NAMES[name])
    low = min(listed, key=lambda p: p.input_usd + p.output_usd)
    high = max(listed, key=lambda p: p.input_usd + p.output_usd)
    text = (
        f"{len(listed)} price lists range from ${low.input_usd:g} in and ${low.output_usd:g} out ({low.provider}) "
        f"to ${high.input_usd:g} and ${high.output_usd:g} ({high.provider})."
    )
    met = any(p.input_usd <= float(low_in) and p.output_usd <= float(low_out) for p in listed)
    return Result("holds" if met else "differs", text, tuple(dict.fromkeys((low.id, high.id))))


def cheaper_output(catalogue: Catalogue, _: str) -> Result:
    plus = catalogue.prices["qwen3.5-397b-a17b-alibaba-plus"]
    scout = min(_listed(catalogue, SCOUT), key=lambda p: p.output_usd)
    qwen = min(_listed(catalogue, QWEN), key=lambda p: p.output_usd)
    text = (
        f"It is the other way round: Alibaba's own list asks ${plus.input_usd:g} in and ${plus.output_usd:g} out for "
        f"Qwen3.5-Plus, the cheapest host of Qwen 3.5 ${qwen.output_usd:g} out ({qwen.provider}), and the cheapest of "
        f"Scout ${scout.output_usd:g} ({scout.provider}): Scout's output is {qwen.output_usd / scout.output_usd:.1f} "
        f"times cheaper."
    )
    return Result("differs", text, tuple(dict.fromkeys((plus.id, qwen.id, scout.id))))


def easier(catalogue: Catalogue, _: str) -> Result:
    scout, qwen = (need(model(catalogue, name), "GPTQ", 8192, 1).total_bytes / 1e9 for name in (SCOUT, QWEN))
    text = f"At 4 bits and 8,192 tokens Scout needs {scout:.0f} GB, Qwen 3.5 {qwen:.0f} GB."
    return Result("holds" if scout < qwen else "differs", text, (SCOUT, QWEN))


def options(catalogue: Catalogue, _: str) -> Result:
    hosts = {name: len(_listed(catalogue, name)) for name in (SCOUT, QWEN)}
    engines = {
        name: [e.name for e in catalogue.engines.values() if catalogue.models[name].family in e.families]
        for name in (SCOUT, QWEN)
    }
    text = (
        f"{hosts[SCOUT]} hosts list Scout, {hosts[QWEN]} Qwen 3.5; {len(engines[SCOUT])} and {len(engines[QWEN])} "
        f"engines run them."
    )
    more = hosts[SCOUT] > hosts[QWEN] or len(engines[SCOUT]) > len(engines[QWEN])
    return Result("holds" if more else "out of date", text, (SCOUT, QWEN, *catalogue.engines))


def limited_hardware(catalogue: Catalogue, _: str) -> Result:
    """Whether a smaller Qwen does better on less."""
    names = catalogue.uses["budget"].benchmarks
    pair = pairing(SMALL, SCOUT, names, catalogue)
    assert pair is not None
    small, scout = (need(model(catalogue, name), "Q4_K_M", 8192, 1).total_bytes / 1e9 for name in (SMALL, SCOUT))
    text = (
        f"{catalogue.models[SMALL].name} leads Scout by {pair.lead:.1f} on average over {len(pair.pairs)} shared "
        f"benchmarks and needs {small:.0f} GB instead of {scout:.0f} GB in Q4_K_M."
    )
    outcome: Outcome = "out of date" if pair.lead > 0 and small < scout else "holds"
    return Result(outcome, text, (SMALL, SCOUT, *pair.rows))


def fits(catalogue: Catalogue, _: str) -> Result:
    machine = parse_hardware("8xh100", catalogue)
    qwen = model(catalogue, QWEN)
    sizes = {t: need(qwen, t, 8192, 1) for t in ("FP8", "BF16")}
    fit = {t: place(n, machine).fit == "gpu" for t, n in sizes.items()}
    each = "; ".join(
        f"{t} needs {n.total_bytes / 1e9:.0f} GB and {'fits' if fit[t] else 'does not fit'}" for t, n in sizes.items()
    )
    memory = machine.gpus * (machine.gpu.memory_bytes if machine.gpu else 0) / 2**30
    outcome: Outcome = "holds" if all(fit.values()) else "in part" if fit["FP8"] else "differs"
    return Result(outcome, f"8×H100 has {memory:.0f} GB: {each}.", (QWEN, "h100", "article-gpus-qwen"))


def _fewest(catalogue: Catalogue, name: str, type_: str) -> int:
    """The fewest H100 that hold a model in a type, with 8,192 tokens."""
    n = need(model(catalogue, name), type_, 8192, 1)
    return next(count for count in range(1, 33) if place(n, parse_hardware(f"{count}xh100", catalogue)).fit == "gpu")


def minimum(catalogue: Catalogue, _: str) -> Result:
    counts = {t: _fewest(catalogue, QWEN, t) for t in ("GPTQ", "FP8", "BF16")}
    text = f"It fits on {counts['GPTQ']}×H100 in 4-bit GPTQ, {counts['FP8']} in FP8 and {counts['BF16']} in BF16."
    return Result("differs" if counts["GPTQ"] < 8 else "holds", text, (QWEN, "h100", "article-gpus-qwen"))


def scout_gpus(catalogue: Catalogue, _: str) -> Result:
    counts = {t: _fewest(catalogue, SCOUT, t) for t in ("GPTQ", "FP8", "BF16")}
    text = f"It fits on {counts['GPTQ']}×H100 in 4-bit GPTQ, {counts['FP8']} in FP8 and {counts['BF16']} in BF16."
    return Result("in part", text, (SCOUT, "h100", "article-gpus-scout"))


def memory(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "model gigabytes row"."""
    name, said, row = argument.split()
    sizes = {t: need(model(catalogue, NAMES[name]), t, 8192, 1).total_bytes / 1e9 for t in ("FP8", "BF16")}
    text = f"With 8,192 tokens it needs {sizes['FP8']:.0f} GB in FP8 and {sizes['BF16']:.0f} GB in BF16."
    close = abs(sizes["FP8"] - float(said)) < 0.1 * float(said)
    return Result("in part" if close else "differs", text, (NAMES[name], row))


def scout_4bit(catalogue: Catalogue, _: str) -> Result:
    scout = model(catalogue, SCOUT)
    sizes = {t: need(scout, t, 8192, 1).weights_bytes / 1e9 for t in ("GPTQ", "Q4_K_M")}
    enough = min(sizes.values()) <= 48
    text = (
        f"Scout takes {sizes['GPTQ']:.1f} GB in 4-bit GPTQ and {sizes['Q4_K_M']:.1f} GB in Q4_K_M: 48 GB is "
        f"{'' if enough else 'not '}enough."
    )
    return Result("holds" if enough else "differs", text, (SCOUT, "article-memory4-scout"))


def speed(catalogue: Catalogue, _: str) -> Result:
    machine = parse_hardware("8xh100", catalogue)
    a = assess(model(catalogue, QWEN), machine, Question(type="FP8"), catalogue)
    served = [f for f in catalogue.facts.values() if f.model == QWEN and f.topic == "served speed"]
    published = "; ".join(f.text for f in served)
    text = (
        f"The article names no source. The estimate for one user is {a.speed.decode or 0:,.0f} tokens/s in FP8; "
        f"published: {published}."
    )
    return Result("in part", text, (QWEN, "article-speed-qwen", *(f.id for f in served)))


def cloud_speed(catalogue: Catalogue, _: str) -> Result:
    fact = catalogue.facts["article-speed-scout"]
    text = "The article names no source, and the catalogue has no measured speed of a host: it varies by host and hour."
    return Result("in part", text, (fact.id, SCOUT))


def quantized(catalogue: Catalogue, _: str) -> Result:
    row = catalogue.models[QWEN]
    return Result("out of date", f"They exist: {', '.join(row.quantized)}, GGUF {row.gguf}.", (row.id,))


def four_bit_engines(catalogue: Catalogue, _: str) -> Result:
    readers = [e for e in catalogue.engines.values() if {"GPTQ", "AWQ"} & {f.upper() for f in e.formats}]
    if not readers:
        return Result("differs", "No engine of the catalogue reads GPTQ or AWQ.", (QWEN, SCOUT))
    names = ", ".join(e.name for e in readers)
    text = f"{names} read GPTQ or AWQ of both; llama.cpp and this program read GGUF."
    return Result("holds", text, tuple(e.id for e in readers))


def every_cloud(catalogue: Catalogue, _: str) -> Result:
    listed = {p.provider: p for p in _listed(catalogue, SCOUT)}
    found = [listed[name] for name in LARGE_CLOUDS if name in listed]
    text = f"{len(listed)} hosts list Scout, among them {', '.join(p.provider for p in found)}; Alibaba does not."
    outcome: Outcome = "holds" if len(found) == len(LARGE_CLOUDS) else "in part"
    return Result(outcome, text, tuple(p.id for p in found))
