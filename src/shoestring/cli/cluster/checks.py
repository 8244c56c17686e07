"""Checks of `doctor` for what answers with --on: is it found, in which version, and does it take these settings?"""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.cli.cluster import on_ray, on_url, on_vllm

if TYPE_CHECKING:
    from shoestring.server.http.settings import Settings

Check = Callable[["Settings"], str]

#: The distribution that has vLLM is not called vllm everywhere.
_VLLM_VERSION = (
    "import importlib.metadata as m; names = m.packages_distributions()['vllm']; "
    "print(', '.join(f'{name} {m.version(name)}' for name in sorted(set(names))))"
)
_ASK_SECONDS = 60


def checks_of(settings: Settings, here: Check) -> list[tuple[str, Check]]:
    """The checks for `settings.on`, by name. here: the check of a model in this process."""
    match settings.on:
        case "ray":
            # The machines of another cluster have the model, not this one.
            return [("ray", ray), *([("model", here)] if settings.ray_address is None else [])]
        case "vllm":
            return [("vllm", vllm), ("model", vllm_model)]
        case "auto":
            return [("auto", auto)]
        case _:
            return [("on", upstream)]


def ray(settings: Settings) -> str:
    """Ray's version, and whether the cluster can be reached. Raises RequestError."""
    from shoestring.server.backends.replicas import deployment as ray_serve
    from shoestring.server.backends.replicas.replica import versions

    on_ray.check_settings(settings)
    ray_serve.need_ray()
    same = ", ".join(f"{name} {version}" for name, version in versions().items())
    found = f"Ray {importlib.metadata.version('ray')}; every node needs it, and {same}"
    if settings.ray_address is None:
        return f"{found}; without --ray-address a cluster of this machine alone"
    ray_serve.check_reachable(settings.ray_address)
    return f"{found}; {settings.ray_address} answers"


def vllm(settings: Settings) -> str:
    """Where vLLM is, and its version. Raises RequestError."""
    on_vllm.check_settings(settings)
    program = on_vllm.vllm_program(settings)[0]
    python = program if settings.vllm_python is not None else str(Path(program).resolve().with_name("python"))
    try:
        asked = subprocess.run([python, "-c", _VLLM_VERSION], capture_output=True, text=True, timeout=_ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return f"{program}, of a version that it does not tell"
    version = asked.stdout.strip() if asked.returncode == 0 else "of a version that it does not tell"
    return f"{program}, {version}"


def vllm_model(settings: Settings) -> str:
    """The model as vLLM gets it. Raises ShoestringError."""
    _, words = on_vllm.vllm_arguments(settings)
    return f"vllm serve {' '.join(words)}"


def upstream(settings: Settings) -> str:
    """What the server at a URL serves. Raises RequestError."""
    from shoestring.server.backends.remote.upstream import find_upstream

    on_url.check_url(settings.on)
    found = find_upstream(settings.on, settings.model, on_url.check_settings(settings))
    context = f"{found.context:,} tokens per request" if found.context else "it does not say how long requests may be"
    return f"{found.url} ({found.kind}) serves {found.model}, {context}"


def auto(settings: Settings) -> str:
    """What plan finds. Raises RequestError."""
    from shoestring.cli.cluster.on_auto import chosen, nodes_of

    choice = chosen(settings, nodes_of(settings))
    return f"serves {choice.on}, because of this row of plan: {choice.row}"
