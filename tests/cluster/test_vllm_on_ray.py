"""vLLM as a replica of `ray.serve.llm`, behind our front door: the config that --dry-run writes, on a CPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("vllm") is None or importlib.util.find_spec("ray") is None:
    pytest.skip("vLLM or Ray is not installed", allow_module_level=True)

import yaml
from vllm_checks import arguments, check_apis, check_tokens, environment, front_door, written

from shoestring.server.backends.remote.child import free_port

#: For vLLM on a CPU; the config itself is for GPUs.
ON_A_CPU = {
    "accelerator_type": None,
    "placement_group_config": {"bundles": [{"CPU": 0.5}]},
    "deployment_config": {
        "num_replicas": 1,
        "ray_actor_options": {"num_cpus": 0.5},
        "health_check_timeout_s": 60,
    },
}


def config(folder: Path) -> dict[str, Any]:
    """The config of --dry-run for this model."""
    files = folder.parent / "files"
    command = [sys.executable, "-m", "shoestring", "serve", str(folder), "--on", "vllm", "--dry-run", str(files)]
    subprocess.run([*command, *arguments(folder)], check=True, env=environment(), timeout=120)
    read: dict[str, Any] = yaml.safe_load((files / "ray-llm.yaml").read_text())
    return read


@contextmanager
def on_ray(config: dict[str, Any]) -> Iterator[str]:
    """The address of the application on a cluster of this machine."""
    import ray
    from ray import serve
    from ray.serve.llm import build_openai_app

    (application,) = config["applications"]
    (model,) = application["args"]["llm_configs"]
    port = free_port()
    os.environ.update(environment())
    ray.init(address="local", num_cpus=4, include_dashboard=False, object_store_memory=200 << 20)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        ingress = {"num_replicas": 1, "autoscaling_config": None, "ray_actor_options": {"num_cpus": 0.2}}
        llm = {"llm_configs": [{**model, **ON_A_CPU}], "ingress_deployment_config": ingress}
        serve.run(build_openai_app(llm), name="vllm", route_prefix="/")
        yield f"http://127.0.0.1:{port}"
    finally:
        ray.shutdown()


@pytest.mark.parametrize("family", ["qwen3_5", "llama4"])
def test_it_answers_on_all_our_apis_with_the_same_tokens(family: Any, tmp_path: Path) -> None:
    folder = written(family, tmp_path)
    with on_ray(config(folder)) as address, front_door(tmp_path / "serve.log", "--on", address) as url:
        check_apis(url, folder, counts=False)
        check_tokens(url, folder, rows=12)


def test_rays_schema_and_its_llm_config_read_the_file(tmp_path: Path) -> None:
    """Of a catalogue model, for GPUs."""
    from ray.serve.llm import LLMConfig
    from ray.serve.schema import ServeDeploySchema

    command = [sys.executable, "-m", "shoestring", "serve", "qwen3.5:35b-a3b", "--on", "vllm", "--context", "16384"]
    subprocess.run([*command, "--dry-run", str(tmp_path)], check=True, env=environment(), timeout=120)
    read = yaml.safe_load((tmp_path / "ray-llm.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(read).applications
    (model,) = application.args["llm_configs"]
    config = LLMConfig.model_validate(model)
    assert config.engine_kwargs["max_model_len"] == 16384
    assert config.get_engine_config() is not None
