"""Help texts: frozen, fast, and with exit code 0."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from cli_help import FROZEN, help_text
from commands import PYTHON
from machine_speed import slowness

from shoestring.cli.app import run


def test_help_is_frozen() -> None:
    assert help_text() == FROZEN.read_text(encoding="utf-8"), (
        "if this is intended, run tests/cli/cli_help.py and review the diff"
    )


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    seconds, before = [], slowness()
    for _ in range(5):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run([*PYTHON, "--help"], capture_output=True, text=True, check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        # CPU time, so that other load does not matter; the command waits for nothing.
        seconds.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    assert "perplexity" in result.stdout
    assert min(seconds) < 0.3 * max(before, slowness())
    code = """if True:
        import sys
        from shoestring.cli.app import run
        assert run(["--help"]) == 0
        print([m for m in ("numpy", "rich", "tokenizers", "jinja2", "shoestring._kernels") if m in sys.modules])
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["run", "--help"], ["chat", "-h"]])
def test_help_ends_well(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert "Usage: shoestring" in out
    assert err == ""
