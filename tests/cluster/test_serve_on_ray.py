"""`serve --on ray` as users type it, its refusals, and the files of --dry-run in the eyes of Ray and vLLM."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("ray")

import httpx
import yaml

import shoestring
from shoestring.server.http.sockets import bind

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(shoestring.__file__).parents[1]), "RAY_USAGE_STATS_ENABLED": "0"}
COMMAND = [sys.executable, "-m", "shoestring"]


@contextmanager
def served(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [*COMMAND, "serve", *options, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stderr is not None
        lines = []
        try:
            for line in process.stderr:
                lines.append(line)
                if line.split()[:1] == ["open"]:
                    break
            else:
                raise AssertionError("".join(lines))
            yield process, lines[-1].split()[1]
        finally:
            process.terminate()
            process.communicate(timeout=60)


def listening() -> set[str]:
    """Addresses, in hexadecimal, that processes of Ray listen on."""
    sockets = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if any(word in command for word in (b"ray::", b"/raylet", b"/gcs_server", b"/ray/", b"--on")):
                sockets |= {os.readlink(file) for file in (process / "fd").iterdir()}
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.add(words[1].partition(":")[0])
    return found


def test_it_serves_restarts_and_ends() -> None:
    with served("demo-scripted", "--on", "ray") as (process, url):
        body = {"messages": [{"role": "user", "content": "hi"}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
        assert "demo-scripted" in answer["choices"][0]["message"]["content"]
        # 127.0.0.1, by itself and inside an address of version 6
        assert listening() <= {"0100007F", "0000000000000000FFFF00000100007F"}
        process.send_signal(signal.SIGUSR1)
        for _ in range(5):
            again = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)
            assert again.status_code == 200
        assert httpx.get(f"{url}/health", timeout=30).json()["status"] == "ok"
    assert process.returncode == 0


def refused(*options: str, environment: dict[str, str] = ENVIRONMENT) -> str:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, env=environment, timeout=180)
    assert done.returncode == 2, done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("error: ")
    return last


def test_refusals_are_one_line() -> None:
    serve = ("serve", "demo-scripted", "--on", "ray", "--port", "0")
    assert "no answer" in refused(*serve, "--ray-address", "127.0.0.1:1")
    assert "write HOST:PORT" in refused(*serve, "--ray-address", "head")
    assert "the cluster has 1 node" in refused(*serve, "--replicas", "3")
    with bind("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert "choose another --port" in refused("serve", "demo-scripted", "--on", "ray", "--port", port)
    assert "/nowhere.gguf" in refused("serve", "/nowhere.gguf", "--on", "ray", "--port", "0")


@pytest.mark.parametrize("package", ["ray", "shoestring"])
def test_mixed_versions_are_one_line(package: str, tmp_path: Path) -> None:
    """The front door has another version than the nodes."""
    from ray.cluster_utils import Cluster

    (tmp_path / "sitecustomize.py").write_text(f"import {package}\n{package}.__version__ = '0.0.1'\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"}
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        options = ("serve", "demo-scripted", "--on", "ray", "--ray-address", cluster.address, "--port", "0")
        said = refused(*options, environment=environment)
        assert "mixed versions" in said
        assert "0.0.1" in said
    finally:
        cluster.shutdown()


def test_doctor_names_the_version() -> None:
    done = subprocess.run(
        [*COMMAND, "doctor", "demo-scripted", "--on", "ray", "--port", "0"],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"Ray {importlib.metadata.version('ray')}; every node needs it" in done.stdout


def test_ray_reads_the_files(tmp_path: Path) -> None:
    from ray.serve.schema import ServeDeploySchema

    for replicas in ("2", "1:3"):
        folder = tmp_path / replicas.replace(":", "-")
        command = [*COMMAND, "serve", "demo-qwen3.5", "--on", "ray", "--replicas", replicas, "--dry-run", str(folder)]
        subprocess.run(command, check=True, env=ENVIRONMENT, timeout=60)
        config = yaml.safe_load((folder / "ray-serve.yaml").read_text())
        read = ServeDeploySchema.model_validate(config)
        assert read.applications[0].import_path.endswith("application:build")
        service = yaml.safe_load((folder / "ray-service.yaml").read_text())
        ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
        from shoestring.server.backends.replicas.application import build

        assert build(config["applications"][0]["args"]) is not None


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.parametrize("model", ["qwen3.5", "qwen3.5:35b-a3b", "scout", "maverick"])
def test_vllms_parser_knows_every_flag(model: str, tmp_path: Path) -> None:
    """Also with GPUs that this machine has not: the words of plan for eight of them."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    command = [*COMMAND, "serve", model, "--on", "vllm", "--context", "16384", "--dry-run", str(tmp_path)]
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=60)
    script = shlex.split((tmp_path / "vllm.sh").read_text().splitlines()[-1])[3:]
    planned = subprocess.run(
        [*COMMAND, "plan", model, "--hardware", "8xh100", "--json"], capture_output=True, text=True, env=ENVIRONMENT
    )
    lines = json.loads(planned.stdout)["models"][0]["command"]["lines"]
    words = shlex.split(lines[-1])
    parser = make_arg_parser(FlexibleArgumentParser())
    for arguments in (script, words[words.index("serve") + 1 :]):
        parsed = parser.parse_args(arguments)
        validate_parsed_serve_args(parsed)
        assert parsed.tool_call_parser in ("qwen3_coder", "llama4_pythonic")
