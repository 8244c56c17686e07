"""Configs: the published ones as their vendors wrote them, every trap of a default, and what is refused."""

import copy
from pathlib import Path

import numpy as np
import pytest
from published_configs import QWEN_35B, SCOUT
from tiny_checkpoints import LAYERS, D, gguf_metadata, hugging_face_config, tiny

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.tensors import Checkpoint, Tensor
from shoestring.errors import CheckpointError


def parsed(metadata, kind="safetensors", tensors=()):
    path = Path("/models/m.gguf") if kind == "gguf" else Path("/models/m")
    return parse_config(Checkpoint(path, kind, {t.name: t for t in tensors}, metadata, ()))


def vector(name, values):
    data = np.asarray(values, np.float32)
    return Tensor(name, "F32", data.shape, Path("/models/m.gguf"), 0, data.view(np.uint8))


def with_text(config, **fields):
    changed = copy.deepcopy(config)
    changed["text_config"].update(fields)
    return changed


def without_text(config, *names):
    changed = copy.deepcopy(config)
    for name in names:
        del changed["text_config"][name]
    return changed


def test_scout_as_published():
    config = parsed(SCOUT)
    assert config.family == "llama4"
    assert config.rope_layers == config.chunked_layers == (True, True, True, False) * 12
    assert config.moe_layers == (True,) * 48
    assert (config.attn_temperature_tuning, config.floor_scale, config.attn_scale) == (True, 8192, 0.1)
    assert (config.intermediate_size, config.intermediate_size_mlp) == (8192, 16384)
    rotary = config.rotary
    assert (rotary.dims, rotary.theta, rotary.scaling, rotary.factor) == (128, 5e5, "llama3", 16.0)
    assert (rotary.low_frequency_factor, rotary.high_frequency_factor, rotary.original_context) == (1.0, 1.0, 8192)


def test_maverick_as_published():
    config = parsed(
        with_text(SCOUT, interleave_moe_layer_step=2, num_local_experts=128, use_qk_norm=False, rope_scaling=None)
    )
    assert config.moe_layers == (False, True) * 24
    assert not config.use_qk_norm
    assert config.rotary.scaling == "none"


def test_qwen_as_published():
    config = parsed(QWEN_35B)
    assert config.layer_types == (("linear_attention",) * 3 + ("full_attention",)) * 10
    assert (config.rotary.dims, config.rotary.theta, config.rotary.sections) == (64, 1e7, (11, 11, 10))
    assert config.value_head_order == "grouped"
    assert (config.num_experts, config.num_experts_per_tok, config.intermediate_size) == (256, 8, 0)
    # Of a multimodal model only the outer field ties the head.
    assert not config.tie_word_embeddings
    assert parsed(QWEN_35B | {"tie_word_embeddings": True}).tie_word_embeddings


def test_defaults_that_published_files_lean_on():
    llama = parsed(without_text(SCOUT, "attention_chunk_size", "use_qk_norm", "head_dim", "rope_theta"))
    assert (llama.attention_chunk_size, llama.use_qk_norm, llama.head_dim, llama.rotary.theta) == (8192, True, 128, 5e5)
    qwen = parsed(without_text(QWEN_35B, "layer_types", "head_dim"))
    assert qwen == parsed(QWEN_35B)


def test_one_in_no_rope_layers_means_rotary():
    config = parsed(with_text(SCOUT, no_rope_layers=[1, 0] * 24))
    assert config.rope_layers == config.chunked_layers == (True, False) * 24
    assert parsed(with_text(SCOUT, no_rope_layers=[1, 0] * 30)) == config  # longer than needed, as the reference
    config = parsed(with_text(SCOUT, layer_types=["full_attention"] * 48))
    assert config.rope_layers == (True, True, True, False) * 12
    assert config.chunked_layers == (False,) * 48


def test_moe_layers_go_before_the_step():
    assert parsed(with_text(SCOUT, moe_layers=[3, 5])).moe_layers == tuple(n in (3, 5) for n in range(48))


def test_yarn_stretches_the_context():
    rope = QWEN_35B["text_config"]["rope_parameters"] | {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 262144,
    }
    config = parsed(with_text(QWEN_35B, rope_parameters=rope))
    rotary = config.rotary
    assert (rotary.scaling, rotary.factor, rotary.original_context, rotary.attention_factor) == (
        "yarn",
        4.0,
        262144,
        None,
    )
    assert (rotary.beta_fast, rotary.beta_slow) == (32.0, 1.0)
    assert config.max_position_embeddings == 1048576
    assert "YaRN" in config.notes[0]
    metadata = gguf_metadata(tiny("qwen-dense")) | {
        "qwen35.rope.scaling.type": "yarn",
        "qwen35.rope.scaling.factor": 4.0,
        "qwen35.rope.scaling.original_context_length": 4096,
        "qwen35.rope.scaling.yarn_attn_factor": 1.25,
    }
    config = parsed(metadata, "gguf")
    assert (config.rotary.scaling, config.rotary.attention_factor) == ("yarn", 1.25)
    assert config.max_position_embeddings == 16384


def test_older_field_names_of_rotary():
    rope = {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 1000, "mrope_section": [11, 11, 10]}
    old = without_text(QWEN_35B, "rope_parameters")
    old["text_config"] |= {"rope_scaling": rope, "rope_theta": 1e7, "partial_rotary_factor": 0.25}
    rotary = parsed(old).rotary
    assert (rotary.scaling, rotary.dims, rotary.theta, rotary.factor) == ("yarn", 64, 1e7, 2.0)


def test_llama_4_in_gguf_has_the_published_constants_where_it_says_nothing():
    model = tiny("scout")
    config = parsed(gguf_metadata(model), "gguf")
    assert config.rope_layers == config.chunked_layers == (True, True, True, False)
    assert (config.attention_chunk_size, config.floor_scale, config.attn_scale) == (8192, 8192, 0.1)
    assert config.attn_temperature_tuning
    assert config.use_qk_norm
    assert config.notes
    assert not parsed(gguf_metadata(model) | {"llama4.expert_count": 128}, "gguf").use_qk_norm


def test_our_own_keys_of_llama_4():
    metadata = gguf_metadata(tiny("scout")) | {
        "shoestring.llama4.use_qk_norm": False,
        "shoestring.llama4.no_rope_layers": [1, 0, 1, 1],
        "shoestring.llama4.chunked_layers": [0, 0, 0, 1],
        "shoestring.llama4.moe_layers": [0, 1, 2],
        "shoestring.llama4.attention_chunk_size": 100,
        "shoestring.llama4.attn_temperature_tuning": False,
        "shoestring.llama4.floor_scale": 50,
        "shoestring.llama4.attn_scale": 0.5,
    }
    config = parsed(metadata, "gguf")
    assert config.rope_layers == (True, False, True, True)
    assert config.chunked_layers == (False, False, False, True)
    assert config.moe_layers == (True, True, True, False)
    assert not config.use_qk_norm
    assert not config.attn_temperature_tuning
    assert (config.attention_chunk_size, config.floor_scale, config.attn_scale) == (100, 50, 0.5)
    with pytest.raises(CheckpointError, match=r"unknown fields .* shoestring\.llama4\.attn_scle"):
        parsed(metadata | {"shoestring.llama4.attn_scle": 0.5}, "gguf")
    with pytest.raises(CheckpointError, match=r"unknown fields .* shoestring\.lama4\.x"):
        parsed(metadata | {"shoestring.lama4.x": 0.5}, "gguf")


def test_frequency_divisors_of_a_gguf_file():
    metadata = gguf_metadata(tiny("scout"))
    divisors = [1.0] * (D // 2 - 1) + [16.0]
    config = parsed(metadata, "gguf", [vector("rope_freqs.weight", divisors)])
    assert config.rotary.frequency_divisors == tuple(divisors)
    for wrong in ([1.0], [0.0] * (D // 2), [np.nan] * (D // 2)):
        with pytest.raises(CheckpointError, match=r"tensor rope_freqs\.weight"):
            parsed(metadata, "gguf", [vector("rope_freqs.weight", wrong)])


def test_tiny_recurrent_layers_in_gguf():
    metadata = gguf_metadata(tiny("qwen-dense"))
    config = parsed(metadata | {"qwen35.attention.recurrent_layers": [False, True, True, False]}, "gguf")
    assert config.layer_types == ("full_attention", "linear_attention", "linear_attention", "full_attention")
    with pytest.raises(CheckpointError, match=r"qwen35\.attention\.recurrent_layers is \[1\], 4 of 0 or 1 are needed"):
        parsed(metadata | {"qwen35.attention.recurrent_layers": [True]}, "gguf")


def test_other_models_are_refused_by_name():
    for name in ("qwen3_next", "llama", "mllama", "qwen3_5_vision"):
        with pytest.raises(
            CheckpointError, match=rf"config\.json: model_type is '{name}': models of qwen3_5, .* are run"
        ):
            parsed({"model_type": name})
    with pytest.raises(CheckpointError, match=r"general\.architecture is 'llama': models of qwen35, qwen35moe, llama4"):
        parsed({"general.architecture": "llama"}, "gguf")
    with pytest.raises(CheckpointError, match="there is no model_type"):
        parsed({})
    with pytest.raises(CheckpointError, match=r"model_type is \['llama4'\]"):
        parsed({"model_type": ["llama4"]})


@pytest.mark.parametrize("method", ["awq", "gptq", "modelopt", "compressed-tensors", None])
def test_other_quantizations_are_refused_by_name(method):
    with pytest.raises(CheckpointError, match=rf"quantization_config\.quant_method is {method!r}, only 'fp8'"):
        parsed(SCOUT | {"quantization_config": {"quant_method": method, "bits": 4}})


def test_block_fp8_is_read():
    fp8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    config = parsed(QWEN_35B | {"quantization_config": fp8 | {"modules_to_not_convert": ["lm_head"]}})
    assert "FP8" in config.notes[0]
    for wrong in ({"weight_block_size": [64, 64]}, {"weight_block_size": None}, {"fmt": "e5m2"}, {"new": 1}):
        with pytest.raises(CheckpointError, match=rf"quantization_config\.{next(iter(wrong))}"):
            parsed(QWEN_35B | {"quantization_config": fp8 | wrong})


@pytest.mark.parametrize("config", [SCOUT, QWEN_35B], ids=["llama4", "qwen3_5"])
def test_absent_is_an_error(config):
    """What has no default in the reference that published files lean on must be there."""
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "rms_norm_eps", "max_position_embeddings"):
        with pytest.raises(CheckpointError, match=rf"/models/m/config\.json: text_config\.{name} is missing"):
            parsed(without_text(config, name))


@pytest.mark.parametrize("config", [SCOUT, QWEN_35B], ids=["llama4", "qwen3_5"])
def test_unknown_is_named(config):
    with pytest.raises(CheckpointError, match=r"unknown fields could change the answer: text_config\.sliding_sinks"):
        parsed(with_text(config, sliding_sinks=4))
    with pytest.raises(CheckpointError, match=r"unknown fields could change the answer: embedding_multiplier"):
        parsed(config | {"embedding_multiplier": 12.0})
    # A feature that is switched off changes nothing.
    assert parsed(with_text(config, sliding_sinks=None, other=False)) == parsed(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 0}, "hidden_size is 0, an integer from 1"),
        ({"hidden_size": True}, "hidden_size is True, an integer"),
        ({"hidden_size": 1e3}, "hidden_size is 1000.0, an integer"),
        ({"hidden_size": 1 << 40}, "hidden_size is 1099511627776, an integer"),
        ({"num_hidden_layers": 1 << 30}, "num_hidden_layers is 1073741824, an integer from 1 to 4096"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan, a number above 0"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf, a number above 0"),
        ({"rms_norm_eps": -1e-6}, "rms_norm_eps is -1e-06, a number above 0"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps is 1000.*, a number above 0"),
        ({"rms_norm_eps": "1e-6"}, "rms_norm_eps is '1e-6', a number"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', only 'silu' is supported"),
        ({"attention_bias": True}, "attention_bias is True, only False is supported"),
        ({"num_key_value_heads": 3}, "num_attention_heads .* is no multiple of num_key_value_heads 3"),
        ({"num_experts_per_tok": 10_000}, "num_experts_per_tok 10000 exceeds"),
        ({"layer_types": ["full_attention"]}, "layer_types is .*full_attention.*, .* are needed"),
        ({"layer_types": "x"}, "layer_types is 'x'"),
    ],
)
@pytest.mark.parametrize("config", [SCOUT, QWEN_35B], ids=["llama4", "qwen3_5"])
def test_wrong_values_are_said(config, fields, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        parsed(with_text(config, **fields))
    assert str(caught.value).startswith("/models/m/config.json: ")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"rope_type": "dynamic"}, r"rope_type is 'dynamic', only 'default' and 'yarn'"),
        ({"mrope_section": [1, 1, 1]}, r"mrope_section is \[1, 1, 1\], three numbers that add up to 32"),
        ({"mrope_interleaved": False}, "mrope_interleaved is False, only True"),
        ({"partial_rotary_factor": 2}, r"partial_rotary_factor is 2\.0, an even share"),
        ({"rope_theta": None}, "rope_theta is missing"),
        ({"rope_type": "yarn"}, "original_max_position_embeddings is missing"),
        ({"rope_type": "yarn", "original_max_position_embeddings": 9, "factor": 2, "mscale": 1.0}, "unknown .*mscale"),
        ({"new": 3}, r"unknown .*rope_parameters\.new"),
    ],
)
def test_wrong_rotary_of_qwen(rope, message):
    changed = QWEN_35B["text_config"]["rope_parameters"] | rope
    with pytest.raises(CheckpointError, match=message):
        parsed(with_text(QWEN_35B, rope_parameters=changed))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type is 'yarn', only 'default' and 'llama3'"),
        ({"rope_scaling": {"rope_type": "llama3"}}, r"rope_scaling\.factor is missing"),
        ({"rope_scaling": 3}, "rope_scaling is 3, an object is needed"),
        ({"no_rope_layers": [1, 2] * 24}, "no_rope_layers is .*, a list of integers from 0 to 1"),
        ({"no_rope_layers": [1]}, r"no_rope_layers is \[1\], one of each of 48 layers"),
        ({"moe_layers": [48]}, r"moe_layers is \[48\], a list of integers from 0 to 47"),
        ({"attention_chunk_size": None}, "attention_chunk_size is None, chunked layers need a number"),
        ({"head_dim": 127}, "head_dim 127 is odd"),
    ],
)
def test_wrong_values_of_llama(fields, message):
    with pytest.raises(CheckpointError, match=message):
        parsed(with_text(SCOUT, **fields))


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("scout", {"llama4.block_count": None}, r"/models/m\.gguf: llama4\.block_count is missing"),
        ("scout", {"llama4.attention.sliding_window": 0}, "attention.sliding_window is 0, only 8192"),
        ("scout", {"llama4.expert_gating_func": 1}, "expert_gating_func is 1, only 2"),
        (
            "scout",
            {"llama4.attention.head_count": [4, 2]},
            r"head_count is \[4, 2\], one positive integer for all layers",
        ),
        ("scout", {"llama4.rope.dimension_count": 8}, "rope.dimension_count is 8, only 16"),
        ("scout", {"llama4.new": 8}, r"unknown fields could change the answer: llama4\.new"),
        ("scout", {"tokenizer.ggml.tokens": ["a"]}, "vocab_size is 40, only 1 is supported"),
        ("qwen-dense", {"qwen35.nextn_predict_layers": 4}, "nextn_predict_layers is 4, fewer than the block_count 4"),
        ("qwen-dense", {"qwen35.ssm.inner_size": 33}, "ssm.inner_size is 33, a multiple of"),
        ("qwen-dense", {"qwen35.rope.dimension_sections": [9, 0, 0, 0]}, "rope.dimension_sections is .* add up to 4"),
        ("qwen-dense", {"qwen35.rope.scaling.type": "linear"}, "rope.scaling.type is 'linear'"),
        ("qwen-dense", {"qwen35.ssm.group_count": 3}, "linear_num_value_heads 4 is no multiple of"),
    ],
)
def test_wrong_values_of_gguf(kind, fields, message):
    with pytest.raises(CheckpointError, match=message):
        parsed(gguf_metadata(tiny(kind)) | fields, "gguf")


def test_a_value_once_a_layer_counts_when_all_are_equal():
    metadata = gguf_metadata(tiny("scout"))
    per_layer = metadata | {"llama4.attention.head_count_kv": [2] * LAYERS}
    assert parsed(per_layer, "gguf") == parsed(metadata, "gguf")


def test_text_only_forms_have_the_same_config():
    for kind in ("qwen-dense", "qwen-mixture", "scout", "maverick"):
        model = tiny(kind)
        assert parsed(hugging_face_config(model, False)) == parsed(hugging_face_config(model, True))
