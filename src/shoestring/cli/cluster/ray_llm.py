"""The config under which vLLM answers on a Ray cluster: `ray.serve.llm`, for `serve --on URL` to stand before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoestring.server.http.settings import Settings

_BUILD = "ray.serve.llm:build_openai_app"
#: Where the application of Ray listens, on each node that has a proxy.
HOST, PORT = "127.0.0.1", 8000


def llm_config(settings: Settings) -> dict[str, Any]:
    """The config, with the arguments of `vllm serve` as ray.serve.llm names them. Raises RequestError."""
    from shoestring.cli.cluster.on_vllm import vllm_arguments

    name, (where, *words) = vllm_arguments(settings)
    model = {
        "model_loading_config": {"model_id": name, "model_source": where},
        "engine_kwargs": engine_arguments(words),
        "deployment_config": {"num_replicas": 1},
    }
    application = {"name": "vllm", "route_prefix": "/", "import_path": _BUILD, "args": {"llm_configs": [model]}}
    return {"http_options": {"host": HOST, "port": PORT}, "applications": [application]}


def engine_arguments(words: Sequence[str]) -> dict[str, Any]:
    """The options of a command line by their names: --max-model-len 8192 is {"max_model_len": 8192}.

    An option without a value is a switch; JSON and numbers are read.
    """
    found: dict[str, Any] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            flag, is_whole, value = word[2:].partition("=")
            name = flag.replace("-", "_")
            found[name] = _read(value) if is_whole else True
        elif name:
            found[name], name = _read(word), ""
    return found


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
