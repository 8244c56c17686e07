"""--on auto and --dry-run: what plan decides, and files that others can read. Without Ray and vLLM."""

from __future__ import annotations

import dataclasses
import importlib.util
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shoestring.cli.app import run
from shoestring.cli.cluster.dry_run import door_command
from shoestring.cli.cluster.on_auto import chosen, settled
from shoestring.cli.cluster.on_ray import source_of
from shoestring.cli.cluster.ray_llm import engine_arguments
from shoestring.cli.cluster.yaml_text import yaml_text
from shoestring.errors import RequestError
from shoestring.server.backends.replicas.replica import Source
from shoestring.server.http.settings import Settings

MODEL = "qwen3.5:0.8b"

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=12) | st.floats(-1e6, 1e6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1, max_size=6), values, min_size=1, max_size=4))
def test_yaml_is_read_as_it_was_meant(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(value)) == value


def written(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> dict[str, str]:
    assert run(["serve", *options, "--dry-run", str(folder)]) == 0, capsys.readouterr().err
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_files_of_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("demo-qwen3.5", "--on", "ray", "--replicas", "2:4", "--context", "4096", "--memory", "2GiB")
    files = written(capsys, tmp_path / "out", *options)
    assert set(files) == {"ray-serve.yaml", "ray-service.yaml", "shoestring.service", "compose.yaml"}
    serve = yaml.safe_load(files["ray-serve.yaml"])
    (application,) = serve["applications"]
    assert application["args"]["model"] == "demo-qwen3.5"
    module, name = application["import_path"].split(":")
    assert callable(getattr(importlib.import_module(module), name))
    service = yaml.safe_load(files["ray-service.yaml"])
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == serve
    (workers,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (2, 4)
    compose = yaml.safe_load(files["compose.yaml"])["services"]["shoestring"]
    assert "SHOESTRING_API_KEY" in compose["environment"]
    # a second run replaces its own files, and no others
    written(capsys, tmp_path / "out", *options)
    (tmp_path / "out" / "compose.yaml").write_text("services: {}\n")
    assert run(["serve", *options, "--dry-run", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "compose.yaml").read_text() == "services: {}\n"


def test_the_files_of_vllm_have_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = written(capsys, tmp_path, "qwen3.5:35b-a3b", "--on", "vllm", "--context", "8192", "--api-key", "sk-secret")
    words = shlex.split(files["vllm.sh"].splitlines()[-1])
    assert words[:4] == ["exec", "vllm", "serve", "Qwen/Qwen3.5-35B-A3B"]
    assert "sk-secret" not in "".join(files.values())
    llm = yaml.safe_load(files["ray-llm.yaml"])["applications"][0]["args"]["llm_configs"][0]
    assert llm["model_loading_config"]["model_source"] == "Qwen/Qwen3.5-35B-A3B"
    assert llm["engine_kwargs"] == {
        "tensor_parallel_size": 1,
        "reasoning_parser": "qwen3",
        "enable_auto_tool_choice": True,
        "tool_call_parser": "qwen3_coder",
        "max_model_len": 8192,
    }
    start = next(line for line in files["shoestring.service"].splitlines() if line.startswith("ExecStart="))
    assert shlex.split(start)[1:] == ["serve", "qwen3.5:35b-a3b", "--on=vllm", "--context=8192"]


def test_words_of_a_command_line_are_arguments() -> None:
    words = ["--enforce-eager", "--dtype=float32", "--limit", '{"image": 0}', "--tensor-parallel-size", "2"]
    assert engine_arguments(words) == {
        "enforce_eager": True,
        "dtype": "float32",
        "limit": {"image": 0},
        "tensor_parallel_size": 2,
    }


def test_a_replica_gets_every_setting_of_its_model() -> None:
    shared = {f.name for f in dataclasses.fields(Source)} & {f.name for f in dataclasses.fields(Settings)} - {"aliases"}
    given: dict[str, Any] = dict.fromkeys(shared, 7) | {"model": "/m", "mmproj": "p", "kv_type": "f32"}
    made = source_of(Settings(on="ray", aliases=("a",), **given))
    assert {name: getattr(made, name) for name in shared} == given
    assert made.aliases == ("a",)
    assert shared | {"aliases", "id"} == {f.name for f in dataclasses.fields(Source)}


def test_the_doors_command_has_every_setting_but_secrets() -> None:
    settings = Settings(model="m", on="ray", aliases=("a", "b"), lenient=True, api_keys=("k",), port=9000)
    words = door_command(settings)
    assert words == ["shoestring", "serve", "m", "--on=ray", "--port=9000", "--alias=a", "--alias=b", "--lenient"]


def test_auto_says_which_row_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = chosen(Settings(model=MODEL, on="auto"))
    assert choice.on == "local"
    assert choice.row.startswith("Qwen3.5-0.8B in ")
    assert "tokens/s" in choice.row
    here = settled(Settings(model=MODEL, on="auto", users=3), choice)
    assert (here.on, here.parallel, here.users) == ("local", 3, 1)


def test_auto_never_moves_silently() -> None:
    many = Settings(model=MODEL, on="auto", users=4, min_speed=100_000)
    with pytest.raises(RequestError, match="finds nothing for 4 users at 100000 tokens/s") as refused:
        chosen(many)
    assert "--ray-address" in str(refused.value)


def test_auto_shares_users_among_the_nodes_of_a_named_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A speed that one user has here and 64 have not: 64 nodes give each user one."""
    from shoestring.planning.plan import plan

    alone, together = (plan(MODEL, users=n).assessments[0].speed.decode for n in (1, 64))
    assert alone is not None
    assert together is not None
    assert together < alone
    wanted = Settings(model=MODEL, on="auto", users=64, min_speed=(alone + together) / 2)
    with pytest.raises(RequestError):
        chosen(wanted)
    choice = chosen(wanted, nodes=64)
    assert (choice.on, choice.replicas) == ("ray", 64)
    assert settled(wanted, choice).replicas == "64"


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["demo-scripted", "--on", "ray"], "ray[serve]"),
        (["--on", "ray"], "needs a MODEL"),
        (["demo-scripted", "--on", "ray", "--replicas", "none"], "--replicas is 'none'"),
        (["demo-scripted", "--on", "ray", "--vllm-python", "x"], "--vllm-python has no meaning"),
        (["demo-scripted", "--dry-run", "/tmp/x"], "--dry-run is for --on"),
        ([MODEL, "--on", "auto", "--min-speed", "99999"], "finds nothing"),
        (["--on", "auto"], "needs a MODEL"),
    ],
)
def test_refusals_are_one_line(options: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", *options, "--port", "0"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert named in line


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_a_folder_that_is_called_ray_is_not_ray(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ray").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["serve", "demo-scripted", "--on", "ray", "--port", "0"]) == 2
    assert "ray[serve]" in capsys.readouterr().err


def test_the_base_install_imports_neither() -> None:
    """Nothing of ours imports Ray or vLLM before it is asked to."""
    import subprocess
    import sys

    code = (
        "import sys, shoestring, shoestring.cli.app, shoestring.cli.cluster.elsewhere, shoestring.server.http.app, "
        "shoestring.server.backends.replicas.replicas, shoestring.server.backends.replicas.deployment; "
        "sys.exit('ray' in sys.modules or 'vllm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
