"""Chat templates of strangers: one line and exit code 2, whether they fail when loaded or while rendering."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import random_models
from commands import failed

from shoestring.cli.app import run
from shoestring.samples import synthetic

INVALID = ["{% include 'x' %}", "{{ messages | pprint }}", "{{ " + "(" * 9999 + " }}", "{{ a }}" * 18_000]
FAILING = [
    "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% set ns = namespace(x='xx') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{{ raise_exception('\x1b]52;c;x\x07' ~ '\u202e' ~ 'x' * 10 ** 6) }}",
]


@pytest.fixture
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A file with the template that the test names."""
    metadata = synthetic.metadata
    monkeypatch.setattr(
        synthetic, "metadata", lambda config, **_: {**metadata(config), "tokenizer.chat_template": request.param}
    )
    path = tmp_path / "model.gguf"
    synthetic.write_synthetic(random_models.qwen3_5(), path, "Q4_0")
    return str(path)


@pytest.mark.parametrize("model", INVALID + FAILING, indirect=True)
def test_run_refuses_a_template_in_one_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.process_time()
    assert run(["run", model, "hi", "--chat"]) == 2
    assert time.process_time() - began < 4  # 2 s beyond loading
    error = failed(capsys)
    assert "model.gguf (tokenizer.chat_template): the chat template " in error
    assert len(error) < 700
    assert error.strip().isprintable()


@pytest.mark.parametrize("model", INVALID, indirect=True)
def test_inspect_says_why_a_template_cannot_be_used(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", model, "--json"]) == 0
    assert "the chat template is invalid" in json.loads(capsys.readouterr().out)["unusual"][0]
