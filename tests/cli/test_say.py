"""What others wrote shows its control characters and has no effect on the terminal: answers, names, errors."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from shoestring.cli import app
from shoestring.cli.models import files
from shoestring.cli.say import say
from shoestring.stores import Found

CLIPBOARD = "\x1b]52;c;aGk=\x07"


def test_an_answer_cannot_set_the_clipboard(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a\tb\n{CLIPBOARD}\u202edone", nl=False)
    assert capsys.readouterr().out == "a\tb\n\\x1b]52;c;aGk=\\x07\\u202edone"


def test_an_error_line_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["inspect", f"no{CLIPBOARD}\u2066\nsuch file"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.endswith("\n")
    assert error[:-1].isprintable()
    assert app.run([CLIPBOARD]) == 2
    assert capsys.readouterr().err[:-1].isprintable()


def test_a_listed_file_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from shoestring import stores

    evil = Found(f"evil\n{CLIPBOARD}", "llama.cpp", "qwen3_5", path=Path(f"/a\n{CLIPBOARD}.gguf"), size_bytes=1)
    monkeypatch.setattr(stores, "find_checkpoints", lambda: [evil])
    files.list_checkpoints()
    line, *embedded = capsys.readouterr().out.splitlines()
    assert [text.split()[0] for text in embedded] == ["demo-llama4", "demo-qwen3.5", "demo-scripted"]
    assert line.isprintable()
    assert "evil\\n\\x1b]52" in line


def test_every_command_prints_through_say() -> None:
    """Only conversation.py calls typer.echo, for escape codes of ours. advise/ prints the catalogue's own words."""
    folder = Path(app.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name in ("say.py", "conversation.py") or path.parent.name == "advise":
            continue
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert "typer.echo" not in calls, path
