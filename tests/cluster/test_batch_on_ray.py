"""`batch --on ray` as users type it: a folder over the cluster, stopped in the middle, resumed, each line once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

import shoestring

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(shoestring.__file__).parents[1]), "RAY_USAGE_STATS_ENABLED": "0"}
BATCH = [sys.executable, "-m", "shoestring", "batch"]
LOADING = ["--model", "demo-qwen3.5", "--context", "1024", "--threads", "1"]
LINES = 30


def line(file: str, number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"{file} {number}: what does a harbour need?"}]
    body = {"model": "any", "messages": messages, "max_tokens": 12, "seed": number, "temperature": 0.9}
    return {"custom_id": f"{file}-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def answers(folder: Path) -> dict[str, Any]:
    """The choices of each line. Fails if a line is there twice."""
    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for text in file.read_text().splitlines():
            answer = json.loads(text)
            assert answer["custom_id"] not in found
            assert answer["custom_id"].startswith(file.stem)
            found[answer["custom_id"]] = answer["response"]["body"]["choices"]
    return found


def written(folder: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("*.jsonl"))


def test_a_folder_is_answered_once_and_as_by_one_process(tmp_path: Path) -> None:
    source, here, there = (tmp_path / name for name in ("in", "here", "there"))
    source.mkdir()
    for file in ("a", "b"):
        lines = (line(file, number) for number in range(LINES))
        (source / f"{file}.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    subprocess.run([*BATCH, str(source), str(here), *LOADING], check=True, env=ENVIRONMENT, timeout=120)
    command = [*BATCH, str(source), str(there), "--on", "ray", *LOADING]
    log = tmp_path / "log"
    with log.open("w") as file, subprocess.Popen(command, env=ENVIRONMENT, stderr=file) as process:
        until = time.monotonic() + 120
        while written(there) < 5:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert "Traceback" not in log.read_text()
    stopped_at = len(answers(there))
    assert stopped_at < 2 * LINES
    done = subprocess.run(command, env=ENVIRONMENT, timeout=240, stderr=subprocess.PIPE, text=True, check=True)
    print(f"batch --on ray: stopped after {stopped_at} of {2 * LINES} lines, then the rest")
    assert "were answered before" in done.stderr
    assert answers(there) == answers(here)
    assert len(answers(there)) == 2 * LINES
    before = {file.name: file.read_bytes() for file in there.iterdir()}
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=120)
    assert {file.name: file.read_bytes() for file in there.iterdir()} == before
