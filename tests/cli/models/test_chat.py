"""`shoestring chat`: a conversation, its commands, Ctrl-C, and the default model."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_text import END_THINK, scripted

from shoestring.cli.app import run
from shoestring.cli.models import chat, conversation, files
from shoestring.errors import RequestError
from shoestring.runtime.model import Model


def test_a_conversation(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    use(scripted({"hi": b"hello", "and?": b"more"}))
    saved = tmp_path / "saved.json"
    typed(f"hi\n\nand?\n/save {saved}\n/clear\n/load {saved}\n/help\n/exit\nnever asked\n")
    assert run(["chat", "m", "--system", "be brief"]) == 0
    out, err = capsys.readouterr()
    assert "hello" in out
    assert "more" in out
    assert "/save FILE" in out
    assert "never asked" not in out
    assert err.count("tokens/s") == 2
    messages = json.loads(saved.read_text())
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[2]["content"] == "hello"
    assert list(tmp_path.iterdir()) == [saved], "nothing half-written is left"


def test_errors_do_not_end_a_chat(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    use(scripted({"hi": b"hello"}, context=60))
    broken = tmp_path / "broken.json"
    broken.write_text('[{"role": "wizard", "content": "x"}]')
    typed(f"/bogus\n/save\n/save {tmp_path}/no/such\n/load {broken}\n/load {tmp_path}/none\n{'x' * 80}\nhi\n")
    assert run(["chat", "m"]) == 0
    out, err = capsys.readouterr()
    assert "hello" in out, "the question that was too long is forgotten"
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    for line, says in zip(lines, ("/bogus", "/save needs", "No such file", "wizard", "No such", "/clear"), strict=True):
        assert says in line


def test_an_answer_that_ended_inside_its_thinking_is_one_line(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({"hi": b"hm", "yo": [*b"hm", END_THINK, *b"fine"]}))
    typed("hi\nyo\n")
    assert run(["chat", "m", "--thinking"]) == 0
    assert capsys.readouterr().err.count("the answer ended inside its thinking: /again asks for another one") == 1


def test_a_full_context_is_one_line(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({"hi": b"x" * 100, "yo": b"fine"}, context=50))
    typed("hi\nyo\n/clear\nyo\n")
    assert run(["chat", "m"]) == 0
    out, err = capsys.readouterr()
    assert err.count("the context of 50 tokens is full") == 1
    assert err.count("error: ") == 1
    assert "fine" in out


def test_ctrl_c_stops_the_answer_and_not_the_program(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    model = scripted({"hi": b"a long answer", "yo": b"fine"})
    real = model.engine.step
    steps = iter(range(1000))

    def step() -> None:
        if next(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        real()

    model.engine.step = step  # type: ignore[method-assign]
    use(model)
    typed("hi\nyo\n")
    assert run(["chat", "m"]) == 0
    out, err = capsys.readouterr()
    assert "a long answer" not in out
    assert "a lo" in out
    assert "fine" in out
    assert err.count("[stopped; ") == 1
    assert model.engine.idle
    model.engine.check()


def test_thinking_is_dimmed_on_a_terminal(
    use: Callable[[Model], None],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(scripted({"hi": [*b"hmm", END_THINK, *b"\n\nhello"]}))
    typed("hi\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "dumb")  # no Markdown, which would need cursor movements
    assert run(["chat", "m", "--thinking"]) == 0
    assert "\x1b[2mhmm\x1b[0m\nhello" in capsys.readouterr().out


def test_chat_without_a_model_says_what_it_uses(
    use: Callable[[Model], None],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shoestring.stores

    use(scripted({"hi": b"hello"}))
    monkeypatch.setattr(shoestring.stores, "find_checkpoint", lambda name: None)
    typed("hi\n")
    assert run(["chat"]) == 0
    out, err = capsys.readouterr()
    assert "neither Qwen 3.5 nor Llama 4" in err
    assert "hello" in out


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_chat_without_a_model_offers_a_download(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import shoestring.stores

    pulled: list[str] = []
    monkeypatch.setattr(shoestring.stores, "find_checkpoint", lambda name: None)
    monkeypatch.setattr(files, "pull", pulled.append)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt="": answer)
    assert chat.choose_model() == (chat.SMALLEST if answer == "y" else "demo-llama4")
    assert pulled == ([chat.SMALLEST] if answer == "y" else [])


def test_a_line_without_an_end_is_refused(
    use: Callable[[Model], None],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(scripted({"hi": b"hello"}, context=60))
    monkeypatch.setattr(conversation, "LONGEST_LINE", 1000)
    typed("hi\n" + "x" * 2000)
    assert run(["chat", "m"]) == 2
    out, err = capsys.readouterr()
    assert "hello" in out
    assert "more than 1,000 characters" in err


def test_again_undo_and_system_in_a_pipe(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    use(scripted({"hi": b"hello", "and?": b"more"}))
    saved = tmp_path / "saved.json"
    typed(f"/again\n/undo\nhi\nand?\n/again\n/undo\n/system brief\n/system\n/save {saved}\n/clear\n/undo\n")
    assert run(["chat", "m"]) == 0
    out, err = capsys.readouterr()
    assert out.count("more") == 2
    assert err.count("error: there is no message yet") == 3
    assert "\nbrief\n" in out
    messages = json.loads(saved.read_text())
    assert [(m["role"], m["content"]) for m in messages] == [
        ("system", "brief"),
        ("user", "hi"),
        ("assistant", "hello"),
    ]


def test_a_failed_again_keeps_the_answer(
    use: Callable[[Model], None], typed: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = scripted({"hi": b"hello"})
    use(model)
    saved = tmp_path / "saved.json"
    generate, calls = model.generate, []

    def once(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) > 1:
            raise RequestError("no")
        return generate(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "generate", once)
    typed(f"hi\n/again\n/save {saved}\n")
    assert run(["chat", "m"]) == 0
    assert [m["content"] for m in json.loads(saved.read_text())] == ["hi", "hello"]
