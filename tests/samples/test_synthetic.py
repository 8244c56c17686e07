"""Synthetic models: valid, well scaled, the same bytes everywhere, typed as llama-quantize would type them."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import random_models

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.open import open_checkpoint
from shoestring.errors import CheckpointError, RequestError
from shoestring.samples.synthetic import fill, read_config, synthetic_bytes, with_layers, write_synthetic
from shoestring.samples.synthetic.mixes import FILE_TYPES, tensor_type

CONFIGS = Path(__file__).parents[2] / "bench" / "configs"
KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K")


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_valid_and_scaled(kind: str) -> None:
    blocks = fill.pool(kind, 0.05, seed=3)[:4000]
    values = gguf.dequantize(blocks.reshape(4, -1), gguf.GGMLQuantizationType[kind]).reshape(-1)
    assert np.isfinite(values).all()
    assert abs(values.std() / 0.05 - 1) < 0.12
    assert abs(values.mean()) < 0.005


#: sha256 of the first thousand blocks; the same on every machine, or golden hashes of models made of them are not.
HASHES = {"F32": "6b1b56cc20a376f2", "Q4_K": "d4ff84b59c2f3549", "Q6_K": "eda591264a4a69a8", "Q8_0": "fd07eda6bca3e150"}


@pytest.mark.parametrize("kind", HASHES)
def test_blocks_are_the_same_everywhere(kind: str) -> None:
    assert hashlib.sha256(fill.pool(kind, 0.05, seed=3)[:1000].tobytes()).hexdigest()[:16] == HASHES[kind]


@pytest.mark.parametrize("config", [random_models.qwen3_5(), random_models.llama4(step=2)], ids=["qwen3_5", "llama4"])
def test_written_file(config: random_models.Config, tmp_path: Path) -> None:
    path, again, other = tmp_path / "a.gguf", tmp_path / "b.gguf", tmp_path / "c.gguf"
    write_synthetic(config, path, "Q4_K_M", seed=1)
    write_synthetic(config, again, "Q4_K_M", seed=1)
    write_synthetic(config, other, "Q4_K_M", seed=2)
    assert path.read_bytes() == again.read_bytes() != other.read_bytes()
    reader = gguf.GGUFReader(str(path))
    assert sum(int(t.n_bytes) for t in reader.tensors) == synthetic_bytes(config, "Q4_K_M")
    assert reader.fields["general.file_type"].contents() == FILE_TYPES["Q4_K_M"]
    assert len(reader.fields["tokenizer.ggml.tokens"].contents()) == config.vocab_size
    names = Counter(t.name.split(".")[-2] if "." in t.name else t.name for t in reader.tensors)
    assert names["attn_norm"] == config.num_hidden_layers


def test_types_are_those_of_llama_quantize() -> None:
    """Read off `llama-quantize` (October 2026) on a model of 9 layers."""

    def types(mix: str, part: str, experts: int, tied: bool = False) -> list[str]:
        return [
            tensor_type(mix, f"blk.{i}.{part}.weight", (256, 256), layers=9, experts=experts, tied=tied)
            for i in range(9)
        ]

    more = ["Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q6_K", "Q6_K"]
    assert types("Q4_K_M", "ffn_down_exps", 4) == more
    assert types("Q4_K_M", "attn_qkv", 4) == more
    assert types("Q4_K_M", "attn_v", 8) == types("Q4_0", "attn_k", 8) == ["Q8_0"] * 9
    assert types("Q4_K_M", "attn_output", 8) == ["Q5_K"] * 9
    assert types("Q4_K_M", "ffn_gate_inp", 4) == types("Q8_0", "ssm_conv1d", 4) == ["F32"] * 9
    assert types("Q4_0", "ffn_down", 0) == ["Q4_0"] * 9

    def end(mix: str, name: str, tied: bool) -> str:
        return tensor_type(mix, name, (1024, 256), layers=9, experts=0, tied=tied)

    assert end("Q4_0", "output.weight", False) == end("Q4_0", "token_embd.weight", True) == "Q6_K"
    assert end("Q4_K_M", "token_embd.weight", False) == "Q4_K"
    assert end("Q8_0", "output.weight", False) == "Q8_0"
    assert tensor_type("Q4_K_M", "blk.1.attn_q.weight", (8, 160), layers=9, experts=0, tied=False) == "Q5_0"


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^type Q9 is unknown"):
        write_synthetic(random_models.llama4(), tmp_path / "m.gguf", "Q9")
    with pytest.raises(RequestError, match="no whole blocks of Q8_0"):
        tensor_type("Q8_0", "blk.1.attn_q.weight", (8, 40), layers=9, experts=0, tied=False)
    with pytest.raises(RequestError, match=r"^layers 5 is not between 1 and the config's 4"):
        with_layers(random_models.llama4(), 5)
    assert with_layers(random_models.qwen3_5(), 3).layer_types == ("linear_attention",) * 3
    assert list(tmp_path.iterdir()) == []


UNUSUAL = replace(
    random_models.llama4(layers=5),
    rope_layers=(True, True, False, True, True),
    chunked_layers=(False, True, False, True, True),
    moe_layers=(True, False, False, True, True),
    use_qk_norm=False,
    attn_temperature_tuning=False,
    attention_chunk_size=64,
    floor_scale=4,
    attn_scale=0.25,
)


@pytest.mark.parametrize(
    "config",
    [
        random_models.qwen3_5(),
        random_models.qwen3_5(experts=0, tied=True),
        with_layers(random_models.qwen3_5(), 3),
        random_models.llama4(),
        random_models.llama4(step=2),
        UNUSUAL,
    ],
)
def test_the_config_comes_back(config: random_models.Config, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_synthetic(config, path, "Q4_0")
    read = parse_config(open_checkpoint(path))
    # llama3 scaling is kept as divisors of the frequencies.
    kept = replace(config.rotary, scaling="none", factor=1.0, low_frequency_factor=1.0, original_context=0)
    assert replace(read.rotary, frequency_divisors=()) == kept
    assert bool(read.rotary.frequency_divisors) == (config.rotary.scaling == "llama3")
    assert read == replace(config, rms_norm_eps=read.rms_norm_eps, rotary=read.rotary)
    assert abs(read.rms_norm_eps / config.rms_norm_eps - 1) < 1e-6


@pytest.mark.parametrize("name", ["qwen3.5-64-experts", "llama4-16-experts"])
def test_configs_of_the_benchmarks(name: str) -> None:
    config = read_config(CONFIGS / f"{name}.json")
    assert (config.hidden_size, config.num_hidden_layers) == (2048, 8)
    assert 1e9 < synthetic_bytes(config, "Q4_K_M") < synthetic_bytes(config, "Q8_0") < 5e9


@pytest.mark.parametrize(
    ("text", "why"), [(None, "cannot be read"), ("{", "is not valid JSON "), ("[]", "not a JSON object")]
)
def test_bad_configs(text: str | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CheckpointError, match=why):
        read_config(path)
