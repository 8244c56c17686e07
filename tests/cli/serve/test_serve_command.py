"""`shoestring serve` and `shoestring doctor` as commands: refusals before loading, and their output."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import random_checkpoints
from starlette.testclient import TestClient

from shoestring import packages
from shoestring.cli.app import run
from shoestring.cli.serve import doctor, serve
from shoestring.runtime import loading, opening
from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.http.sockets import bind
from shoestring.server.service import Service


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SHOESTRING_") and name != "SHOESTRING_ISA":
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--host", "0.0.0.0"], "--no-auth"),
        (["--no-auth", "--api-key", "k"], "contradict"),
        (["--api-key-file", "/nowhere"], "/nowhere"),
        (["--memory", "lots"], "12GiB"),
        (["--memory", "50MB"], "--memory leaves"),
        (["--parallel", "0"], "--parallel"),
        (["--context", "100000000"], "--context"),
        (["--threads", "0"], "--threads"),
        (["--kv-type", "f8"], "one of f16, f32, q8_0"),
        (["--port", "99999"], "--port"),
        (["--config", "/nowhere.toml"], "/nowhere.toml"),
        (["--host", "no such host"], "--host"),
        (["--ssl-certfile", "/nowhere.pem"], "/nowhere.pem"),
        (["--ssl-keyfile", "/nowhere.pem"], "--ssl-certfile"),
        (["--ssl-certfile", "/dev/zero"], "device"),
        (["--trusted-proxy", "proxy.lan"], "--trusted-proxy"),
        (["--log-file", "/dev/null"], "device"),
        (["--log-file", "/nowhere/log"], "/nowhere"),
        (["/nowhere.gguf"], "does not exist"),
        (["--on", "the cloud"], "choose local, vllm, ray, auto"),
        (["--on", "http://127.0.0.1:1"], "no answer from http://127.0.0.1:1/v1/"),
        (["--on", "http://"], "write http://HOST:PORT"),
        (["--on", "http://127.0.0.1:1", "--memory", "1GiB"], "--memory is for a model in this process"),
        (["--on", "http://127.0.0.1:1", "--replicas", "2"], "--replicas has no meaning"),
        (["--on", "http://127.0.0.1:1", "--api-key-env", "NO_SUCH"], "NO_SUCH, which is not set"),
        (["--on", "http://127.0.0.1:1", "--upstream-timeout", "0"], "--upstream-timeout"),
    ],
)
def test_serve_refuses_in_one_line_before_loading(
    options: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "0.0.0.0" not in options and "no such host" not in options:
        options = [*options, "--host", "127.0.0.1"]
    assert run(["serve", *options]) == 2
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("error: ")
    assert named in last


def test_a_used_port_is_refused_before_loading(capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as taken:
        assert run(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_without_the_extra_an_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "SERVER", {"no_such_module": "no-such-package"})
    command = f"{sys.executable} -m pip install no-such-package"
    assert run(["serve"]) == 2
    assert capsys.readouterr().err.strip().splitlines() == [
        f"error: serve needs packages that are not installed (no-such-package): run `{command}`"
    ]
    assert run(["doctor", "--port", "0"]) == 1
    assert f"run `{command}`" in capsys.readouterr().out


def test_a_model_is_named_after_its_file(tmp_path: Path) -> None:
    file = tmp_path / "Some-Model-Q4_K_M.gguf"
    file.touch()
    assert serve.model_id(Settings(model=str(file)), file) == "Some-Model-Q4_K_M"
    assert serve.model_id(Settings(model="org/name:Q8_0"), file) == "org/name:Q8_0"
    assert serve.model_id(Settings(model=str(file), model_name="mine"), file) == "mine"
    assert serve.model_id(Settings(), file) == "demo-llama4"


def test_doctor_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--port", "0"]) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("ready")
    assert "MISSING" not in out


def test_doctor_reports_all_problems_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOESTRING_HOST", "0.0.0.0")
    with bind("0.0.0.0", 0) as taken:
        port = str(taken.getsockname()[1])
        assert run(["doctor", "/nowhere.gguf", "--port", port, "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    states = {check["name"]: check["state"] for check in facts["checks"]}
    assert {states.pop("kernels"), states.pop("packages")} <= {"ok", "warning"}
    assert states == {"access": "failed", "port": "failed", "model": "failed"}
    assert facts["settings"]["host"] == {"value": "0.0.0.0", "source": "environment"}
    assert facts["settings"]["port"] == {"value": int(port), "source": "flag"}


def test_doctor_checks_the_log_file_and_creates_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, code, shown in (("log", 0, "ok       log"), (".", 1, "MISSING  log"), ("none/log", 1, "MISSING  log")):
        assert run(["doctor", "demo-scripted", "--port", "0", "--log-file", str(tmp_path / name)]) == code
        assert shown in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_doctor_hides_keys(capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--api-key", "hunter2", "--port", "0"])
    assert "hunter2" not in capsys.readouterr().out


def test_a_wrong_setting_does_not_hide_other_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOESTRING_PROT", "1")
    assert run(["doctor", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["name"] for check in checks] == ["kernels", "packages", "settings"]
    assert doctor.packages().state == "ok"


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[str, list[str]]]:
    """A real process with the demo model: its address and its first lines."""
    command = [sys.executable, "-m", "shoestring", "serve", "--port", "0", "--parallel", "2", "--context", "2048"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines: list[str] = []
        until = time.monotonic() + 120
        while not any("open " in line for line in lines):
            assert time.monotonic() < until
            line = server.stderr.readline()
            assert line, lines
            lines.append(line.rstrip())
        yield lines[-1].split()[1], lines
        server.terminate()
        assert server.wait(30) == 0


def test_the_banner_shows_memory_and_address(started: tuple[str, list[str]]) -> None:
    _, lines = started
    text = "\n".join(lines)
    for part in ("demo-llama4", "weights", "state", "2 requests at once", "2,048 tokens", "threads", "no key"):
        assert part in text, part
    assert "embedded test model" in text


def test_the_demo_model_answers(started: tuple[str, list[str]]) -> None:
    url, _ = started
    body = {"messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 8, "temperature": 0}
    until = time.monotonic() + 30
    while True:
        try:
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
            break
        except httpx.TransportError:
            assert time.monotonic() < until
    assert answer["usage"]["completion_tokens"] <= 8
    assert answer["choices"][0]["message"]["content"]
    assert httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()["choices"] == answer["choices"]


def test_a_server_needs_no_file_and_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it serves, a touched, replaced or removed file changes no answer; clients never see where it was."""
    folder = tmp_path / "private folder"
    folder.mkdir()
    path = random_checkpoints.write("llama4", "Q4_0", folder / "model.gguf")
    opened = []
    real = opening.open_model

    def open_model(path: Path) -> opening.Opened:
        result = real(path)
        opened.append(weakref.ref(result.checkpoint))
        return result

    monkeypatch.setattr(loading, "open_model", open_model)
    answers: list[str] = []

    def serving(service: Service, settings: Settings, listening: object, **more: object) -> None:
        gc.collect()
        assert [reference() for reference in opened] == [None]  # tens of megabytes of metadata
        with TestClient(create_app(service, settings), base_url="http://127.0.0.1") as client:

            def ask() -> str:
                for address in ("/health", "/v1/models", "/api/tags", "/api/show", "/metrics"):
                    response = client.post(address, json={"model": "x"}) if "show" in address else client.get(address)
                    assert response.status_code == 200
                    assert "private folder" not in response.text
                body = {"model": "x", "prompt": "hello", "max_tokens": 4, "temperature": 0}
                answer = client.post("/v1/completions", json=body)
                assert answer.status_code == 200
                return str(answer.json()["choices"])

            answers.append(ask())
            os.utime(path, ns=(0, 0))
            answers.append(ask())
            path.write_bytes(b"other contents")
            answers.append(ask())
            path.unlink()
            answers.append(ask())

    monkeypatch.setattr("shoestring.server.http.run.serve", serving)
    serve.run(Settings(model=str(path), port=0, context=128, parallel=1, aliases=("*",)))
    assert answers == answers[:1] * 4
