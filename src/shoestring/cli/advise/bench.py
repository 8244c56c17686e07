"""`shoestring bench`: measure prefill and decode speed, load time and peak memory."""

from __future__ import annotations

import json as json_module
import statistics
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import options
from shoestring.cli.advise.roof import TOKENS, decode_reads, roof_seconds
from shoestring.cli.advise.timing import decode_seconds, prefill_seconds
from shoestring.cli.find import find, load_model
from shoestring.cli.models.run_command import identity
from shoestring.cli.program import as_typed
from shoestring.cli.progress import Progress
from shoestring.cli.say import say
from shoestring.cli.shared import spread, tokens
from shoestring.errors import CapacityError, RequestError
from shoestring.sizes import human
from shoestring.streaming.counters import Totals

if TYPE_CHECKING:
    from shoestring.ops.reads import Reads
    from shoestring.runtime.model import Model

HELP = """Measure prefill and decode speed in tokens/s (median and range of the repetitions), load time and peak memory.

Prefill processes a prompt of random tokens; decode generates from a prompt of one token. The roof of decode is a pass
that only reads the memory that decode reads. --synthetic builds a model of random weights from a config alone: no
download, and llama.cpp loads the same file. The results for MODEL are saved, and `shoestring plan` uses those of the
usual number of threads and experts, with all of the model in memory.

With --disk, measure the disk of MODEL (or of any file; without one, of a temporary file) instead: random reads as large
as one expert's matrix, as many at once as a token uses experts. This is saved too.

With --machine, measure this machine's limits instead: how fast threads read memory, how fast the instructions of matrix
products run, and the disk. `shoestring plan` uses them. With --profile, print the time of each op of MODEL in a prompt
and in an answer, its share of the machine's limit, and the share of Python."""


@spread
def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A .gguf file, a Hugging Face folder or a Hub name; omit it with --synthetic."
        ),
    ] = None,
    prompt: Annotated[
        int,
        typer.Option("--prompt", "-p", metavar="N", help="Prompt tokens for prefill.", parser=tokens("--prompt")),
    ] = 512,
    generate: Annotated[
        int,
        typer.Option(
            "--generate", "-g", metavar="N", help="Tokens to generate for decode.", parser=tokens("--generate")
        ),
    ] = 64,
    repetitions: Annotated[int, typer.Option("--repetitions", "-r", metavar="N", help="Repetitions of each.")] = 5,
    synthetic: Annotated[
        Path | None,
        typer.Option("--synthetic", metavar="CONFIG", help="Build a model from this config.json, or from its folder."),
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", metavar="N", help="With --synthetic: use only the first N layers.")
    ] = None,
    type: Annotated[
        str, typer.Option("--type", metavar="T", help="With --synthetic: weight type, F32 … Q6_K, Q4_K_M or Q5_K_M.")
    ] = "Q4_K_M",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="With --synthetic: keep the GGUF file here.")
    ] = None,
    disk: Annotated[bool, typer.Option("--disk", help="Measure the disk that MODEL is on; nothing is loaded.")] = False,
    machine: Annotated[
        bool, typer.Option("--machine", help="Measure this machine's memory, arithmetic and disk; nothing is loaded.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print what each op takes in one prompt and answer.")
    ] = False,
    *,
    loading: options.Loading,
    server: options.Server,
    remote_model: Annotated[
        str | None,
        typer.Option(
            "--remote-model", metavar="NAME", help="With --url: model to measure. [default: the server's first]"
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay", metavar="FILE", help="Print the hit rates of routes that --record-routes wrote, then end."
        ),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    if replay is not None:
        from shoestring.cli.advise.replay import print_hit_rates

        print_hit_rates(replay, json)
        return
    for name, value in (("--prompt", prompt), ("--generate", generate), ("--repetitions", repetitions)):
        if value < 1:
            raise RequestError(f"{name} is {value}: choose at least 1")
    if disk:
        if synthetic is not None or server.url is not None:
            raise RequestError("--disk measures a file on this machine: leave out --synthetic and --url")
        from shoestring.cli.advise.bench_disk import bench_disk

        bench_disk(model, json)
        return
    if machine:
        if model is not None or synthetic is not None or server.url is not None:
            raise RequestError("--machine measures no model: leave out MODEL, --synthetic and --url")
        from shoestring.cli.advise.bench_machine import bench_machine

        bench_machine(loading.threads, json)
        return
    if model is not None and synthetic is not None:
        raise RequestError("give either MODEL or --synthetic CONFIG, not both")
    if model is None and synthetic is None and server.url is None:
        raise RequestError("give either MODEL or --synthetic CONFIG")
    if synthetic is None and (layers is not None or output is not None):
        raise RequestError("--layers and --output need --synthetic: add it")
    path = find(model) if model is not None else None  # raises for demo-scripted too, which has no weights to measure
    remote = None
    if server.url is not None:
        from shoestring.cli.advise.bench_remote import measured as measured_there
        from shoestring.cli.advise.bench_remote import report
        from shoestring.cli.models.remote import open_client

        with open_client(server, remote_model) as (client, there):
            remote = measured_there(client, there, prompt, generate, repetitions)
        if not json:
            report(remote)
        if model is None and synthetic is None:
            if json:
                typer.echo(json_module.dumps(remote))
            return
    if profile and (model is None or server.url is not None):
        raise RequestError("--profile needs a MODEL on this machine: leave out --synthetic and --url")
    # A small context, so that a short measurement does not reserve all memory.
    loading = replace(loading, context=loading.context or max(prompt, generate + 1) + 1)
    if profile:
        from shoestring.cli.advise.bench_profile import bench_profile

        assert model is not None
        bench_profile(model, prompt, generate, loading, json)
        return
    if synthetic is None:
        assert model is not None
        assert path is not None
        facts = measured(model, prompt, generate, repetitions, loading)
        keep(facts, path)
    else:
        with tempfile.TemporaryDirectory(prefix="shoestring-bench-") as folder:
            file = output or Path(folder) / f"{synthetic.resolve().stem}-{type}.gguf"
            write(synthetic, layers, type, file)
            facts = measured(str(file), prompt, generate, repetitions, loading)
        facts |= {"model": f"synthetic {synthetic}", "type": type, "layers": layers}
    if json:
        typer.echo(json_module.dumps(facts if remote is None else {**facts, "remote": remote}))
        return
    for name, count in (("prefill", prompt), ("decode", generate)):
        samples = facts["samples"][f"{name}_tokens_per_second"]
        median = facts[f"{name}_tokens_per_second"]
        typer.echo(f"{name:8}{count:6} tokens  {median:10.2f} tokens/s  ({min(samples):.2f} … {max(samples):.2f})")
    if "streaming" in facts:
        typer.echo(facts["streaming"]["line"])
    if "decode_roof_tokens_per_second" in facts:
        typer.echo(
            f"roof     {facts['decode_roof_tokens_per_second']:24.2f} tokens/s: only to read the same "
            f"{human(facts['decode_bytes'])} a token; decode reaches {facts['decode_share_of_roof']:.0%}"
        )
    typer.echo(f"load     {facts['load_seconds']:.2f} s, peak memory {human(facts['peak_memory_bytes'])}")
    typer.echo(f"{facts['isa']}, {facts['threads']} threads, {repetitions} repetitions, kv {facts['kv_type']}")


def measured(name: str, prompt: int, generate: int, repetitions: int, loading: options.Loading) -> dict[str, Any]:
    """Load a model and measure it. Times of the first repetition are not counted: caches and threads warm up."""
    from shoestring import ops

    began = time.perf_counter()
    model = load_model(name, loading=loading)
    loaded = time.perf_counter() - began
    prefills: list[float] = []
    decodes: list[float] = []
    roofs: list[float] = []
    done = Totals()
    reads = decode_reads(model, min(generate, TOKENS))
    with Progress("measuring", "repetitions") as progress:
        for repetition in range(repetitions + 1):
            prefills.append(prompt / prefill_seconds(model, prompt, repetition))
            seconds, experts = decode_seconds(model, generate, repetition)
            decodes.append(generate / seconds)
            if reads:  # at once after it, as the machine's bandwidth drifts
                roofs.append(1 / roof_seconds(reads))
            done = done + experts if repetition else Totals()
            progress(repetition + 1, repetitions + 1)
    del prefills[0], decodes[0], roofs[:1]
    return {
        "model": name,
        **identity(model),
        "prefill_tokens_per_second": statistics.median(prefills),
        "decode_tokens_per_second": statistics.median(decodes),
        "samples": {"prefill_tokens_per_second": prefills, "decode_tokens_per_second": decodes},
        **_roof(reads, roofs, decodes),
        "prompt_tokens": prompt,
        "generated_tokens": generate,
        "load_seconds": loaded,
        "peak_memory_bytes": peak_memory(),
        "isa": ops.isa(),
        "threads": ops.num_threads(),
        **_streaming(model, done, repetitions * generate, sum(generate / rate for rate in decodes)),
    }


def keep(facts: dict[str, Any], path: Path) -> None:
    """Save the results for plan, or say why they are not the model's speed here."""
    from shoestring import ops
    from shoestring.planning.measured import remember, unlike_plan
    from shoestring.runtime.loading import physical_cores

    unlike = unlike_plan(facts)
    if unlike is None and facts["isa"] != ops.variants()[-1]:
        unlike = f"with the instructions of {facts['isa']}: plan needs the speed of {ops.variants()[-1]}"
    if unlike is None:
        remember(facts, path, physical_cores())
        if facts["threads"] != physical_cores():
            unlike = f"with --threads {facts['threads']}: the commands use {physical_cores()}"
    if unlike is not None:
        say(as_typed(f"`shoestring plan` does not use this: it was measured {unlike}"), err=True)


def _roof(reads: list[Reads], roofs: list[float], decodes: list[float]) -> dict[str, Any]:
    """The roof of decode in tokens/s, and its share; nothing for experts on disk. The lists have one a repetition."""
    if not roofs:
        return {}
    return {
        "decode_roof_tokens_per_second": statistics.median(roofs),
        "decode_share_of_roof": statistics.median(rate / roof for rate, roof in zip(decodes, roofs, strict=True)),
        "decode_bytes": sum(step.nbytes for step in reads) // len(reads),
    }


def _streaming(model: Model, done: Totals, tokens: int, seconds: float) -> dict[str, Any]:
    """What --json says about experts on disk; nothing for a model in memory. done: while `tokens` were decoded."""
    info = model.streaming
    if info is None:
        return {}
    from shoestring.streaming.report import sentence

    numbers = info.report(done, tokens, seconds)
    facts = {"slots": info.slots, "experts": info.experts, "share": info.share, "pass_rows": info.pass_rows}
    slowest = model.engine.counts().slowest_layer_seconds
    return {"streaming": facts | {"slowest_layer_seconds": slowest} | asdict(numbers) | {"line": sentence(numbers)}}


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def write(source: Path, layers: int | None, mix: str, path: Path) -> None:
    """Write a GGUF file with random weights. Replaces only an earlier one, never a model.

    Raises RequestError for another file, CapacityError if the weights would not fit in memory.
    """
    from shoestring.checkpoint.formats.gguf import MAGIC, open_gguf
    from shoestring.files import check_writable
    from shoestring.runtime.memory import free_memory
    from shoestring.samples.synthetic import is_synthetic, read_config, synthetic_bytes, with_layers, write_synthetic

    if check_writable(path, begins=MAGIC) is not None and path.stat().st_size and not is_synthetic(open_gguf(path)):
        raise RequestError(f"{path} exists and is no file of bench: give another name, or remove it first")
    config = read_config(source)
    if layers is not None:
        config = with_layers(config, layers)
    needed, free = synthetic_bytes(config, mix), free_memory()
    if needed > free:
        raise CapacityError(
            f"{source} as {mix} needs {human(needed, 'up')} of memory for its weights "
            f"and {human(free, 'down')} are free: choose fewer --layers"
        )
    with Progress(f"writing {path.name}") as progress:
        write_synthetic(config, path, mix, progress=progress)
