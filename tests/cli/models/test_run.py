"""`shoestring run` and similar commands with a scripted model: what they print where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import failed
from scripted_text import END_THINK, scripted

import shoestring
from shoestring.cli.app import run
from shoestring.errors import CheckpointError
from shoestring.runtime.model import Model


@pytest.mark.parametrize("name", ["qwen3.5:35b", "org_m_m-Q4_K_M.gguf", "org/name"])
def test_a_stores_own_name_is_a_model(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from shoestring import stores
    from shoestring.cli.find import find

    monkeypatch.setattr(stores, "find_checkpoint", lambda wanted: tmp_path if wanted == name else None)
    assert find(name) == tmp_path
    with pytest.raises(CheckpointError, match="does not exist"):
        find(f"./{name}")


def test_run_prints_the_answer_and_nothing_else_on_stdout(
    use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({"hi": "grüß dich".encode()}))
    assert run(["run", "m", "hi"]) == 0
    out, err = capsys.readouterr()
    assert out == "grüß dich\n"
    assert "2 prompt tokens" in err


def test_run_reads_stdin(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({"hi": b"hello"}))
    for arguments in (["run", "m"], ["run", "m", "-"]):
        typed("hi")
        assert run(arguments) == 0
        assert capsys.readouterr().out == "hello\n"


def test_run_as_json(use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]) -> None:
    use(scripted({"hi": [*b"hm", END_THINK, *b"yes"]}))
    assert run(["run", "m", "hi", "--chat", "--thinking", "--json", "--logprobs", "1"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["thinking"] == "hm"
    assert facts["text"] == "yes"
    assert facts["finish_reason"] == "stop"
    assert facts["ended_inside_thinking"] is False
    assert len(facts["logprobs"]) == len(facts["tokens"]) == 7


def test_json_says_that_an_answer_ended_inside_its_thinking(
    use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({"hi": b"hm"}))
    assert run(["run", "m", "hi", "--chat", "--thinking", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["text"], facts["thinking"], facts["finish_reason"]) == ("", "hm", "stop")
    assert facts["ended_inside_thinking"] is True


def test_options_reach_the_model(use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]) -> None:
    model = scripted({"hi": b"one two three", "sys\x01hi": b"x"})
    asked: dict[str, Any] = {}
    real = model.generate

    def generate(*args: Any, **options: Any) -> Any:
        asked.update(options)
        return real(*args, **options)

    model.generate = generate  # type: ignore[method-assign]
    use(model)
    line = (
        "run m hi --system be --temperature 0.5 --top-k 3 --top-p 0.9 --min-p 0.1 --presence-penalty 1 "
        "--frequency-penalty 2 --repetition-penalty 1.1 --logit-bias 5=-2 --logit-bias 6=1 --seed 9 --stop two "
        "--stop three --stop-id 7 --max-tokens 11 --no-thinking"
    )
    assert run(line.split()) == 0
    assert asked == {
        "messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_k": 3,
        "top_p": 0.9,
        "min_p": 0.1,
        "presence_penalty": 1.0,
        "frequency_penalty": 2.0,
        "repetition_penalty": 1.1,
        "logit_bias": {5: -2.0, 6: 1.0},
        "seed": 9,
        "stop": ("two", "three"),
        "stop_ids": (7,),
        "max_tokens": 11,
        "thinking": False,
    }
    assert capsys.readouterr().out == "one \n"


def test_perplexity_as_json(use: Callable[[Model], None], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    use(scripted({}))
    text = tmp_path / "text.txt"
    text.write_text("x" * 100)
    assert run(["perplexity", "m", "--file", str(text), "--context", "20", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["perplexity"] > 1
    assert facts["windows"] == 5
    text.write_text("x" * 39)
    assert run(["perplexity", "m", "--file", str(text), "--context", "20"]) == 2
    assert "39 tokens" in failed(capsys)


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["isa"] in facts["variants"]
    assert "scalar" in facts["variants"]
    assert facts["version"] == shoestring.__version__
