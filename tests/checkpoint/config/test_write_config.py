"""A config survives being written and read, in both formats; no key is written that the reader does not know."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from published_configs import QWEN_35B, SCOUT

from shoestring.checkpoint.config.parse import parse_config, write_config
from shoestring.checkpoint.config.rotary import frequency_divisors
from shoestring.checkpoint.config.types import Config, Llama4Config, Qwen3_5Config, Rotary
from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, write_gguf
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import RequestError

counts = st.integers(1, 1 << 20)
#: GGUF has float32.
numbers = st.floats(2.0**-30, 2.0**30, width=32)
FORMATS = pytest.mark.parametrize("is_gguf", [True, False], ids=["gguf", "config.json"])


def through_a_file(config: Config, is_gguf: bool) -> Config:
    """Written, and read by the reader of the format."""
    if not is_gguf:
        metadata = json.loads(json.dumps(write_config(config, "safetensors")))
        return parse_config(Checkpoint(Path("/models/m"), "safetensors", {}, metadata, ()))
    tensors = []
    if not config.tie_word_embeddings:
        tensors.append(OutgoingTensor("output.weight", "F32", (1,), lambda: [bytes(4)]))
    if divisors := frequency_divisors(config.rotary):
        data = np.asarray(divisors, "<f4").view(np.uint8)
        tensors.append(OutgoingTensor("rope_freqs.weight", "F32", (len(divisors),), lambda: [data]))
    with TemporaryDirectory() as folder:
        write_gguf(Path(folder) / "m.gguf", write_config(config, "gguf"), tensors)
        return parse_config(open_gguf(Path(folder) / "m.gguf"))


@st.composite
def yarn(draw: st.DrawFn, rotary: Rotary) -> Rotary:
    return replace(
        rotary,
        scaling="yarn",
        factor=draw(st.floats(1, 64, width=32)),
        original_context=draw(st.integers(1, 1 << 18)),
        beta_fast=draw(st.sampled_from([32.0, 16.5])),
        beta_slow=draw(st.sampled_from([1.0, 2.0])),
        attention_factor=draw(st.none() | st.floats(0.5, 2, width=32)),
    )


@st.composite
def qwen_configs(draw: st.DrawFn, is_gguf: bool) -> Qwen3_5Config:
    layers, mixture = draw(st.integers(1, 9)), draw(st.booleans())
    head_dim = draw(st.integers(2, 300))
    dims = 2 * draw(st.integers(1, head_dim // 2))
    height = draw(st.integers(0, dims // 2))
    width = draw(st.integers(0, dims // 2 - height))
    sections = (dims // 2 - height - width, height, width) if height or width else ()
    rotary = Rotary(dims=dims, theta=draw(numbers), sections=sections)
    context = draw(counts)
    if draw(st.booleans()):
        rotary = draw(yarn(rotary))
        context = max(context, int(rotary.factor * rotary.original_context))
    kv_heads, key_heads = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    experts = draw(st.integers(1, 512))
    widths = (
        {
            "num_experts": experts,
            "num_experts_per_tok": draw(st.integers(1, experts)),
            "moe_intermediate_size": draw(counts),
            "shared_expert_intermediate_size": draw(counts),
        }
        if mixture
        else {"intermediate_size": draw(counts)}
    )
    return Qwen3_5Config(
        vocab_size=draw(counts),
        hidden_size=draw(counts),
        num_hidden_layers=layers,
        layer_types=tuple(
            draw(st.lists(st.sampled_from(["linear_attention", "full_attention"]), min_size=layers, max_size=layers))
        ),
        num_attention_heads=kv_heads * draw(st.integers(1, 8)),
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        rotary=rotary,
        rms_norm_eps=draw(numbers),
        linear_num_key_heads=key_heads,
        linear_num_value_heads=key_heads * draw(st.integers(1, 4)),
        linear_key_head_dim=draw(st.integers(1, 512)),
        linear_value_head_dim=draw(st.integers(1, 512)),
        linear_conv_kernel_dim=draw(st.integers(1, 8)),
        tie_word_embeddings=draw(st.booleans()),
        max_position_embeddings=context,
        mtp_num_hidden_layers=draw(st.integers(0, 2)),
        value_head_order="tiled" if is_gguf else "grouped",
        **widths,
    )


@st.composite
def llama_configs(draw: st.DrawFn, is_gguf: bool) -> Llama4Config:
    layers = draw(st.integers(1, 9))
    flags = st.lists(st.booleans(), min_size=layers, max_size=layers).map(tuple)
    dims = 2 * draw(st.integers(1, 64))
    rotary = Rotary(dims=dims, theta=draw(numbers))
    if is_gguf:
        divisors = st.lists(st.floats(0.5, 64, width=32), min_size=dims // 2, max_size=dims // 2).map(tuple)
        rotary = replace(rotary, frequency_divisors=draw(st.just(()) | divisors))
    elif draw(st.booleans()):
        low = draw(st.floats(0.5, 4))
        high = low * draw(st.floats(1, 4))
        assume(high >= low)
        rotary = replace(
            rotary,
            scaling="llama3",
            factor=draw(st.floats(1, 64)),
            original_context=draw(counts),
            low_frequency_factor=low,
            high_frequency_factor=high,
        )
    rope_layers = draw(st.just(tuple((n + 1) % 4 != 0 for n in range(layers))) | flags)
    kv_heads, experts = draw(st.integers(1, 8)), draw(st.sampled_from([128]) | st.integers(1, 256))
    return Llama4Config(
        vocab_size=draw(counts),
        hidden_size=draw(counts),
        num_hidden_layers=layers,
        num_attention_heads=kv_heads * draw(st.integers(1, 8)),
        num_key_value_heads=kv_heads,
        head_dim=dims,
        rotary=rotary,
        rms_norm_eps=draw(numbers),
        rope_layers=rope_layers,
        chunked_layers=draw(st.just(rope_layers) | flags),
        attention_chunk_size=draw(st.just(8192) | counts),
        moe_layers=draw(st.integers(1, 3).map(lambda step: tuple((n + 1) % step == 0 for n in range(layers))) | flags),
        use_qk_norm=draw(st.booleans()),
        attn_temperature_tuning=draw(st.booleans()),
        floor_scale=draw(st.just(8192) | counts),
        attn_scale=draw(st.just(0.1) | st.floats(1e-6, 1e6)),
        intermediate_size_mlp=draw(counts),
        intermediate_size=draw(counts),
        num_local_experts=experts,
        num_experts_per_tok=draw(st.integers(1, experts)),
        tie_word_embeddings=draw(st.booleans()),
        max_position_embeddings=draw(counts),
    )


@FORMATS
@settings(deadline=None)
@given(data=st.data())
def test_a_written_qwen_config_is_read_as_it_was(is_gguf: bool, data: st.DataObject) -> None:
    config = data.draw(qwen_configs(is_gguf))
    assert through_a_file(config, is_gguf) == config


@FORMATS
@settings(deadline=None)
@given(data=st.data())
def test_a_written_llama_config_is_read_as_it_was(is_gguf: bool, data: st.DataObject) -> None:
    config = data.draw(llama_configs(is_gguf))
    assert through_a_file(config, is_gguf) == config


@pytest.mark.parametrize("published", [SCOUT, QWEN_35B], ids=["llama4", "qwen3_5"])
def test_published_configs_pass_from_format_to_format(published: dict[str, object]) -> None:
    config = parse_config(Checkpoint(Path("/models/m"), "safetensors", {}, published, ()))
    assert through_a_file(config, is_gguf=False) == config
    converted = through_a_file(config, is_gguf=True)
    if isinstance(config, Qwen3_5Config) and isinstance(converted, Qwen3_5Config):
        assert converted.value_head_order == "tiled"
        assert through_a_file(converted, is_gguf=False) == replace(config, rms_norm_eps=converted.rms_norm_eps)
    else:
        divisors = np.asarray(frequency_divisors(config.rotary), np.float32)
        assert converted.rotary.frequency_divisors == tuple(divisors.tolist())
        assert divisors.min() == 1
        assert divisors.max() == 16
        with pytest.raises(RequestError, match=r"no field for the divisors .* in rope_freqs\.weight"):
            write_config(converted, "safetensors")
    assert np.float32(config.rms_norm_eps) == converted.rms_norm_eps


def test_keys_are_those_of_converters() -> None:
    """What llama.cpp and transformers look for, spelled out: a table that is wrong must not be right by itself."""
    scout = parse_config(Checkpoint(Path("/models/m"), "safetensors", {}, SCOUT, ()))
    written = write_config(scout, "safetensors")
    assert written["architectures"] == ["Llama4ForCausalLM"]
    text = SCOUT["text_config"] | {"model_type": "llama4_text"}
    for key in ("model_type", "num_local_experts", "intermediate_size_mlp", "rope_theta", "rope_scaling", "hidden_act"):
        assert written[key] == text[key]
    assert written["no_rope_layers"] == [1, 1, 1, 0] * 12
    metadata = write_config(scout, "gguf")
    assert metadata["general.architecture"] == "llama4"
    assert metadata["llama4.interleave_moe_layer_step"] == 1
    assert metadata["llama4.attention.key_length"] == metadata["llama4.attention.value_length"] == 128
    # The published constants need no keys of ours.
    assert not [key for key in metadata if key.startswith("shoestring.")]
    qwen = parse_config(Checkpoint(Path("/models/m"), "safetensors", {}, QWEN_35B, ()))
    metadata = write_config(qwen, "gguf")
    assert metadata["general.architecture"] == "qwen35moe"
    assert (metadata["qwen35moe.block_count"], metadata["qwen35moe.nextn_predict_layers"]) == (41, 1)
    assert metadata["qwen35moe.rope.dimension_sections"] == [11, 11, 10, 0]
    assert metadata["qwen35moe.ssm.inner_size"] == 32 * 128
    assert metadata["qwen35moe.full_attention_interval"] == 4
