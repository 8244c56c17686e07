"""The server's start-up message: the model, its memory, who may connect, and the address."""

from __future__ import annotations

from collections.abc import Sequence

from shoestring.models.workspace import PROCESS_BYTES
from shoestring.printable import printable
from shoestring.runtime.model import Model
from shoestring.runtime.streamed.memory import Memory
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
    memory: Memory | None,
    starts: Sequence[tuple[str, str]],
    compute: str,
) -> str:
    """memory: None: the script has no weights. starts: rows about experts. compute: instruction set and threads."""
    engine = model.engine
    if memory is None:
        cache = engine.tree.cache_bytes or 0
        state = engine.runner.layout.nbytes(engine.capacity, engine.kv_type) - cache
        memory = Memory(0, 0, state, cache, PROCESS_BYTES)
    experts = f", {human(memory.experts)} experts" if memory.experts else ""
    pictures = f", {human(memory.vision)} for pictures" if memory.vision else ""
    at_once = engine.scheduler.most_running
    sequences = "1 request" if at_once == 1 else f"{at_once} requests"
    rows = [
        ("model", f"{info.id} ({info.description or info.family})"),
        (
            "memory",
            f"{human(memory.weights)} weights{experts}, {human(memory.state)} state "
            f"({sequences} at once, {engine.kv_type})",
        ),
        ("", f"{human(memory.cache)} prefix cache, {human(memory.process)} for the process itself{pictures}"),
        ("", f"{human(memory.total)} in total at most"),
        *starts,
        ("context", f"{model.context:,} tokens per request, at most {settings.queue} requests wait"),
        ("compute", compute),
        ("access", access(settings, keys)),
        *([] if settings.log_file is None else [("log", settings.log_file)]),
        ("open", f"{address}   (API: {address}/v1)"),
    ]
    return ready(rows)


def ready(rows: Sequence[tuple[str, str]]) -> str:
    """The message with these rows."""
    import shoestring

    lines = [f"shoestring {shoestring.__version__} is ready", *(f"  {name:9}{printable(text)}" for name, text in rows)]
    return "\n".join(lines)
