"""`serve --dry-run FOLDER`: write what would run, for operators who start it themselves. Nothing is started.

ray-serve.yaml: `serve deploy` reads it. ray-service.yaml: KubeRay's RayService. vllm.sh: the command of vLLM.
ray-llm.yaml: vLLM on a Ray cluster, as `serve run` reads it.
shoestring.service: a systemd unit, and compose.yaml: of the front door. Tests parse them with Ray's schema and vLLM's
own parser; nothing was run on Kubernetes.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.cli.cluster.ray_llm import llm_config
from shoestring.cli.cluster.yaml_text import yaml_text
from shoestring.cli.say import say
from shoestring.errors import RequestError
from shoestring.files import write_whole

if TYPE_CHECKING:
    from shoestring.server.http.settings import Settings

#: How every file begins, so that a second run replaces only files of the first.
_HEAD = "# written by shoestring serve --dry-run\n"
IMAGE = "shoestring-cluster"
RAY_VERSION = "2.60.0"
#: Settings that no file has: the model is an argument, and keys are secrets.
_LEFT_OUT = frozenset({"model", "api_keys", "dry_run"})


def write_files(settings: Settings, folder: Path) -> None:
    """Write the files for `settings.on`, and say their names. Raises RequestError."""
    if settings.on == "local":
        raise RequestError("--dry-run is for --on vllm, ray or URL: docs/operators.md has the files of one machine")
    files = dict(_files(settings))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--dry-run {folder}: {error.strerror or error}") from None
    for name, text in files.items():
        begins = "#!/bin/sh\n" + _HEAD if name.endswith(".sh") else _HEAD
        with write_whole(folder / name, begins=begins.encode()) as file:
            file.write((begins + text).encode())
        if name.endswith(".sh"):
            os.chmod(folder / name, 0o755)
        say(f"wrote {folder / name}")


def _files(settings: Settings) -> Iterator[tuple[str, str]]:
    command = door_command(settings)
    if settings.on == "ray":
        config = serve_config(settings)
        yield "ray-serve.yaml", yaml_text(config)
        yield "ray-service.yaml", yaml_text(ray_service(settings, config))
    if settings.on == "vllm":
        yield "vllm.sh", vllm_script(settings)
        yield "ray-llm.yaml", yaml_text(llm_config(settings))
    yield "shoestring.service", unit(command)
    yield "compose.yaml", yaml_text(compose(command))


def door_command(settings: Settings) -> list[str]:
    """The command line of the front door with these settings, without keys."""
    from shoestring.server.http.settings import SINGULAR

    words = ["shoestring", "serve", *([] if settings.model is None else [settings.model])]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value == field.default or field.name in _LEFT_OUT:
            continue
        flag = "--" + SINGULAR.get(field.name, field.name).replace("_", "-")
        if value is True:
            words.append(flag)
        else:
            words += [f"{flag}={item}" for item in (value if isinstance(value, tuple) else (value,))]
    return words


def serve_config(settings: Settings) -> dict[str, Any]:
    """A config of Ray Serve, as `serve deploy` reads it."""
    from shoestring.cli.cluster.on_ray import source_of
    from shoestring.server.backends.replicas.names import APP, IMPORT_PATH
    from shoestring.server.backends.replicas.options import options_of, read_count

    if settings.model is None:
        raise RequestError("--on ray needs a MODEL that every node has: a file, a folder, or a pulled name")
    count = read_count(settings.replicas or "1")
    defaults = {field.name: field.default for field in dataclasses.fields(source_of(settings))}
    source = {name: value for name, value in dataclasses.asdict(source_of(settings)).items() if value != defaults[name]}
    source = {name: list(value) if isinstance(value, tuple) else value for name, value in source.items()}
    application = {
        "name": APP,
        "route_prefix": None,
        "import_path": IMPORT_PATH,
        "args": {**source, "replicas": settings.replicas or "1"},
        "deployments": [{"name": "Replica", **options_of(count, settings.parallel)}],
    }
    return {"proxy_location": "Disabled", "applications": [application]}


def ray_service(settings: Settings, config: dict[str, Any]) -> dict[str, Any]:
    """KubeRay's RayService: a head without replicas, and workers of one replica each. Generated, never run here."""
    from shoestring.server.backends.replicas.options import read_count

    count = read_count(settings.replicas or "1")
    memory = "8Gi" if settings.memory is None else f"{-(-settings.memory // (1 << 20))}Mi"

    def pod(name: str, limits: dict[str, str]) -> dict[str, Any]:
        container = {"name": name, "image": IMAGE, "resources": {"limits": limits, "requests": limits}}
        return {"spec": {"containers": [container]}}

    worker = {
        "groupName": "replicas",
        "replicas": count.least,
        "minReplicas": count.least,
        "maxReplicas": count.most,
        "rayStartParams": {},
        "template": pod("ray-worker", {"cpu": str(settings.threads or 4), "memory": memory}),
    }
    head = {
        "rayStartParams": {"num-cpus": "0", "include-dashboard": "false"},
        "template": pod("ray-head", {"cpu": "1", "memory": "4Gi"}),
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "shoestring"},
        "spec": {
            "serveConfigV2": yaml_text(config),
            "rayClusterConfig": {"rayVersion": RAY_VERSION, "headGroupSpec": head, "workerGroupSpecs": [worker]},
        },
    }


def vllm_script(settings: Settings) -> str:
    """The command of vLLM, which takes its key from VLLM_API_KEY."""
    from shoestring.cli.cluster.on_vllm import vllm_arguments

    name, words = vllm_arguments(settings)
    place = ["--host", "127.0.0.1", "--port", "8000", "--served-model-name", name]
    return f"exec vllm serve {shlex.join([*words, *place])}\n"


def unit(command: list[str]) -> str:
    """A systemd unit of the front door."""
    program = Path(sys.executable).with_name("shoestring")
    start = shlex.join([str(program), *command[1:]]).replace("%", "%%")
    lines = [
        "[Unit]",
        "Description=Shoestring's front door",
        "After=network-online.target",
        "Wants=network-online.target",
        "",
        "[Service]",
        "# SHOESTRING_API_KEY=…, and the variable of --api-key-env",
        "EnvironmentFile=-/etc/shoestring/environment",
        f"ExecStart={start}",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
        "TimeoutStopSec=60",
        # serve stops its own children in order; Ray waits forever for one that systemd has stopped first
        "KillMode=mixed",
        "NoNewPrivileges=yes",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def compose(command: list[str]) -> dict[str, Any]:
    """A compose file of the front door. It listens inside its container, so it needs a key."""
    words = [word for word in command[1:] if not word.startswith(("--host=", "--port="))]
    service = {
        "image": IMAGE,
        "command": [*words, "--host=0.0.0.0", "--port=8080"],
        "environment": {"SHOESTRING_API_KEY": "${SHOESTRING_API_KEY:?choose a key that clients shall send}"},
        "volumes": ["./models:/models:ro"],
        "ports": ["127.0.0.1:8080:8080"],
        "restart": "unless-stopped",
        "stop_grace_period": "1m",
    }
    return {"services": {"shoestring": service}}
