"""examples/agent.py as users start it, with both families and each call format."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import running

from shoestring.testing import Asked, CallSyntax, Family, Reply, scripted_model

pytest.importorskip("openai", reason="the client, PyPI's openai, is not installed")

AGENT = Path(__file__).parents[3] / "examples" / "agent.py"
QUESTION = "What is the secret word?"


def rule(asked: Asked) -> Reply:
    """List the folder, try a path that leads out of it, read the file, answer with its content."""
    if asked.role == "user":
        return Reply("I look.", thinking="Where could it be?", calls=[("list_folder", {"path": "."})])
    if asked.text == "notes/\nsecret.txt":
        return Reply(calls=[("read_file", {"path": "../other.txt"}), ("read_file", {"path": "secret.txt"})])
    if "not for you" in asked.prompt:
        return Reply("It led out of the folder")
    return Reply(f"The word is {asked.text}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here" / "notes").mkdir(parents=True)
    (tmp_path / "here" / "secret.txt").write_text("sesame — “öffne dich”\n")
    (tmp_path / "other.txt").write_text("not for you")
    return tmp_path / "here"


@pytest.fixture(
    params=[("qwen3_5", "json"), ("llama4", "json"), ("llama4", "pythonic"), ("llama4", "function")],
    ids=lambda p: "-".join(p),
)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    from shoestring.server.http.app import create_app
    from shoestring.server.service import Service

    family: Family
    syntax: CallSyntax
    family, syntax = request.param
    with running(create_app(Service(scripted_model(rule, family=family, call_syntax=syntax)))) as address:
        yield address


def test_it_answers(url: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(AGENT), QUESTION, "--folder", str(folder), "--url", f"{url}/v1"],
        env={**os.environ, "OPENAI_API_KEY": "none", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "The word is sesame — “öffne dich”"
    assert done.stdout.count("… read_file") == 2


def test_it_is_short() -> None:
    assert len(AGENT.read_text().splitlines()) <= 80
