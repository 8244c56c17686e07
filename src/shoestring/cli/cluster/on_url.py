"""`serve MODEL --on URL`: the front door before another server. MODEL names one of its models."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoestring.cli.cluster.door import Door, door, refuse_own_settings, refuse_settings
from shoestring.errors import RequestError
from shoestring.printable import quoted

if TYPE_CHECKING:
    from shoestring.server.backends.remote.remote import Remote
    from shoestring.server.backends.remote.upstream import Upstream
    from shoestring.server.http.settings import Settings


def run_on_url(settings: Settings) -> None:
    """Ask the server what it serves, then serve that. Raises RequestError."""
    from shoestring.server.backends.remote.upstream import find_upstream

    key = check_settings(settings)
    with door(settings) as opened:
        serve_upstream(opened, find_upstream(settings.on, settings.model, key), key)


def check_url(on: str) -> None:
    """Raise RequestError if --on names nothing that it can."""
    if not on.startswith(("http://", "https://")):
        raise RequestError(
            f"--on is {quoted(on)}: choose local, vllm, ray, auto, or the URL of a server, http://HOST:PORT"
        )


def check_settings(settings: Settings) -> str | None:
    """This server's key there. Raises RequestError for what has no meaning with a URL."""
    refuse_own_settings(settings)
    unused = ("replicas", "ray_address", "vllm_python", "vllm_args", "users", "min_speed")
    refuse_settings(settings, unused, f"has no meaning with --on {settings.on}: leave it out")
    return upstream_key(settings)


def upstream_key(settings: Settings) -> str | None:
    """The key of --api-key-env. Raises RequestError if the variable is not set."""
    name = settings.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise RequestError(f"--api-key-env names {name}, which is not set: export {name}=…")
    return key


def remote(
    settings: Settings,
    upstream: Upstream,
    key: str | None,
    *,
    name: str | None = None,
    closed: Callable[[], None] | None = None,
) -> Remote:
    """The backend for a server. name: the model's for clients; default: the server's."""
    from shoestring.server.backends.remote.remote import Remote
    from shoestring.server.facts import ServedModel

    info = ServedModel(
        settings.model_name or name or upstream.model,
        settings.aliases,
        family=upstream.family,
        context=upstream.context,
        thinking=upstream.thinking,
        format="",
        description=f"answered by {upstream.kind}",
    )
    return Remote(
        upstream,
        info,
        key=key,
        timeout_seconds=settings.upstream_timeout,
        queue=settings.queue,
        limits=settings.limits,
        closed=closed,
    )


def serve_upstream(opened: Door, upstream: Upstream, key: str | None) -> None:
    backend = remote(opened.settings, upstream, key)
    kind = "a server with OpenAI's API" if upstream.kind == "openai" else upstream.kind
    context = f"{upstream.context:,} tokens per request" if upstream.context else "the server does not say how long"
    rows = [
        ("model", backend.info.id),
        ("on", f"{upstream.url} ({kind}, its name for the model: {upstream.model})"),
        ("context", f"{context}, at most {opened.settings.queue} requests wait"),
    ]
    opened.serve(backend, rows)
