"""The progress line."""

from __future__ import annotations

import sys
import time

import pytest

from shoestring.cli.progress import Progress


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_progress_is_silent_for_fast_operations(
    no_terminal: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("loading") as progress:
        for second in range(10):
            no_terminal[0] = second / 10
            progress(second, 10)
        assert capsys.readouterr().err == ""
        no_terminal[0] = 2.0
        progress(5 << 20, 10 << 20)
        shown = capsys.readouterr().err
        assert "50%" in shown
        assert "5.00 MiB of 10.00 MiB" in shown
    assert capsys.readouterr().err.strip() == ""
