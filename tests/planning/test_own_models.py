"""Models outside the catalogue: a local file and folder, a Hub repository."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from random_models import llama4, qwen3_5

from shoestring.catalogue.load import FOLDER, builtin_catalogue
from shoestring.cli.app import run
from shoestring.errors import RequestError
from shoestring.planning.assess import Question, assess
from shoestring.planning.candidates.checkpoints import hub_part
from shoestring.planning.candidates.formats import OWN_TYPES
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.hardware.machine import SYSTEM_BYTES, Hardware
from shoestring.planning.memory import need
from shoestring.planning.plan import plan
from shoestring.runtime.opening import open_model
from shoestring.samples.synthetic import synthetic_bytes, write_synthetic

CATALOGUE = builtin_catalogue()


@pytest.mark.parametrize(
    "config", [qwen3_5(), qwen3_5(experts=0, tied=True), llama4(step=2)], ids=["moe", "dense", "llama4"]
)
def test_a_local_file_counts_its_stored_and_loaded_bytes(config: Any, tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    write_synthetic(config, path, "Q4_K_M")
    p = plan(str(path), hardware="cpu:4c+8g", context=64)
    (a,) = p.assessments
    assert a.need.sizes.type == "as stored"
    divisors = 4 * config.rotary.dims // 2 if config.rotary.scaling == "llama3" else 0
    assert a.need.file.total == synthetic_bytes(config, "Q4_K_M") - divisors
    assert a.need.own
    assert a.need.weights_bytes == open_model(path).weight_bytes
    assert a.candidate.total == a.candidate.text.total
    assert a.placement.fit == "ram"
    assert a.command.lines == (
        f"shoestring chat {path} --context 64",
        f"shoestring serve {path} --context 64",
    )
    assert a.cost.offers == ()
    assert a.terms is None
    # With another type, the rules of that type apply, not the file.
    (other,) = plan(str(path), hardware="cpu:4c+8g", context=64, quant="Q8_0").assessments
    assert other.need.sizes.total > a.need.sizes.total


@pytest.mark.parametrize("type_", OWN_TYPES)
@pytest.mark.parametrize("config", [qwen3_5(experts=16), qwen3_5(experts=0), llama4()], ids=["moe", "dense", "llama4"])
def test_types_by_rule_are_what_is_loaded(config: Any, type_: str, tmp_path: Path) -> None:
    write_synthetic(config, tmp_path / "own.gguf", type_)
    candidate = replace(resolve(str(tmp_path / "own.gguf"), CATALOGUE), stored=(), loaded=())
    assert need(candidate, type_, 64, 1, own=True).weights_bytes == open_model(tmp_path / "own.gguf").weight_bytes


def test_what_only_others_have_memory_for_is_theirs() -> None:
    """Our engine packs Q4_K larger than the file has it: between the two sizes llama.cpp runs the model."""
    candidate = resolve("scout", CATALOGUE)
    candidate = replace(candidate, shapes=tuple(s for s in candidate.shapes if s.part != "vision"))
    theirs, ours = (need(candidate, "Q4_K_M", 64, 1, own=own).total_bytes for own in (False, True))
    assert ours > theirs + 1e8
    for room, engine, counted in ((theirs + 10**7, "llama.cpp", theirs), (ours + 10**7, "shoestring", ours)):
        m = Hardware("test", ram_bytes=room + SYSTEM_BYTES, ram_bandwidth=1e11)
        a = assess(candidate, m, Question(context=64, type="Q4_K_M"), CATALOGUE)
        assert (a.placement.fit, a.command.engine, a.need.total_bytes) == ("ram", engine, counted)


def test_a_local_file_with_a_catalogue_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.gguf"
    write_synthetic(qwen3_5(), path, "Q8_0")
    assert run(["compare", str(path), "scout", "--hardware", "cpu:4c+128g", "--context", "64", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [m["id"] for m in data["models"]] == ["own.gguf", "llama-4-scout"]
    assert data["models"][0]["licence"] is None


def test_a_broken_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(20))
    assert run(["plan", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def answer_with(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[str]:
    asked: list[str] = []

    def urlopen(request: urllib.request.Request, timeout: float) -> Any:
        asked.append(request.full_url)
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def test_a_hub_repository_needs_only_config_and_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    config = (FOLDER / "configs" / "qwen3.5-0.8b.json").read_bytes()
    asked = answer_with(monkeypatch, config)
    tensors = {
        "model.language_model.embed_tokens.weight": SimpleNamespace(data_offsets=(0, 1000), dtype="BF16"),
        "model.language_model.layers.0.linear_attn.out_proj.weight": SimpleNamespace(
            data_offsets=(1000, 1600), dtype="F8_E4M3"
        ),
        "model.visual.patch_embed.proj.weight": SimpleNamespace(data_offsets=(1600, 1700), dtype="BF16"),
        "mtp.fc.weight": SimpleNamespace(data_offsets=(1700, 1750), dtype="BF16"),
    }
    header = SimpleNamespace(files_metadata={"model.safetensors": SimpleNamespace(tensors=tensors)})
    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", lambda name: header)
    candidate = resolve("someone/Qwen3.5-0.8B-Tuned", CATALOGUE)
    assert asked == ["https://huggingface.co/someone/Qwen3.5-0.8B-Tuned/resolve/main/config.json"]
    assert candidate.total == 873_438_784
    assert dict(candidate.stored) == {"embeddings": 1000, "delta_net": 600, "vision": 100, "mtp": 50}
    assert dict(candidate.loaded) == {"embeddings": 1000, "delta_net": 4 * 600, "vision": 100}  # FP8 is widened


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (OSError("no route"), "cannot be reached"),
        (urllib.error.HTTPError("", 404, "", None, None), "returned 404"),  # type: ignore[arg-type]
        (urllib.error.HTTPError("", 401, "", None, None), "hf auth login"),  # type: ignore[arg-type]
        (b"[]", "not a JSON object"),
        (b"not json", "cannot be reached"),
    ],
)
def test_hub_errors(answer: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, answer)
    with pytest.raises(RequestError, match=said):
        resolve("someone/nothing", CATALOGUE)


@pytest.mark.parametrize(
    ("tensor", "part"),
    [
        ("lm_head.weight", "embeddings"),
        ("model.language_model.layers.3.self_attn.q_proj.weight", "attention"),
        ("model.language_model.layers.3.mlp.shared_expert.up_proj.weight", "shared_experts"),
        ("model.language_model.layers.3.mlp.experts.gate_up_proj", "routed_experts"),
        ("model.language_model.layers.3.mlp.gate.weight", "router"),
        ("model.language_model.layers.3.mlp.gate_proj.weight", "feed_forward"),
        ("language_model.model.layers.3.feed_forward.experts.down_proj", "routed_experts"),
        ("language_model.model.layers.3.feed_forward.router.weight", "router"),
        ("language_model.model.layers.3.input_layernorm.weight", "norms"),
        ("vision_model.model.layers.0.self_attn.q_proj.weight", "vision"),
        ("multi_modal_projector.linear_1.weight", "vision"),
        ("mtp.layers.0.mlp.experts.down_proj", "mtp"),
    ],
)
def test_parts_by_foreign_names(tensor: str, part: str) -> None:
    assert hub_part(tensor) == part
