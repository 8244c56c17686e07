"""The server's start-up message: the model, its memory, who may connect, and the address."""

from __future__ import annotations

from collections.abc import Sequence

from shoestring.printable import printable
from shoestring.runtime.model import Model
from shoestring.server.facts import ServedModel
from shoestring.server.http.exposure import access
from shoestring.server.http.keys import Key
from shoestring.server.http.settings import Settings
from shoestring.sizes import human


def banner(
    model: Model,
    info: ServedModel,
    settings: Settings,
    keys: Sequence[Key],
    address: str,
    *,
    weights: int,
    workspace: int,
    compute: str,
) -> str:
    """weights, workspace: their bytes, see `Opened`. compute: instruction set and threads."""
    import shoestring

    engine = model.engine
    cache = engine.tree.cache_bytes or 0
    state = engine.runner.layout.nbytes(engine.capacity, engine.kv_type) - cache
    at_once = engine.scheduler.most_running
    sequences = "1 request" if at_once == 1 else f"{at_once} requests"
    rows = [
        ("model", f"{info.id} ({info.description or info.family})"),
        ("memory", f"{human(weights)} weights, {human(state)} state ({sequences} at once, {engine.kv_type})"),
        ("", f"{human(cache)} prefix cache, {human(workspace)} for the process itself"),
        ("", f"{human(weights + state + cache + workspace)} in total at most"),
        ("context", f"{model.context:,} tokens per request, at most {settings.queue} requests wait"),
        ("compute", compute),
        ("access", access(settings, keys)),
        *([] if settings.log_file is None else [("log", settings.log_file)]),
        ("open", f"{address}   (API: {address}/v1)"),
    ]
    lines = [f"shoestring {shoestring.__version__} is ready", *(f"  {name:9}{printable(text)}" for name, text in rows)]
    return "\n".join(lines)
