"""Options of llama.cpp and vLLM: those that we have, and an answer where there is no such thing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
from commands import failed
from hypothesis import given
from hypothesis import strategies as st

from shoestring.cli.app import app, run
from shoestring.cli.serve import serve
from shoestring.cli.spellings import ANYWAY, ARGUMENTS, NOTHING, SAME, translated
from shoestring.runtime.model import Model
from shoestring.server.http.settings import Settings
from shoestring.testing import scripted_model

OWN = {"MODEL": True, "PROMPT": True, "--context": True, "-c": True, "--stop": True, "--chat": False, "--kv-type": True,
       "--temperature": True, "--max-tokens": True, "-n": True, "--model-name": True, "--alias": True}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m hi --ctx-size 4", "m hi --context 4"),
        ("m hi --ctx-size=4", "m hi --context 4"),
        ("--model m hi", "m hi"),
        ("hi -m m", "m hi"),
        ("-p hi -m m -n 5", "m -n 5 -- hi"),
        ("-m m -p -hi", "m -- -hi"),
        ("-m m --chat -- -ngl", "m --chat -- -ngl"),
        ("m -ctk f16 -ctv f16", "m --kv-type f16 --kv-type f16"),
        ("m --stop --temp x", "m --stop --temp x"),
        ("m --stop=-ngl x", "m --stop=-ngl x"),
        ("m -c -ngl", "m -c -ngl"),
        ("m --flash-attn on --chat", "m --chat"),
        ("m -fa --chat", "m --chat"),
        ("m --jinja hi", "m hi"),
        ("m --unknown 3", "m --unknown 3"),
        ("m --parallel 3 -np 2", "m --parallel 3 -np 2"),
        ("m -", "m -"),
        ("m --served-model-name a", "m --model-name a"),
        ("m --served-model-name a b c --chat", "m --chat --model-name a --alias b --alias c"),
        ("--served-model-name a b -m m", "m --model-name a --alias b"),
        ("m --served-model-name=a --served-model-name b", "m --model-name a --alias b"),
        ("--served-model-name a m --alias b", "m --alias b --model-name a"),
        ("--alias b --served-model-name a m", "m --alias b --model-name a"),
        ("--served-model-name a b c m", "m --model-name a --alias b --alias c"),
        ("--served-model-name a b -- m", "--model-name a --alias b -- m"),
    ],
)
def test_a_command_line_in_our_spelling(line: str, expected: str) -> None:
    assert translated(line.split(), OWN) == expected.split()


@given(st.lists(st.sampled_from([*OWN, "--context=3", "x", "", "-", "--", "a b"])))
def test_our_own_spelling_is_unchanged(words: list[str]) -> None:
    assert translated(words, OWN) == words


@pytest.mark.parametrize("option", NOTHING)
def test_what_means_nothing_is_answered_in_one_sentence_that_says_why(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("run", "chat", "serve", "bench"):
        assert run([command, "m.gguf", option, "99"]) == 2
        error = failed(capsys)
        assert error.startswith(f"error: {option} means nothing here: ")
        assert NOTHING[option][0] in error
        assert error.endswith(": leave it out\n")


@pytest.mark.parametrize("option", ANYWAY)
def test_what_is_done_anyway_is_taken_with_a_note(
    option: str, use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted_model())
    value = ["x"] if ANYWAY[option][1] else []
    assert run(["run", "m", option, *value, "hi", "-n", "2"]) == 0
    out, err = capsys.readouterr()
    assert out == " a\n"
    assert err.startswith(f"{option} changes nothing: {ANYWAY[option][0]}\n")


def test_their_spellings_exist_here_and_are_none_of_ours() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    ours = {name for command in commands.values() for p in command.params for name in (*p.opts, *p.secondary_opts)}
    assert set(SAME.values()) <= ours
    assert {*SAME, *NOTHING, *ANYWAY} & ours <= {"-r"}  # the rounds of `bench`
    assert set(ARGUMENTS.values()) == {"MODEL", "PROMPT"}
    tables = [*SAME, *ARGUMENTS, *NOTHING, *ANYWAY]
    assert len(tables) == len(set(tables))


def test_keys_and_values_have_one_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "m", "hi", "-ctk", "f16", "-ctv", "f32"]) == 2
    assert "-ctk is f16 and -ctv is f32: keys and values have one type" in failed(capsys)
    assert run(["run", "m", "hi", "-ctk", "q4_0"]) == 2
    assert "'q4_0' is not one of 'f16', 'f32', 'q8_0'" in failed(capsys)
    assert run(["run", "m", "hi", "--ctx-size"]) == 2
    assert failed(capsys) == "error: --ctx-size needs a value\n"


def test_a_server_in_their_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command line of another server, with only its name changed."""
    started: list[Settings] = []
    monkeypatch.setattr(serve, "run", started.append)
    line = "serve -m m.gguf --ctx-size 32k -np 2 -ctk f32 -ctv f32 --served-model-name big huge -a small --port 81"
    assert run([*line.split(), "--jinja", "-fa", "on"]) == 0
    (settings,) = started
    assert settings == Settings(
        model="m.gguf", context=32768, parallel=2, kv_type="f32", model_name="big", aliases=("small", "huge"), port=81
    )


@pytest.mark.parametrize(
    "line",
    ["run demo-scripted hi --chat -c {}", "run demo-scripted hi --chat -n {}", "plan scout -c {}", "doctor -c {}",
     "perplexity m --file x -c {}", "bench m -p {}", "bench m --generate {}", "bench m -c {}", "batch i o -c {}",
     "chat demo-scripted -n {}"],
)  # fmt: skip
def test_sizes_are_taken_everywhere(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(line.format("8k").split())
    assert "8k" not in capsys.readouterr().err
    assert run(line.format("8parsec").split()) != 0
    out, err = capsys.readouterr()
    assert "8parsec" in out + err
    assert re.search(r"give a (whole )?number\b.* \d+k", out + err)


def test_a_size_in_every_source_of_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from shoestring.server.http.settings import resolve

    file = tmp_path / "c.toml"
    file.write_text('context = "16k"\nmemory = "1GiB"')
    assert resolve({}, {}, file).settings.context == 16384
    assert resolve({}, {"SHOESTRING_CONTEXT": "32k"}, file).settings.context == 32768
    assert resolve({"context": "64k"}, {"SHOESTRING_CONTEXT": "32k"}, file).settings.context == 65536


@pytest.mark.parametrize(
    "option", ["-ot", "--override-tensor", "-ncmoe", "--n-cpu-moe", "-cmoe", "--cpu-moe", "--no-mmap"]
)
def test_who_places_experts_learns_that_they_stream(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "m.gguf", "hi", f"{option}=exps=CPU" if option.startswith("--") else option, "99"]) == 2
    assert "that do not fit into --memory stream from disk" in failed(capsys)
