"""Files of Ollama's library, by the keys and values that their owners have published, against the vendors' config.json.

Sources. Llama 4 Scout: what Ollama's /api/show answers for llama4:scout (modified 2025-05-17), whole, in the tests of
https://github.com/kevinhermawan/OllamaKit. Qwen 3.5: the names and values that readers of library files report: of
35B-A3B (blobs sha256-900dde62… and sha256-f5ee307a…), of 27B (its 64 head counts, 441 vision tensors, 15 MTP tensors,
48 `ssm_dt`) and of 4B (blob sha256-81fb60c7…), and https://github.com/ollama/ollama, convert/convert_qwen3next.go, for
the rest. No library file itself was read: tests contact no registry.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published_configs import QWEN_35B, QWEN_38_27B, SCOUT
from raw_gguf import ARRAY, BOOL, F32, I32, STRING, U32, array, pair, raw_gguf, text

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.rotary import frequency_divisors
from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.tensors import Checkpoint, Tensor

LLAMA4: dict[str, Any] = {
    "general.architecture": "llama4",
    "general.file_type": 15,
    "general.parameter_count": 108641793600,
    "general.quantization_version": 2,
    "llama4.attention.chunk_size": 8192,
    "llama4.attention.head_count": 40,
    "llama4.attention.head_count_kv": 8,
    "llama4.attention.head_dim": 128,
    "llama4.attention.key_length": 128,
    "llama4.attention.layer_norm_rms_epsilon": 1e-05,
    "llama4.attention.value_length": 128,
    "llama4.block_count": 48,
    "llama4.context_length": 10485760,
    "llama4.embedding_length": 5120,
    "llama4.expert_count": 16,
    "llama4.expert_feed_forward_length": 8192,
    "llama4.expert_used_count": 1,
    "llama4.feed_forward_length": 16384,
    "llama4.interleave_moe_layer_step": 1,
    "llama4.rope.dimension_count": 128,
    "llama4.rope.freq_base": 500000.0,
    "llama4.use_qk_norm": True,
    "llama4.vision.attention.head_count": 16,
    "llama4.vision.block_count": 34,
    "llama4.vision.embedding_length": 1408,
    "llama4.vision.feed_forward_length": 5632,
    "llama4.vision.image_size": 336,
    "llama4.vision.layer_norm_epsilon": 1e-05,
    "llama4.vision.patch_size": 14,
    "llama4.vision.pixel_shuffle_ratio": 0.5,
    "llama4.vision.rope.freq_base": 10000.0,
    "llama4.vocab_size": 202048,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.add_eos_token": False,
    "tokenizer.ggml.add_padding_token": False,
    "tokenizer.ggml.bos_token_id": 200000,
    "tokenizer.ggml.eos_token_id": 200008,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.padding_token_id": 200018,
    "tokenizer.ggml.pre": "default",
}
#: The keys that the library's files of Qwen 3.5 have in common
_QWEN: dict[str, Any] = {
    "attention.key_length": 256,
    "attention.layer_norm_rms_epsilon": 1e-06,
    "attention.value_length": 256,
    "context_length": 262144,
    "full_attention_interval": 4,
    "image_token_id": 248056,
    "mrope_sections": [11, 11, 10],
    "rope.dimension_count": 64,
    "rope.dimension_sections": [11, 11, 10],
    "rope.freq_base": 10000000.0,
    "rope.mrope_interleaved": True,
    "rope.mrope_section": [11, 11, 10],
    "ssm.conv_kernel": 4,
    "ssm.group_count": 16,
    "ssm.state_size": 128,
    "ssm.v_head_reordered": True,
    "vision.attention.head_count": 16,
    "vision.attention.layer_norm_epsilon": 1e-06,
    "vision.block_count": 27,
    "vision.deepstack_visual_indexes": [],
    "vision.embedding_length": 1152,
    "vision.image_mean": [0.5, 0.5, 0.5],
    "vision.image_std": [0.5, 0.5, 0.5],
    "vision.longest_edge": 16777216,
    "vision.num_channels": 3,
    "vision.patch_size": 16,
    "vision.rope.freq_base": 10000.0,
    "vision.shortest_edge": 65536,
    "vision.spatial_merge_size": 2,
    "vision.temporal_patch_size": 2,
    "vision_end_token_id": 248054,
    "vision_start_token_id": 248053,
}
_QWEN_GENERAL: dict[str, Any] = {
    "general.file_type": 15,
    "general.parameter_count": 36000000000,
    "general.quantization_version": 2,
    "tokenizer.ggml.add_eos_token": False,
    "tokenizer.ggml.add_padding_token": False,
    "tokenizer.ggml.eos_token_id": 248046,
    "tokenizer.ggml.eos_token_ids": [248046, 248044],
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.padding_token_id": 248044,
    "tokenizer.ggml.pre": "qwen35",
    "tokenizer.ggml.scores": [],
}


def qwen(arch: str, layers: int, kv_heads: int, **fields: Any) -> dict[str, Any]:
    """The keys of a file; the head counts have a zero for each recurrent layer."""
    counts = [kv_heads if layer % 4 == 3 else 0 for layer in range(layers)]
    own = _QWEN | {"block_count": layers, "attention.head_count_kv": counts} | fields
    return {"general.architecture": arch, **_QWEN_GENERAL, **{f"{arch}.{key}": value for key, value in own.items()}}


QWEN_35B_A3B = qwen(
    "qwen35moe", 40, 2,
    **{"attention.head_count": 16, "embedding_length": 2048, "expert_count": 256, "expert_used_count": 8,
       "expert_feed_forward_length": 512, "expert_shared_feed_forward_length": 512, "feed_forward_length": 0,
       "norm_top_k_prob": True, "ssm.inner_size": 4096, "ssm.time_step_rank": 32},
)  # fmt: skip
QWEN_27B = qwen(
    "qwen35", 64, 4,
    **{"attention.head_count": 24, "embedding_length": 5120, "feed_forward_length": 17408, "ssm.inner_size": 6144,
       "ssm.time_step_rank": 48},
)  # fmt: skip
#: name → (keys of Ollama's file, config.json, size of the vocabulary)
LIBRARY: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "llama4:scout": (LLAMA4, SCOUT, 202048),
    "qwen3.5:35b-a3b": (QWEN_35B_A3B, QWEN_35B, 248320),
    "qwen3.5:27b": (QWEN_27B, QWEN_38_27B, 248320),
}


def values_of(config: Any) -> dict[str, Any]:
    """What decides the arithmetic, without what each format writes in its own way."""
    apart = ("notes", "rotary", "value_head_order", "mtp_num_hidden_layers", "tie_word_embeddings")
    return {name: value for name, value in vars(config).items() if name not in apart}


def parsed(metadata: dict[str, Any], format: Any, tensors: tuple[Tensor, ...] = ()) -> Any:
    path = Path("/models/m.gguf" if format == "gguf" else "/models/m")
    return parse_config(Checkpoint(path, format, {tensor.name: tensor for tensor in tensors}, metadata, ()))


@pytest.mark.parametrize("name", LIBRARY)
def test_a_file_of_the_library_says_what_its_vendor_says(name: str) -> None:
    metadata, published, size = LIBRARY[name]
    vendors = parsed(published, "safetensors")
    tensors: tuple[Tensor, ...] = ()
    if name.startswith("llama4"):
        # Ollama's converter writes the stretched frequencies as this tensor, as llama.cpp's does.
        divisors = np.array(frequency_divisors(vendors.rotary), "<f4")
        data = divisors.view(np.uint8)
        tensors = (Tensor("rope_freqs.weight", "F32", divisors.shape, Path("/models/m.gguf"), 0, data),)
    tokens = {"tokenizer.ggml.tokens": [f"t{number}" for number in range(size)]}
    theirs = parsed(metadata | tokens, "gguf", tensors)
    assert values_of(theirs) == values_of(vendors)
    assert replace(theirs.rotary, frequency_divisors=()) == replace(
        vendors.rotary, scaling="none", factor=theirs.rotary.factor, original_context=theirs.rotary.original_context,
        low_frequency_factor=theirs.rotary.low_frequency_factor,
        high_frequency_factor=theirs.rotary.high_frequency_factor,
    )  # fmt: skip
    assert np.allclose(theirs.rotary.frequency_divisors, frequency_divisors(vendors.rotary), rtol=1e-6)


def written(value: Any, number: int) -> tuple[int, bytes]:
    """A value as its kind and its bytes. number: the kind of whole numbers."""
    match value:
        case bool():
            return BOOL, struct.pack("<?", value)
        case int():
            kind, form = (U32, "<I") if number == U32 else (I32, "<i")
            return (kind, struct.pack(form, value)) if value < 1 << 31 else (10, struct.pack("<Q", value))
        case float():
            return F32, struct.pack("<f", value)
        case str():
            return STRING, text(value)
    items = [written(item, I32) for item in value]
    return ARRAY, array(items[0][0] if items else I32, len(items), b"".join(data for _, data in items))


@pytest.mark.parametrize("name", LIBRARY)
def test_the_header_of_such_a_file_is_read(name: str, tmp_path: Path) -> None:
    """With the kinds that Ollama's writer gives its values; lists may be empty."""
    metadata, _, _ = LIBRARY[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([pair(key, *written(value, U32)) for key, value in metadata.items()]))
    opened = open_gguf(path).metadata
    assert set(opened) >= set(metadata)
    for key, value in metadata.items():
        assert opened[key] == pytest.approx(value) if isinstance(value, float) else opened[key] == value, key
