"""`serve MODEL --on vllm`: the front door before a vLLM that runs as a child process."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from shoestring.cli.cluster.door import door, refuse_own_settings, refuse_settings
from shoestring.cli.cluster.on_url import remote
from shoestring.cli.say import say
from shoestring.errors import RequestError
from shoestring.files import named_path

if TYPE_CHECKING:
    from shoestring.planning.candidates.candidates import Candidate
    from shoestring.server.http.settings import Settings

log = logging.getLogger("shoestring.server")

_HAS_VLLM = "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)"


def run_on_vllm(settings: Settings) -> None:
    """Start vLLM with what fits the model and the GPUs, wait for it, and serve. Raises ShoestringError."""
    from shoestring.client import headers
    from shoestring.server.backends.remote.child import Child, free_port, new_key
    from shoestring.server.backends.remote.upstream import find_upstream

    check_settings(settings)
    program = vllm_program(settings)
    name, words = vllm_arguments(settings)
    with door(settings) as opened:
        port, key = free_port(), new_key()
        place = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", name]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("SHOESTRING_")}
        say(f"starting vLLM: {' '.join([*program, *words])}", err=True)
        child = Child("vllm", [*program, *words, *place], port, {**inherited, "VLLM_API_KEY": key}, _passed_on)
        try:
            child.wait_until_ready("/v1/models", headers(key))
            backend = remote(settings, find_upstream(child.url, name, key), key, name=name, closed=child.close)
            child.when_ended(backend.fail)
            context = f"{backend.info.context:,} tokens per request, at most {settings.queue} requests wait"
            where = f"vLLM at {child.url}, a child process"
            opened.serve(backend, [("model", name), ("on", where), ("context", context)])
        finally:
            child.close()


def check_settings(settings: Settings) -> None:
    """Raise RequestError for what has no meaning with vLLM."""
    refuse_own_settings(settings, but=("context", "parallel"))
    unused = ("replicas", "ray_address", "users", "min_speed", "api_key_env")
    refuse_settings(settings, unused, "has no meaning with --on vllm: leave it out")


def vllm_program(settings: Settings) -> list[str]:
    """The command that is `vllm serve`. Raises RequestError if there is none."""
    python = settings.vllm_python
    if python is None:
        found = shutil.which("vllm")
        if found is None:
            raise RequestError("--on vllm finds no vllm on PATH: install it, or name its Python with --vllm-python")
        return [found, "serve"]
    path = named_path(python)
    try:
        checked = subprocess.run([str(path), "-c", _HAS_VLLM], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RequestError(f"--vllm-python {path} cannot be run: {getattr(error, 'strerror', None) or error}") from None
    if checked.returncode != 0:
        raise RequestError(f"--vllm-python {path} has no vLLM: install vLLM there")
    return [str(path), "-m", "vllm.entrypoints.cli.main", "serve"]


def vllm_arguments(settings: Settings) -> tuple[str, list[str]]:
    """The model's name for clients, and the arguments of `vllm serve` for it. Raises RequestError."""
    from shoestring.catalogue.load import builtin_catalogue
    from shoestring.planning.candidates.resolve import resolve
    from shoestring.planning.commands import vllm_words
    from shoestring.planning.hardware.parse import parse_hardware
    from shoestring.planning.sharding import shards

    if settings.model is None:
        raise RequestError("--on vllm needs a MODEL: a Hugging Face folder or a Hub name")
    catalogue = builtin_catalogue()
    candidate = resolve(settings.model, catalogue)
    where = _location(candidate)
    machine = parse_hardware(None, catalogue)
    unified = machine.gpu is None or machine.gpu.unified
    weights = sum(count for _, count in candidate.stored) or 2 * candidate.total
    limit = None if unified else machine.gpu_usable // machine.gpus
    split = shards(candidate.config, machine.gpus, weight_bytes=weights, gpu_bytes=limit)
    context = settings.context or candidate.config.max_position_embeddings
    words = [where, *split.words(), *vllm_words(candidate.config, context)]
    if settings.context is not None:
        words += ["--max-model-len", str(settings.context)]
    if settings.parallel is not None:
        words += ["--max-num-seqs", str(settings.parallel)]
    if candidate.config.family == "qwen3_5" and candidate.config.mtp_num_hidden_layers and machine.gpus:
        words += ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}']
    name = settings.model_name or (named_path(settings.model).resolve().name if candidate.local else settings.model)
    return name, [*words, *settings.vllm_args]


def _location(candidate: Candidate) -> str:
    """What vLLM loads. Raises RequestError for a GGUF file."""
    where = candidate.row.repository if candidate.row is not None else candidate.location
    if where.endswith(".gguf"):
        raise RequestError(f"--on vllm reads Hugging Face folders and repositories, not {where}: use --on ray for GGUF")
    return where


def _passed_on(line: str) -> None:
    """A line of the child: into the log once there is one, else as it is."""
    if logging.getLogger().handlers:
        log.info("vllm  %s", line)
    else:
        say(f"vllm  {line}", err=True)
