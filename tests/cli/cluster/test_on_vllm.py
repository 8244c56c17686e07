"""`serve --on vllm` with a program that looks like vLLM: its command, its life, and its death."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import shoestring
from shoestring.cli.app import run
from shoestring.cli.cluster.on_vllm import vllm_arguments
from shoestring.server.http.settings import Settings

MODEL = "qwen3.5:35b-a3b"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with a vllm."""
    program = tmp_path / "vllm"
    fake = Path(__file__).with_name("fake_vllm.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{tmp_path}:{os.environ['PATH']}"


@contextmanager
def served(path: str, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running `serve --on vllm` and its lines up to the address."""
    source = str(Path(shoestring.__file__).parents[1])
    command = [sys.executable, "-m", "shoestring", "serve", MODEL, "--on", "vllm", "--port", "0", *options]
    variables = {**os.environ, "PATH": path, "PYTHONPATH": source, "SHOESTRING_API_KEY": "sk-client", **environment}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stderr is not None
        lines: list[str] = []
        try:
            for line in process.stderr:
                lines.append(line)
                if line.split()[:1] == ["open"]:
                    break
            yield process, lines
        finally:
            process.terminate()
            process.communicate(timeout=20)


def ask(url: str, text: str, **more: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], **more}
    headers = {"Authorization": "Bearer sk-client"}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20)


def ends(pid: int, within_seconds: float = 10.0) -> bool:
    """Whether a process ends in time; one that nobody has waited for counts, too."""
    until = time.monotonic() + within_seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


def test_it_answers_passes_lines_on_and_its_death_is_an_error(path: str) -> None:
    with served(path, "--context", "2048", "--parallel", "3", "--vllm-arg=--seed=1") as (process, lines):
        text = "".join(lines)
        url = lines[-1].split()[1]
        assert "vllm  arguments serve Qwen/Qwen3.5-35B-A3B --tensor-parallel-size 1" in text
        assert "--reasoning-parser qwen3" in text
        assert "--max-model-len 2048 --max-num-seqs 3 --seed=1 --host 127.0.0.1" in text
        assert "keys of shoestring here: []" in text
        answer = ask(url, "me").json()
        assert answer["model"] == MODEL
        assert answer["choices"][0]["message"]["content"] == "vllm heard me"
        assert answer["choices"][0]["message"]["reasoning_content"].strip() == "hmm"
        began = time.monotonic()
        dying = ask(url, "die")
        assert dying.status_code == 502, dying.text
        after = ask(url, "me")
        assert (after.status_code, after.json()["error"]["code"]) == (502, "upstream_failed")
        assert time.monotonic() - began < 5
        health = httpx.get(f"{url}/health", timeout=5)
        assert (health.status_code, health.json()["status"]) == (503, "vllm ended with code 3")
        assert process.poll() is None


@pytest.mark.deep
def test_it_ends_with_the_server(path: str) -> None:
    with served(path) as (process, lines):
        assert lines[-1].split()[0] == "open"
        (child,) = children(process.pid)
    assert ends(child)
    with served(path) as (process, _):
        (child,) = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert ends(child)


def test_a_start_that_fails_is_one_line_with_its_reason(path: str) -> None:
    with served(path, FAKE_VLLM_FAILS="yes") as (process, lines):
        assert process.wait(10) == 2
    assert lines[-1] == "error: vllm ended with code 1 before it was ready: ValueError: no such model\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([MODEL], "finds no vllm on PATH"),
        ([MODEL, "--vllm-python", "/nowhere"], "/nowhere cannot be run"),
        ([MODEL, "--vllm-python", sys.executable], "has no vLLM"),
        ([MODEL, "--memory", "1GiB"], "--memory is for a model in this process"),
        ([MODEL, "--replicas", "2"], "--replicas has no meaning"),
    ],
)
def test_refusals_are_one_line(
    options: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["serve", *options, "--on", "vllm", "--port", "0"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert named in line


def test_a_gguf_file_and_no_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    os.environ["PATH"], before = path, os.environ["PATH"]
    try:
        assert run(["serve", "--on", "vllm"]) == 2
        assert "needs a MODEL" in capsys.readouterr().err
    finally:
        os.environ["PATH"] = before


def test_llama_4_has_its_parser_and_long_contexts() -> None:
    name, words = vllm_arguments(Settings(model="scout", context=16384))
    assert name == "scout"
    assert words[words.index("--tool-call-parser") + 1] == "llama4_pythonic"
    assert "--override-generation-config" in words
