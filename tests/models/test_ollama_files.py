"""Files of Ollama's own library: the bits of llama.cpp's form, the numbers of the Hugging Face folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_vocabulary
from ollama_files import (
    MTP_NAMES,
    VISION_NAMES,
    Tensors,
    llama_metadata,
    llama_tensors,
    newest_qwen_metadata,
    newest_qwen_tensors,
    ollama_llama_metadata,
    ollama_llama_tensors,
    ollama_qwen_metadata,
    ollama_qwen_tensors,
    qwen_metadata,
    qwen_tensors,
)
from run_steps import Float32, run
from tiny_checkpoints import write_gguf_file
from tiny_models import TINY, TinyModel, llama_config, tokens
from tiny_models import llama_tensors as hugging_face_llama

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError
from shoestring.models.weights import load_weights
from shoestring.runtime.loading import load
from shoestring.runtime.opening import Opened, open_model
from shoestring.stores import find_checkpoint

#: NoPE layers and temperature as published: Ollama's files have no keys for them.
PUBLISHED = {
    "no_rope_layers": [],
    "floor_scale": 8192,
    "rms_norm_eps": 2.0**-7,  # float32, as GGUF stores it
    "attn_scale": 0.1,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
QWEN = ("qwen-dense", "qwen-mixture")
LLAMA = {
    "scout": llama_config(**PUBLISHED, interleave_moe_layer_step=1),
    "maverick": llama_config(**PUBLISHED, use_qk_norm=False, attention_chunk_size=48),
}


def qwen(name: str) -> tuple[dict[str, Any], Tensors]:
    """A config with two value heads a key head, so that their order shows, and its tensors."""
    model = TINY[name]
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "mrope_section": [3, 3, 2]}
    config = model.config | {"rope_parameters": rope | {"mrope_interleaved": True}}
    assert config["linear_num_value_heads"] == 2 * config["linear_num_key_heads"]
    return config, model.tensors(config)


def logits(opened: Opened) -> Float32:
    loaded = load_weights(opened.config, opened.binding)
    return run(loaded, tokens(70, opened.config.vocab_size))


def new_folder(parent: Path) -> Path:
    (parent / "folder").mkdir()
    return parent / "folder"


def opened_gguf(path: Path, metadata: dict[str, Any], tensors: Tensors) -> Opened:
    return open_model(write_gguf_file(path, metadata, tensors))


def test_the_names_are_as_many_as_in_files_of_the_library() -> None:
    blocks = [name for name in VISION_NAMES if ".blk.0." in name]
    assert 27 * len(blocks) + len(VISION_NAMES) - len(blocks) == 441
    assert len(MTP_NAMES) == 15


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("name", QWEN)
def test_qwen_gives_the_bits_of_the_plain_form(tmp_path: Path, name: str, newest: bool) -> None:
    config, tensors = qwen(name)
    plain = qwen_tensors(config, tensors)
    metadata = newest_qwen_metadata(config) if newest else ollama_qwen_metadata(config)
    extended = newest_qwen_tensors(config, plain) if newest else ollama_qwen_tensors(plain)
    theirs = opened_gguf(tmp_path / "ollama.gguf", metadata, extended)
    ours = opened_gguf(tmp_path / "plain.gguf", qwen_metadata(config), plain)
    assert replace(theirs.config, mtp_num_hidden_layers=0) == ours.config
    assert np.array_equal(logits(theirs), logits(ours))
    folder = open_model(TinyModel(config, lambda c: tensors).write(new_folder(tmp_path)))
    expected = logits(folder)
    assert np.abs(logits(theirs) - expected).max() < 1e-4 * np.abs(expected).max()
    reasons = {reason for _, reason in theirs.binding.ignored}
    assert reasons == {"vision: images are not read yet", "multi-token prediction: not used yet"}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", LLAMA)
def test_llama_gives_the_bits_of_the_folder(tmp_path: Path, name: str, first: bool) -> None:
    config = LLAMA[name]
    hugging_face = hugging_face_llama(config)
    plain, gguf_config = llama_tensors(hugging_face), config | {"rope_theta": config["rope_parameters"]["rope_theta"]}
    theirs = opened_gguf(
        tmp_path / "ollama.gguf", ollama_llama_metadata(gguf_config, first), ollama_llama_tensors(plain)
    )
    ours = opened_gguf(tmp_path / "plain.gguf", llama_metadata(gguf_config), plain)
    folder = open_model(TinyModel(config, lambda c: hugging_face).write(new_folder(tmp_path)))
    assert theirs.config == ours.config == folder.config
    assert theirs.config.attention_chunk_size == config["attention_chunk_size"]
    assumed = "NoPE layers, temperature: as in the published models, the file has no keys for them"
    assert theirs.config.notes == (assumed,)
    expected = logits(folder)
    assert np.array_equal(logits(theirs), expected)
    assert np.array_equal(logits(ours), expected)


def read(metadata: dict[str, Any]) -> Any:
    return parse_config(Checkpoint(Path("/models/m.gguf"), "gguf", {}, metadata, ()))


def test_qwen_reads_each_key_alone() -> None:
    """Older and newer files of the library have some of the keys only."""
    config, _ = qwen("qwen-dense")
    whole = ollama_qwen_metadata(config)
    expected = read(whole)
    sections = ("qwen35.mrope_sections", "qwen35.rope.mrope_section", "qwen35.rope.dimension_sections")
    for only in sections:
        assert read({key: value for key, value in whole.items() if key == only or key not in sections}) == expected
    for name in ("ssm.v_head_reordered", "rope.mrope_interleaved", "vision.block_count", "image_token_id"):
        assert read({key: value for key, value in whole.items() if key != f"qwen35.{name}"}) == expected
    by_interval = read(whole | {"qwen35.attention.head_count_kv": 2, "qwen35.full_attention_interval": 3})
    assert by_interval.layer_types == ("linear_attention", "linear_attention", "full_attention", "linear_attention")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ssm.v_head_reordered": False}, r"qwen35\.ssm\.v_head_reordered is False, only True"),
        ({"rope.mrope_interleaved": False}, r"qwen35\.rope\.mrope_interleaved is False, only True"),
        ({"norm_top_k_prob": False}, r"qwen35\.norm_top_k_prob is False, only True"),
        ({"mrope_sections": [2, 3, 3]}, r"mrope_sections is \[2, 3, 3\], but rope.dimension_sections is \[3, 3, 2\]"),
        ({"rope.dimension_sections": [3, 3]}, r"rope.dimension_sections is \[3, 3\], t, h, w, 0"),
        ({"attention.head_count_kv": [0, 2, 1, 0]}, "head_count_kv is .*, 0 for recurrent layers and one number"),
        ({"attention.head_count_kv": [0, 0, 0, 0]}, "head_count_kv is .*, 0 for recurrent layers and one number"),
        ({"attention.head_count_kv": [0, 0, 2]}, "head_count_kv is .*, one for each of 4 layers"),
        ({"attention.head_count_kv": [0, 0, -2, 0]}, "head_count_kv is .*, a list of integers"),
        ({"full_attention_interval": 2}, "head_count_kv is .*, but full_attention_interval is 2"),
        ({"attention.recurrent_layers": [True, False, True, True]}, "but attention.recurrent_layers says otherwise"),
        ({"audio.block_count": 3}, r"unknown fields could change the answer: qwen35\.audio\.block_count"),
    ],
)
def test_markers_that_say_otherwise_are_refused(fields: dict[str, Any], message: str) -> None:
    config, _ = qwen("qwen-dense")
    with pytest.raises(CheckpointError, match=message):
        read(ollama_qwen_metadata(config) | {f"qwen35.{key}": value for key, value in fields.items()})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"intermediate_size_moe": 47}, "intermediate_size_moe is 47, but llama4.expert_feed_forward_length is 48"),
        ({"attention.head_dim": 64}, "attention.head_dim is 64, but llama4.attention.key_length is 32"),
        ({"attention.chunk_size": 0}, r"llama4\.attention\.chunk_size is 0, an integer from 1"),
        ({"use_qk_norm": "yes"}, r"llama4\.use_qk_norm is 'yes', true or false"),
    ],
)
def test_wrong_keys_of_llama_are_named_as_in_the_file(fields: dict[str, Any], message: str) -> None:
    metadata = ollama_llama_metadata(LLAMA["scout"] | {"rope_theta": 10000.0})
    with pytest.raises(CheckpointError, match=message):
        read(metadata | {f"llama4.{key}": value for key, value in fields.items()})


@pytest.mark.parametrize("family", ["qwen35", "llama4"])
def test_what_list_finds_in_the_store_runs(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = small_vocabulary.metadata(pre="default" if family == "llama4" else "qwen35")
    size = len(vocabulary["tokenizer.ggml.tokens"])
    if family == "qwen35":
        config = TINY["qwen-dense"].config | {"vocab_size": size}
        config["rope_parameters"] = qwen("qwen-dense")[0]["rope_parameters"]
        plain = qwen_tensors(config, TINY["qwen-dense"].tensors(config))
        metadata, tensors = ollama_qwen_metadata(config), ollama_qwen_tensors(plain)
    else:
        config = LLAMA["scout"] | {"vocab_size": size, "rope_theta": 10000.0}
        metadata = ollama_llama_metadata(config)
        tensors = ollama_llama_tensors(llama_tensors(hugging_face_llama(config)))
    blobs, manifest = tmp_path / "blobs", tmp_path / "manifests/registry.ollama.ai/library/tiny/1b"
    blobs.mkdir()
    manifest.parent.mkdir(parents=True)
    write_gguf_file(blobs / "sha256-abc", metadata | vocabulary, tensors)
    layer = '{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:abc", "size": 1}'
    manifest.write_text(f'{{"schemaVersion": 2, "layers": [{layer}]}}')
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    path = find_checkpoint("tiny:1b")
    assert path is not None
    model = load(path, threads=1, context=64)
    assert model.logits(model.encode("hello")).shape[1] == size
    assert list(model.generate("hello", max_tokens=3))
