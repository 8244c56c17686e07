"""Wrong input: one line that says what is wrong, and exit code 2."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import PYTHON, failed
from scripted_text import scripted

from shoestring.cli.app import run
from shoestring.cli.models import run_command
from shoestring.errors import CapacityError, CheckpointError, NumericsError
from shoestring.runtime.model import Model

WRONG = [
    ("run", "Missing argument"),
    ("frobnicate", "No such command"),
    ("run m hi --nonsense", "No such option"),
    ("run m hi --top-k many", "--top-k"),
    ("run m hi --kv-type f8", "--kv-type"),
    ("run m hi --top-k -1", "top_k"),
    ("run m hi --temperature -1", "temperature is -1.0"),
    ("run m hi --temperature nan", "temperature is nan"),
    ("run m hi --top-p 1.5", "top_p is 1.5"),
    ("run m hi --min-p -0.5", "min_p"),
    ("run m hi --repetition-penalty 0", "repetition_penalty is 0"),
    ("run m hi --seed -1", "seed is -1"),
    ("run m hi --logit-bias five=1", "--logit-bias is 'five=1'"),
    ("run m hi --logit-bias 5", "--logit-bias"),
    ("run m hi --max-tokens 0", "--max-tokens is 0"),
    ("run m hi --stop-id -5", "--stop-id is -5"),
    ("run m hi --stop=", "--stop is empty"),
    ("run m hi --logprobs 3", "--json"),
    ("run m.gguf hi --threads 0", "--threads is 0"),
    ("run m.gguf hi --threads 5000", "--threads is 5000"),
    ("run m.gguf hi --threads two", "--threads"),
    ("run m.gguf hi", "m.gguf does not exist"),
    ("chat m.gguf --threads -3", "--threads is -3"),
    ("inspect m.gguf", "m.gguf does not exist"),
    ("bench", "give either MODEL or --synthetic"),
    ("bench m --synthetic c", "give either MODEL or --synthetic"),
    ("bench m --layers 3", "--synthetic"),
    ("bench m --repetitions 0", "--repetitions is 0"),
    ("bench --synthetic nowhere.json", "nowhere.json cannot be read"),
    ("perplexity m", "--file"),
    ("perplexity m --file nowhere.txt", "nowhere.txt cannot be read (No such file"),
    ("pull not-a-name", "not-a-name"),
]


@pytest.mark.parametrize(("line", "says"), WRONG, ids=[line for line, _ in WRONG])
def test_wrong_input_is_one_line_and_code_2(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 2
    assert says in failed(capsys)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (CheckpointError("a.gguf is torn"), 2, "a.gguf is torn"),
        (CapacityError("needs 5 bytes\nand 3 are free"), 2, "needs 5 bytes and 3 are free"),
        (NumericsError("a logit is not finite"), 2, "a logit is not finite"),
        (OSError(28, "No space left on device", "out.txt"), 2, "out.txt: No space left on device"),
        (MemoryError(), 2, "memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ModuleNotFoundError("gone", name="shoestring._kernels"), 2, "run --reference"),
        (ModuleNotFoundError("No module named 'jinja2'", name="jinja2"), 2, "jinja2"),
        (ZeroDivisionError("oh"), 1, "bug in shoestring (ZeroDivisionError: oh)"),
    ],
)
def test_errors_of_all_kinds(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **options: object) -> Model:
        raise error

    monkeypatch.setattr(run_command, "load_model", fail)
    assert run(["run", "m", "hi"]) == code
    assert says in failed(capsys)
    for arguments in (["--debug", "run", "m", "hi"], ["run", "m", "hi", "--debug"]):
        assert run(arguments) == code
        assert ("Traceback" in capsys.readouterr().err) == (code != 130)


def test_long_errors_stay_on_one_line_in_a_narrow_terminal() -> None:
    name = "very/" * 40 + "long.gguf"
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    result = subprocess.run([*PYTHON, "run", name, "hi"], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert name in result.stderr


def test_invalid_prompts(
    use: Callable[[Model], None], typed: Callable[[str | bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({}, context=20))
    assert run(["run", "m", "x" * 30]) == 2
    assert "30 tokens" in failed(capsys)
    assert run(["run", "m", ""]) == 2
    assert "empty" in failed(capsys)
    typed("")
    assert run(["run", "m"]) == 2
    assert "stdin is empty" in failed(capsys)
    typed(b"\xff\xfe")
    assert run(["run", "m"]) == 2
    assert "not UTF-8" in failed(capsys)


def test_an_unsupported_instruction_set() -> None:
    environment = {**os.environ, "SHOESTRING_ISA": "avx9"}
    result = subprocess.run([*PYTHON, "version"], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: SHOESTRING_ISA=avx9")
    assert result.stderr.count("\n") == 1


def config_file(folder: Path, **fields: object) -> Path:
    from shoestring.catalogue.load import FOLDER

    file = folder / "its-own-name.json"
    file.write_text(json.dumps(json.loads((FOLDER / "configs" / "qwen3.5-0.8b.json").read_text()) | fields))
    return file


def test_bench_names_an_invalid_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--synthetic", str(config_file(tmp_path, model_type="other"))]) == 2
    assert "its-own-name.json: model_type is 'other'" in failed(capsys)


def test_bench_refuses_a_model_that_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from shoestring.runtime import memory

    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 20)
    out = tmp_path / "kept.gguf"
    assert run(["bench", "--synthetic", str(config_file(tmp_path)), "--output", str(out)]) == 2
    assert re.search(r"needs [\d.]+ [MG]iB of memory for its weights and 1\.00 MiB are free", failed(capsys))
    assert not out.exists()
