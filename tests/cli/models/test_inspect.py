"""`shoestring inspect`: describes a file without the extension."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shoestring.cli.app import run
from shoestring.kv_types import KV_TYPES


def test_inspect_never_loads_the_extension(tmp_path: Path) -> None:
    import random_models

    from shoestring.samples.synthetic import write_synthetic

    path = tmp_path / "model.gguf"
    write_synthetic(random_models.qwen3_5(), path, "Q4_K_M")
    code = """if True:
        import sys
        from shoestring.cli.app import run
        assert run(["inspect", sys.argv[1], "--json"]) == 0
        assert "shoestring._kernels" not in sys.modules
        assert run(["inspect", sys.argv[1]]) == 0
        assert "shoestring._kernels" not in sys.modules
    """
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    facts = json.loads(result.stdout.splitlines()[0])
    assert facts["architecture"] == "qwen3_5"
    assert facts["experts"] == 8
    assert facts["experts_per_token"] == 2
    assert facts["parameters_active"] < facts["parameters_total"]
    assert facts["tensor_bytes"] == sum(size for types in facts["bytes"].values() for size in types.values())
    assert facts["layer_kinds"] == {"delta-net": 3, "full attention": 1}
    assert facts["chunk_bytes_per_token"] == facts["chunk_size"] == 0


def test_inspect_lists_fields_that_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tiny_models import TINY, TinyModel

    model = TINY["qwen-dense"]
    config = model.config | {"_attn_implementation_autoset": True, "temperature": 0.5, "tokenizer_class": "X"}
    assert run(["inspect", str(TinyModel(config, model.tensors).write(tmp_path))]) == 0
    expected = "fields that change no result: _attn_implementation_autoset, temperature, tokenizer_class\n"
    assert f"unusual        {expected}" in capsys.readouterr().out


def test_inspect_reports_the_state_of_chunked_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import random_models

    from shoestring.samples.synthetic import write_synthetic

    path = tmp_path / "model.gguf"
    write_synthetic(random_models.llama4(), path, "Q4_0")
    assert run(["inspect", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    # Keys and values of two heads of 64 in float16: one layer attends to the whole past, three to their chunk.
    assert facts["kv_bytes_per_token"] == 2 * 2 * 64 * 2
    assert facts["chunk_bytes_per_token"] == 3 * facts["kv_bytes_per_token"]
    whole = facts["sequence_bytes"]
    assert (whole["q8_0"] * 32, whole["f32"]) == (whole["f16"] * 17, whole["f16"] * 2), "there is no recurrent state"
    assert run(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "1.50 KiB per token in layers that attend to their chunk of 8,192 tokens" in said
    assert "with --kv-type q8_0)" in said


def test_inspect_counts_memory_for_the_kv_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import random_models

    from shoestring.runtime import loading
    from shoestring.samples.synthetic import write_synthetic

    monkeypatch.setattr(loading, "own_memory", lambda: 100 << 20)
    monkeypatch.setattr(loading, "free_memory", lambda: 8 << 30)
    path = tmp_path / "model.gguf"
    write_synthetic(random_models.llama4(), path, "Q4_0")

    def inspected(*options: str) -> dict[str, Any]:
        assert run(["inspect", str(path), *options, "--json"]) == 0
        facts: dict[str, Any] = json.loads(capsys.readouterr().out)
        return facts

    half, eight, single = inspected(), *(inspected("--kv-type", kind) for kind in ("q8_0", "f32"))
    assert half == inspected("--kv-type", "f16") | {"free_bytes": half["free_bytes"]}
    for facts, share in ((eight, 17 / 32), (single, 2)):
        assert facts["kv_bytes_per_token"] == share * half["kv_bytes_per_token"]
        assert facts["chunk_bytes_per_token"] == share * half["chunk_bytes_per_token"]
        state = half["total_bytes"] - half["weight_bytes"] - half["workspace_bytes"]
        assert facts["total_bytes"] - facts["weight_bytes"] - facts["workspace_bytes"] == pytest.approx(share * state)
    assert eight["streaming"]["least_bytes"] < half["streaming"]["least_bytes"] < single["streaming"]["least_bytes"]
    states = [inspected("--kv-type", kind, "--memory", "4GiB")["streaming"]["resident"]["state"] for kind in KV_TYPES]
    assert dict(zip(KV_TYPES, states, strict=True)) == {
        "f16": states[0],
        "f32": 2 * states[0],
        "q8_0": 17 * states[0] // 32,
    }
    assert run(["inspect", str(path), "--kv-type", "q8_0"]) == 0
    said = capsys.readouterr().out
    assert "816 B per token in layers that attend to their chunk of 8,192 tokens" in said
    assert "(KV q8_0; " in said
    assert "with --kv-type f16)" in said
