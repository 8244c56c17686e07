"""demo-scripted as MODEL of commands: clients and scripts can be tried without weights."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from commands import PYTHON, failed

from shoestring.cli.app import run
from shoestring.runtime import loading


def test_commands_take_it(capsys: pytest.CaptureFixture[str], typed: Callable[[str], None]) -> None:
    assert run(["run", "demo-scripted", "hi there", "--chat", "--no-thinking"]) == 0
    assert "I am demo-scripted" in capsys.readouterr().out
    typed("one\ntwo\n")
    assert run(["chat", "demo-scripted"]) == 0
    assert "You said: two" in capsys.readouterr().out
    assert run(["doctor", "demo-scripted", "--port", "0", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {check["state"] for check in checks} <= {"ok", "warning"}


@pytest.mark.parametrize(
    "command",
    ["inspect {}", "perplexity {} --file README.md", "bench {}", "bench {} -r 1 --url http://127.0.0.1:1",
     "tokens --compare hello {}", "run {} hi --reference"],
)  # fmt: skip
def test_commands_that_read_a_file_refuse_it_at_once(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence, before they compute, load or measure anything."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(loading, "load", never)
    assert run(command.format("demo-scripted").split()) == 2
    error = failed(capsys)
    assert error.startswith("error: demo-scripted is a script without a file: run, chat, serve, batch")


@pytest.mark.parametrize("command", ["plan {}", "compare {} scout", "pull {}"])
def test_commands_that_know_models_by_name_refuse_it_by_its_name(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command.format("demo-scripted").split()) == 2
    assert "demo-scripted" in failed(capsys)


def test_a_server_takes_it(tmp_path: Path) -> None:
    """A process of its own, over a socket: what a client's developer starts."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SHOESTRING_")}
    command = [*PYTHON, "serve", "demo-scripted", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr is not None
            address = None
            for line in server.stderr:
                if found := re.search(r"(http://127\.0\.0\.1:\d+) ", line):
                    address = found[1]
                    break
            assert address is not None, "it ended before it was ready"
            body = {"messages": [{"role": "user", "content": "count 3"}], "model": "demo-scripted"}
            reply = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
            message = reply.json()["choices"][0]["message"]
            assert message["content"] == "1\n2\n3"
            assert message["reasoning_content"] == "I count to 3."
            (model,) = httpx.get(f"{address}/v1/models").json()["data"]
            assert model["id"] == "demo-scripted"
            assert "script" in model["description"]
        finally:
            server.terminate()
            server.stderr.read()
