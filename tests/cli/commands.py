"""A command as a process of its own, and what one that was refused has printed."""

from __future__ import annotations

import sys

import pytest

PYTHON = [sys.executable, "-m", "shoestring"]


def failed(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err
