"""Experts of every format are found on disk: streamed they have the bits of those that were loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streaming_models import applied, mixture, old, rows, streamed
from tiny_checkpoints import (
    gguf_metadata,
    gguf_tensors,
    hugging_face_config,
    hugging_face_tensors,
    tiny,
    write_gguf_file,
    write_hugging_face,
)

from shoestring.checkpoint.names.bind import Binding
from shoestring.errors import CheckpointError
from shoestring.runtime.opening import open_model
from shoestring.streaming.sources import expert_sources

KINDS = ("qwen-mixture", "scout", "maverick")
FORMS = ("gguf", "split gguf", "stacked F32", "stacked F16", "single F32", "single F16")


def write(form: str, kind: str, folder: Path) -> Path:
    model = tiny(kind, seed=len(form))
    if form.endswith("gguf"):
        path = folder / "m.gguf"
        write_gguf_file(path, gguf_metadata(model), gguf_tensors(model), **({"split": 20} if "split" in form else {}))
        path = min(folder.glob("*.gguf"))
    else:
        tensors = hugging_face_tensors(model, single_experts="single" in form)
        if "F16" in form:
            tensors = {n: v.astype(np.float16) if ".experts." in n else v for n, v in tensors.items()}  # type: ignore[misc]
        path = write_hugging_face(folder / "m", hugging_face_config(model), tensors)
    for file in folder.rglob("*"):
        if file.is_file():
            old(file)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form(form: str, kind: str, tmp_path: Path) -> None:
    model = mixture(write(form, kind, tmp_path))
    scaled = kind != "qwen-mixture"
    assert {layer.layer for layer in model.layers} == set(model.resident.tables)
    with streamed(model, 0.0) as experts:
        for seed in range(6):
            for layer in model.layers:
                for count in (1, 4, 40):
                    r = rows(model, count, seed)
                    expected = applied(model.resident, layer.layer, r, scale_input=scaled)
                    assert applied(experts, layer.layer, r, scale_input=scaled) == expected
        assert experts.totals().reads > len(model.layers) * 3


def changed(binding: Binding, name: str, **changes: object) -> Binding:
    source = binding.sources[name]
    return replace(binding, sources={**binding.sources, name: replace(source, **changes)})  # type: ignore[arg-type]


def test_what_cannot_stay_on_disk_is_refused_with_its_name(tmp_path: Path) -> None:
    opened = open_model(write("stacked F32", "qwen-mixture", tmp_path))
    name = "layers.2.experts.1.up"
    tensor = opened.binding.sources[name].tensor
    for changes in (
        {"scale": tensor, "tensor": replace(tensor, type="F8_E4M3")},
        {"fold": "add_one"},
        {"tensor": replace(tensor, type="F16")},
    ):
        with pytest.raises(CheckpointError, match=r"safetensors: .*layers\.2\.mlp\.experts\.gate_up_proj .*--memory"):
            expert_sources(opened.config, changed(opened.binding, name, **changes))


def test_a_dense_model_has_none(tmp_path: Path) -> None:
    model = tiny("qwen-dense")
    opened = open_model(write_hugging_face(tmp_path / "m", hugging_face_config(model), hugging_face_tensors(model)))
    assert expert_sources(opened.config, opened.binding) == ()
