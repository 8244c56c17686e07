"""`plan --measure`: periods of layers, fewer experts, and measurements that replace estimates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from shoestring.catalogue.load import builtin_catalogue
from shoestring.checkpoint.config.types import Config, Llama4Config
from shoestring.cli.advise import measure
from shoestring.cli.app import app
from shoestring.errors import RequestError
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.hardware import kept
from shoestring.samples import synthetic
from shoestring.samples.synthetic import synthetic_bytes, with_layers

CONFIGS = {id: from_row(row).config for id, row in builtin_catalogue().models.items()}


@given(st.floats(1e-4, 1), st.floats(1e-4, 1), st.integers(1, 40))
def test_two_periods_tell_the_whole(head: float, each: float, periods: int) -> None:
    found = measure.whole(head + each, head + 2 * each, periods)
    assert found >= head + each
    if each >= (head + each) / 4:
        assert found == pytest.approx(head + periods * each)


@pytest.mark.parametrize("id", CONFIGS)
def test_a_period_has_every_kind_of_layer(id: str) -> None:
    config = CONFIGS[id]
    p = measure.period(config)
    assert set(measure.kinds(with_layers(config, p))) == set(measure.kinds(config))
    assert p == (4 if not isinstance(config, Llama4Config) else p)
    assert p <= 8


@pytest.mark.parametrize("id", CONFIGS)
@pytest.mark.parametrize("limit", [10**8, 3 * 10**9, 10**12])
def test_experts_are_reduced_and_said(id: str, limit: int) -> None:
    config = CONFIGS[id]
    shapes = measure.reduced(config, "Q4_K_M", limit, synthetic_bytes)
    if shapes is None:
        assert limit < 10**12
        return
    assert synthetic_bytes(with_layers(shapes.config, 2 * shapes.period), "Q4_K_M") <= limit
    assert config.num_experts_per_tok <= shapes.experts <= shapes.all_experts or not shapes.all_experts
    assert ("experts" in shapes.source) == (shapes.experts < shapes.all_experts)
    if limit == 10**12:
        assert shapes.experts == shapes.all_experts


def test_measurements_replace_estimates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(kept, "measure", lambda threads: 40e9)
    timed: list[int] = []

    def write(config: Config, path: Path, mix: str, **_: Any) -> None:
        timed.append(config.num_hidden_layers)
        path.write_text(str(config.num_hidden_layers))

    def speeds(path: Path) -> dict[str, float]:
        seconds = 0.010 + 0.001 * int(path.read_text())  # a head, and a millisecond a layer
        return {"decode_tokens_per_second": 1 / seconds, "prefill_tokens_per_second": 10 / seconds}

    monkeypatch.setattr(synthetic, "write_synthetic", write)
    monkeypatch.setattr(measure, "speeds", speeds)
    result = CliRunner().invoke(app, ["plan", "qwen3.5:0.8b", "--measure", "--json"])
    assert result.exit_code == 0, result.exception
    assert timed == [4, 8]
    planned = json.loads(result.output[result.output.index("{") :])
    speed = planned["models"][0]["speed"]
    assert speed["label"] == "measured here"
    (decode,) = [value for key, value in speed.items() if key.startswith("decode")]
    assert decode == pytest.approx(1 / (0.010 + 0.001 * CONFIGS["qwen3.5-0.8b"].num_hidden_layers), rel=1e-6)
    again = json.loads(CliRunner().invoke(app, ["plan", "qwen3.5:0.8b", "--json"]).output)
    assert again["models"][0]["speed"] == speed


def test_measuring_is_of_this_machine() -> None:
    result = CliRunner().invoke(app, ["plan", "--measure", "--hardware", "h100"])
    assert isinstance(result.exception, RequestError)
