"""`bench --replay`: a table for people and JSON, and errors on one line."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from commands import failed

from shoestring.cli.app import run
from shoestring.streaming.replay import equal_layers
from shoestring.streaming.routes import RouteRecorder


def test_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = equal_layers(2, 64)
    recorder = RouteRecorder(tmp_path / "routes", "a model", layers, 4, [].append)
    draws = random.Random(1)
    for _ in range(100):
        for layer in layers:
            recorder.record(layer.layer, np.array([draws.sample(range(20), 4)], np.int32))
    recorder.save()
    assert run(["bench", "--replay", str(tmp_path / "routes")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("a model: 100 tokens, 2 layers, 4 experts a token\n")
    assert "LRU" in text
    assert run(["bench", "--replay", str(tmp_path / "routes"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["model"], data["tokens"], data["experts"]) == ("a model", 100, 128)
    assert [row["share"] for row in data["sizes"]] == sorted(row["share"] for row in data["sizes"])
    assert all(row["frequency"] <= row["optimum"] <= 1 for row in data["sizes"])
    assert len(text.splitlines()) == len(data["sizes"]) + 3


def test_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("text")
    assert run(["bench", "--replay", str(tmp_path / "file")]) == 2
    assert "no recorded routes" in failed(capsys)
    assert run(["bench", "--replay", str(tmp_path / "nothing")]) == 2
    assert "does not exist" in failed(capsys)
