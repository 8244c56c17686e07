"""`shoestring serve`: serve a model over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.cli import options
from shoestring.cli.extra import need_server_packages
from shoestring.cli.find import find, guard_mapped_files
from shoestring.cli.progress import Progress
from shoestring.cli.say import say
from shoestring.cli.serve import settings_options as o
from shoestring.cli.serve.model_name import model_id as model_id
from shoestring.cli.shared import spread
from shoestring.cli.union import licence_line
from shoestring.runtime.scripted import DEMO_SCRIPTED
from shoestring.sizes import human

if TYPE_CHECKING:
    from shoestring.runtime.loading import Prepared
    from shoestring.runtime.opening import Opened
    from shoestring.server.http.settings import Resolved, Settings

HELP = """Serve MODEL over HTTP: the APIs of OpenAI, Anthropic and Ollama, and a chat page for browsers.

You can also set options with SHOESTRING_* environment variables or in the TOML file of --config. Ctrl-C lets running
answers finish; a second Ctrl-C stops at once. See docs/server.md."""


@spread
def serve(
    served: o.Served, where: o.Where, running: o.Running, dry_run: o.DryRun = None, debug: options.Debug = False
) -> None:
    settings = resolved({**asdict(served), **asdict(where), **asdict(running)}).settings
    need_server_packages("serve")
    if settings.on == "local" and dry_run is None:
        run(settings)
    else:
        from shoestring.cli.cluster.elsewhere import run_elsewhere

        run_elsewhere(settings, run, dry_run)


def resolved(flags: dict[str, Any]) -> Resolved:
    """The settings from a command line and its --config file. Raises RequestError."""
    from shoestring.server.http.settings import SINGULAR, resolve

    values = dict(flags)
    config = values.pop("config")
    for plural, singular in SINGULAR.items():
        values[plural] = tuple(values.pop(singular, None) or ())
    return resolve({name: value for name, value in values.items() if value is not False}, file=config)


def run(settings: Settings) -> None:
    """Check everything, then load the model and serve it. Raises ShoestringError."""
    from shoestring import ops
    from shoestring.cli.serve.banner import banner
    from shoestring.runtime.loading import checked_threads, load, prepare
    from shoestring.samples.smollm_as_llama4 import DEMO_NAME
    from shoestring.server.facts import served_model
    from shoestring.server.http.exposure import check_exposure
    from shoestring.server.http.keys import read_keys
    from shoestring.server.http.logs.log_file import open_log_file
    from shoestring.server.http.run import serve as serve_http
    from shoestring.server.http.sockets import address_of, bind
    from shoestring.server.http.tls import server_context
    from shoestring.server.media.fetch import Web
    from shoestring.server.service import Service

    keys = read_keys(settings)
    check_exposure(settings, keys)
    tls = server_context(settings)
    if settings.threads is not None:
        checked_threads(settings.threads)
    if settings.model is None:
        say(f"No MODEL given: serving {DEMO_NAME}, an embedded test model. Do not judge any model by it.", err=True)
    limits = load_options(settings)
    prepared = None
    if settings.model == DEMO_SCRIPTED:
        path, facts = Path(DEMO_SCRIPTED), SCRIPTED_FACTS
    else:
        path = find(settings.model or DEMO_NAME)
        prepared = prepare(path, settings.threads, settings.kv_type, settings.context, **limits)
        facts, starts = file_facts(prepared.opened), start_rows(prepared)
        starts += [] if prepared.plan.streaming is None else [PAUSE]
    log_file = open_log_file(settings)
    with bind(settings.host, settings.port) as listening:
        guard_mapped_files()
        if prepared is None:
            model, memory, starts = load(DEMO_SCRIPTED, context=settings.context, **limits), None, []
        else:
            memory = prepared.memory()
            with Progress(f"loading {path.name}") as progress:
                model = prepared.load(progress)
            del prepared  # its metadata takes tens of megabytes, and a server runs for long
        info = served_model(model, model_id(settings, path), settings.aliases, **facts)
        compute = f"{ops.isa()}, {ops.num_threads()} threads"
        text = banner(
            model,
            info,
            settings,
            keys,
            address_of(listening, "http" if tls is None else "https"),
            memory=memory,
            starts=starts,
            compute=compute,
        )
        say(text, err=True)
        line = licence_line(model.family, settings.model)
        if line is not None:
            say(line, err=True)
        service = Service(
            model,
            info,
            queue=settings.queue,
            limits=settings.limits,
            share_cache=settings.share_cache,
            web=Web() if settings.allow_remote_media else None,
        )
        serve_http(service, settings, listening, keys=keys, tls=tls, log_file=log_file)


#: Facts about demo-scripted, as `file_facts` has them about a file.
SCRIPTED_FACTS: dict[str, Any] = {"description": "a script without weights, to try clients with"}


def load_options(settings: Settings) -> dict[str, Any]:
    """What `load` and `prepare` take beside threads, KV type and context."""
    return {
        "memory": settings.memory,
        "parallel": settings.parallel,
        "cache_memory": "share" if settings.cache_memory is None else settings.cache_memory,
        "experts_per_token": settings.experts_per_token,
        "record_routes": settings.record_routes,
        "mmproj": settings.mmproj,
        "max_image_tokens": settings.max_image_tokens,
        "video_fps": settings.video_fps,
        "max_frames": settings.max_frames,
    }


#: A row of the banner of a model that streams.
PAUSE = ("", "while a prompt is computed, an answer pauses for one layer's time, which the log tells once measured")


def start_rows(prepared: Prepared) -> list[tuple[str, str]]:
    """Rows of the banner and of doctor about experts: how many are in memory, the predicted rate, what was changed."""
    from shoestring.runtime.streamed.lines import basis_text, rate_text, slots_line, slow, slow_line

    rows = [] if prepared.changed_experts is None else [("experts", f"uses {prepared.changed_experts}")]
    forecast = prepared.forecast
    if forecast is not None:
        rows += [
            ("streams", slots_line(prepared.plan)),
            ("", f"{rate_text(forecast)}: {basis_text(forecast)}"),
            *([("", slow_line(forecast))] if slow(forecast) else []),
        ]
    return rows


def file_facts(opened: Opened) -> dict[str, Any]:
    """Facts from a checkpoint's headers."""
    from shoestring.checkpoint.summary import summarize

    summary = summarize(opened.config, opened.checkpoint, opened.binding)
    sizes: dict[str, int] = {}
    for (_, kind), size in summary.source_bytes.items():
        sizes[kind] = sizes.get(kind, 0) + size
    quantization = max(sizes, key=sizes.__getitem__)
    billions = summary.parameters_total / 1e9
    parameters = f"{billions:.3g} billion parameters" if billions >= 1 else f"{billions * 1e3:.3g} million parameters"
    return {
        "parameters": summary.parameters_total,
        "quantization": quantization,
        "file_bytes": summary.total_bytes,
        "format": opened.checkpoint.format,
        "description": f"{opened.config.family}, {parameters}, {quantization}, {human(summary.total_bytes)}",
    }
