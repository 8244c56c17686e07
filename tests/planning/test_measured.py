"""Speeds that `shoestring bench` measured: saved, found again, and used where they are the model's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.errors import RequestError
from shoestring.planning.assess import Question, assess
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.hardware.detect import this_key
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.measured import kept_seconds, read_measured, recall, remember, type_in
from shoestring.planning.plan import plan as make
from shoestring.planning.speed import scale_of

CATALOGUE = builtin_catalogue()
SCOUT = resolve("scout", CATALOGUE)
FACTS = {"prefill_tokens_per_second": 90.0, "decode_tokens_per_second": 7.5, "threads": 2, "kv_type": "f16"}


def test_measurements_replace_estimates(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    facts = {"model": "unsloth/Qwen3.5-35B-A3B-GGUF:Q4_K_M", "decode_tokens_per_second": 12.5,
             "prefill_tokens_per_second": 80.0}  # fmt: skip
    path.write_text(json.dumps(facts))
    measured = read_measured(path, CATALOGUE)
    assert (measured.model, measured.type) == ("qwen3.5-35b-a3b", "Q4_K_M")
    m = parse_hardware("cpu:8c-2ch-ddr5+64g", CATALOGUE)
    a = assess(resolve("qwen3.5:35b-a3b", CATALOGUE), m, Question(measured=(measured,)), CATALOGUE)
    assert (a.speed.decode, a.speed.prefill, a.speed.label) == (12.5, 80.0, "measured here")
    other = assess(SCOUT, m, Question(measured=(measured,)), CATALOGUE)
    assert other.speed.label != "measured here"
    path.write_text("[]")
    with pytest.raises(RequestError, match="bench"):
        read_measured(path, CATALOGUE)


def test_plan_finds_and_reports_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert recall(CATALOGUE) == ()
    file = tmp_path / "unsloth_Qwen3.5-0.8B-GGUF" / "Qwen3.5-0.8B-Q4_K_M.gguf"
    kept = remember(FACTS | {"model": "qwen3.5:0.8b"}, file)
    assert kept is not None
    assert this_key() == kept.parent.name
    (known,) = recall(CATALOGUE)
    assert (known.model, known.type, known.decode) == ("qwen3.5-0.8b", "Q4_K_M", 7.5)
    planned = make("qwen3.5:0.8b", quant="Q4_K_M", min_speed=0)
    speed = planned.assessments[0].speed
    if planned.assessments[0].placement.fit == "ram":
        assert (speed.decode, speed.label) == (7.5, "measured here")
    assert any("measured here: qwen3.5-0.8b" in note for note in planned.machine.notes)
    elsewhere = make("qwen3.5:0.8b", quant="Q4_K_M", hardware="cpu:8c-2ch-ddr5+64g")
    assert elsewhere.assessments[0].speed.label == "estimated"
    remember(FACTS | {"model": "qwen3.5:0.8b", "decode_tokens_per_second": 8.0}, file)
    assert [m.decode for m in recall(CATALOGUE)] == [8.0]
    kept.write_text("{")
    assert recall(CATALOGUE) == ()


def test_measurements_with_other_settings_are_not_the_models_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    file, facts = tmp_path / "Qwen3.5-0.8B-Q4_K_M.gguf", FACTS | {"model": "qwen3.5:0.8b"}

    def speeds() -> list[tuple[str, float]]:
        return sorted((m.kv_type, m.decode) for m in recall(CATALOGUE))

    remember(facts, file, usual_threads=2)
    remember(facts | {"threads": 1, "decode_tokens_per_second": 3.0}, file, usual_threads=2)
    assert speeds() == [("f16", 7.5)], "another number of threads replaces nothing"
    remember(facts | {"kv_type": "q8_0", "decode_tokens_per_second": 5.0}, file, usual_threads=2)
    assert speeds() == [("f16", 7.5), ("q8_0", 5.0)], "each KV type has its own"
    m = parse_hardware("cpu:8c-2ch-ddr5+64g", CATALOGUE)
    for kv_type, rate in (("f16", 7.5), ("q8_0", 5.0)):
        question = Question(measured=recall(CATALOGUE), kv_type=kv_type, type="Q4_K_M", min_speed=0)
        speed = assess(resolve("qwen3.5:0.8b", CATALOGUE), m, question, CATALOGUE).speed
        assert (speed.decode, speed.label) == (rate, "measured here")
    single = Question(measured=recall(CATALOGUE), kv_type="f32", type="Q4_K_M")
    assert assess(resolve("qwen3.5:0.8b", CATALOGUE), m, single, CATALOGUE).speed.label == "estimated"
    assert [kept_seconds(file, threads, kv) for threads, kv in ((2, "f16"), (1, "f16"), (2, "q8_0"), (1, "q8_0"))] == [
        1 / 7.5, 1 / 3.0, 1 / 5.0, None]  # fmt: skip


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"streaming": {}}, "with experts on disk"),
        ({"changed_experts": "4 experts a token instead of 8"}, "with 4 experts a token instead of 8"),
        ({"layers": 4}, "with 4 layers"),
    ],
)
def test_measurements_of_another_model_are_refused(other: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(FACTS | {"model": "qwen3.5:0.8b"} | other))
    with pytest.raises(RequestError, match=f"was measured {said}: plan needs"):
        read_measured(path, CATALOGUE)


def test_the_rate_of_a_short_prompt_is_not_that_of_prompts(tmp_path: Path) -> None:
    path, m = tmp_path / "bench.json", parse_hardware("cpu:8c-2ch-ddr5+64g", CATALOGUE)
    path.write_text(json.dumps(FACTS | {"model": "qwen3.5:0.8b", "type": "Q4_K_M", "prompt_tokens": 64}))
    known = read_measured(path, CATALOGUE)
    assert (known.decode, known.prefill) == (7.5, None)
    scale = scale_of((known,), m, CATALOGUE)
    assert scale is not None
    assert scale.prefill == 1
    candidate, asked = resolve("qwen3.5:0.8b", CATALOGUE), Question(type="Q4_K_M")
    before, after = (
        assess(candidate, m, replace(asked, measured=found), CATALOGUE, scale).speed for found in ((), (known,))
    )
    assert (after.decode, after.prefill) == (7.5, before.prefill)


def test_a_local_file_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    remember(FACTS | {"model": "mine.gguf"}, tmp_path / "mine.gguf")
    assert [(m.model, m.type) for m in recall(CATALOGUE)] == [("mine.gguf", "as stored")]


def test_an_unwritable_data_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert remember(FACTS | {"model": "x"}, tmp_path / "x.gguf") is None
    assert recall(CATALOGUE) == ()


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("Qwen3.5-9B-Q4_K_M.gguf", "Q4_K_M"),
        ("model-F16.gguf", "BF16"),
        ("x-Q4_K_S.gguf", ""),
        ("Qwen3.5-9B-FP8", "FP8"),
    ],
)
def test_types_are_read_from_file_names(name: str, type_: str) -> None:
    assert type_in(name) == type_
