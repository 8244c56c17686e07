"""`shoestring inspect`: describes a file without the extension."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shoestring.cli.app import run


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
    assert facts["chunk_bytes_per_token_f16"] == facts["chunk_size"] == 0


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
    assert facts["kv_bytes_per_token_f16"] == 2 * 2 * 64 * 2
    assert facts["chunk_bytes_per_token_f16"] == 3 * facts["kv_bytes_per_token_f16"]
    assert facts["sequence_bytes_q8_0"] * 32 == facts["sequence_bytes_f16"] * 17, "there is no recurrent state"
    assert run(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "1.50 KiB per token in layers that attend to their chunk of 8,192 tokens" in said
    assert "with --kv-type q8_0)" in said
