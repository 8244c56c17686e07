"""What a run tells: every line to its log, on a terminal a bar in one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from train_demo import checkpoint
from train_demo.workplace import Workplace


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    nothing: Any = None
    return Workplace(tmp_path, tmp_path, 1, torch.device("cpu"), nothing, nothing, nothing)


def test_a_step_tells_losses_speed_and_what_is_left(work: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    run = checkpoint.Run(work.folder, "whole", [], [])
    run.finish_step(2048, 16.0, 4, {"loss": 0.25, "stream": 0.05}, work.say)
    told = r"\d\d:\d\d:\d\d whole 1/4  loss 0.2500  stream 0.0500  128 tokens/s, 1 min left\n"
    assert re.fullmatch(told, capsys.readouterr().out)
    assert re.fullmatch(told, (work.folder / "log.txt").read_text())
    assert checkpoint.read_curve(work.folder, "whole") == {
        "step": [1], "tokens": [2048], "loss": [0.25], "stream": [0.05], "speed": [128],
    }  # fmt: skip


def test_on_a_terminal_a_bar_stays_in_place(
    work: Workplace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    work.say("begun", 0.25)
    work.say("done")
    out = capsys.readouterr().out
    assert re.fullmatch(r"\r\x1b\[K█{5}░{15} \S+ begun\r\x1b\[K\S+ done\n", out)
    assert len((work.folder / "log.txt").read_text().splitlines()) == 2
