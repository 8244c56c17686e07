"""`serve MODEL --on ray`: the front door before replicas of our engine on a Ray cluster."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING

from shoestring.cli.cluster.door import door, refuse_settings
from shoestring.cli.say import say
from shoestring.errors import RequestError

if TYPE_CHECKING:
    from shoestring.server.backends.replicas.deployment import Deployment
    from shoestring.server.backends.replicas.options import Count
    from shoestring.server.backends.replicas.replica import Source
    from shoestring.server.http.settings import Settings

log = logging.getLogger("shoestring.server")


def run_on_ray(settings: Settings) -> None:
    """Connect, start the replicas, and serve. SIGUSR1 restarts them one after the other. Raises ShoestringError."""
    from shoestring.server.backends.replicas import deployment as ray_serve
    from shoestring.server.backends.replicas.options import Count
    from shoestring.server.backends.replicas.replicas import Replicas

    wanted = check_settings(settings)
    ray_serve.need_ray()
    signal.signal(signal.SIGTERM, _end)  # until the server runs, which has its own
    with door(settings) as opened:
        ray_serve.connect(settings.ray_address)
        try:
            nodes = ray_serve.node_count()
            count = wanted or Count(max(1, nodes), max(1, nodes))
            ray_serve.check_size(count)
            deployed = ray_serve.Deployment(source_of(settings), count, settings.limits)
            say(f"starting {_said(count)} on {nodes} node{'s' * (nodes != 1)} of the cluster", err=True)
            handle = deployed.start()
            info, spellings = ray_serve.describe(handle)
            backend = Replicas(handle, info, spellings, queue=settings.queue, limits=settings.limits)
            restart_on_signal(deployed)
            place = settings.ray_address or "a cluster of this machine alone"
            context = f"{info.context:,} tokens per request, at most {settings.queue} requests wait"
            opened.serve(
                backend,
                [("model", info.id), ("on", f"Ray at {place}: {_said(count)}, one a node"), ("context", context)],
            )
        finally:
            ray_serve.stop()


def check_settings(settings: Settings) -> Count | None:
    """The replicas that --replicas asks for. Raises RequestError for what has no meaning on Ray, or has no model."""
    from shoestring.server.backends.replicas.options import read_count

    unused = ("vllm_python", "vllm_args", "users", "min_speed", "api_key_env", "record_routes", "share_cache")
    refuse_settings(settings, unused, "has no meaning with --on ray: leave it out")
    if settings.model is None:
        raise RequestError("--on ray needs a MODEL that every node has: a file, a folder, or a pulled name")
    return None if settings.replicas is None else read_count(settings.replicas)


def _said(count: Count) -> str:
    if count.fixed:
        return "1 replica" if count.least == 1 else f"{count.least} replicas"
    return f"{count.least} to {count.most} replicas"


def source_of(settings: Settings) -> Source:
    """What each replica loads."""
    from shoestring.cli.serve.model_name import model_id
    from shoestring.files import named_path
    from shoestring.server.backends.replicas.replica import Source

    assert settings.model is not None
    path = named_path(settings.model)
    return Source(
        str(path.resolve()) if path.exists() else settings.model,
        model_id(settings, path),
        settings.aliases,
        threads=settings.threads,
        kv_type=settings.kv_type,
        context=settings.context,
        memory=settings.memory,
        parallel=settings.parallel,
        cache_memory=settings.cache_memory,
        experts_per_token=settings.experts_per_token,
        mmproj=settings.mmproj,
        max_image_tokens=settings.max_image_tokens,
        video_fps=settings.video_fps,
        max_frames=settings.max_frames,
        allow_remote_media=settings.allow_remote_media,
    )


def _end(number: int, frame: object) -> None:
    """End, and the cluster of our own, as a shell would expect of SIGTERM."""
    sys.exit(128 + number)


def restart_on_signal(deployed: Deployment) -> None:
    """SIGUSR1 begins a rolling restart in a thread of its own; another one waits for it."""
    lock = threading.Lock()

    def restart() -> None:
        with lock:
            try:
                deployed.restart()
            except Exception as error:
                log.error("the rolling restart failed: %s", error)

    def begin(number: int, frame: object) -> None:
        threading.Thread(target=restart, name="rolling restart", daemon=True).start()

    signal.signal(signal.SIGUSR1, begin)
