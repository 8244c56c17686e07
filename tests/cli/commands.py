"""Runs commands as processes, and reads the error of a failed one."""

from __future__ import annotations

import sys

import pytest

PYTHON = [sys.executable, "-m", "shoestring"]


def failed(capsys: pytest.CaptureFixture[str]) -> str:
    """Check that a command failed with one line on stderr; return it."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err
