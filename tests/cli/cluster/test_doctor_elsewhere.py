"""`doctor --on …`: what answers is found with its version, or what is missing is said. Nothing is started."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from running import running

from shoestring.cli.app import run
from shoestring.server.http.app import create_app
from shoestring.server.service import Service
from shoestring.testing import scripted_model

MODEL = "qwen3.5:35b-a3b"


def findings(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, dict[str, Any]]:
    """The checks by name; the exit code says whether one failed."""
    code = run(["doctor", *options, "--port", "0", "--json"])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert code == int(any(check["state"] == "failed" for check in checks.values()))
    return checks


def test_a_server_at_a_url_is_asked_what_it_serves(capsys: pytest.CaptureFixture[str]) -> None:
    with running(create_app(Service(scripted_model(context=2048)))) as url:
        found = findings(capsys, "--on", url)["on"]
        assert found["state"] == "ok"
        assert "(shoestring) serves " in found["text"]
        assert "2,048 tokens" in found["text"]
        assert "does not serve 'other'" in findings(capsys, "other", "--on", url)["on"]["text"]
        assert (
            "--memory is for a model in this process" in findings(capsys, "--on", url, "--memory", "1GiB")["on"]["text"]
        )
    assert "no answer" in findings(capsys, "--on", "http://127.0.0.1:1")["on"]["text"]
    assert "choose local, vllm" in findings(capsys, "--on", "elsewhere")["on"]["text"]


def test_vllm_is_found_with_its_version_and_gets_these_arguments(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = findings(capsys, MODEL, "--on", "vllm")
    assert "finds no vllm on PATH" in missing["vllm"]["text"]
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$2" in *packages_distributions*) echo vllm 0.32.0;; *) exec "{sys.executable}";; esac\n'
    )
    (tmp_path / "vllm").write_text("#!/bin/sh\nexit 1\n")
    for program in tmp_path.iterdir():
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = findings(capsys, MODEL, "--on", "vllm", "--context", "8192")
    assert found["vllm"]["text"] == f"{tmp_path / 'vllm'}, vllm 0.32.0"
    assert found["model"]["text"].startswith("vllm serve Qwen/Qwen3.5-35B-A3B --tensor-parallel-size 1")


def test_auto_says_what_plan_finds(capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(capsys, "qwen3.5:0.8b", "--on", "auto")["auto"]["text"].startswith("serves local, because of")
    refused = findings(capsys, "qwen3.5:0.8b", "--on", "auto", "--min-speed", "99999")["auto"]
    assert refused["state"] == "failed"


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_ray_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys, "demo-scripted", "--on", "ray")
    assert "ray[serve]" in found["ray"]["text"]
    assert found["model"]["state"] == "ok"
