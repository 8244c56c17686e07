"""Commands in our messages run as they are shown, also where the program is in no folder of PATH."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shoestring.cli.app import run
from shoestring.cli.models import demo
from shoestring.cli.program import as_typed, program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with the program, and the folder above it as the current one."""
    folder = tmp_path / "an env" / "bin"
    folder.mkdir(parents=True)
    (folder / "shoestring").write_text("#!/bin/sh\n")
    (folder / "shoestring").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    return folder


def test_it_is_called_as_it_was_typed_unless_the_shell_finds_it(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for typed in ("an env/bin/shoestring", str(installed / "shoestring")):
        monkeypatch.setattr(sys, "argv", [typed])
        monkeypatch.setenv("PATH", "/usr/bin")
        assert program() == f"'{typed}'"
        monkeypatch.setenv("PATH", f"/usr/bin:{installed}")
        assert program() == "shoestring"
    for other in ("/x/shoestring/__main__.py", "pytest", "", "gone/shoestring"):
        monkeypatch.setattr(sys, "argv", [other])
        assert program() == "shoestring"


def test_errors_and_the_demo_show_commands_that_run(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["an env/bin/shoestring"])
    assert run(["inspect", "org/none"]) == 2
    assert "run `'an env/bin/shoestring' pull org/none`" in capsys.readouterr().err
    lines = as_typed(demo.NEXT).splitlines()[1:]
    assert len(lines) == 5
    assert all(line.startswith("  'an env/bin/shoestring' ") for line in lines)
    assert as_typed("reinstall shoestring, or see shoestring.load") == "reinstall shoestring, or see shoestring.load"
