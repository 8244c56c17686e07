"""Fields that cannot reach the arithmetic: accepted and listed. Everything else is refused by name."""

import copy
from pathlib import Path
from typing import Any

import pytest
from published_configs import QWEN_35B, QWEN_38_27B, SCOUT

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError

BOTH = pytest.mark.parametrize("config", [SCOUT, QWEN_35B], ids=["llama4", "qwen3_5"])

HARMLESS: dict[str, Any] = {
    "_attn_implementation_autoset": True,
    "_commit_hash": "0123",
    "tokenizer_class": "Qwen2Tokenizer",
    "auto_map": {"AutoConfig": "x--y.Config"},
    "transformers.js_config": {"dtype": "q4"},
    "temperature": 0.6,
    "do_sample": True,
    "max_length": 20,
    "num_return_sequences": 1,
    "typical_p": 1.0,
    "gradient_checkpointing": True,
    "hidden_dropout": 0.1,
    "router_z_loss_coef": 0.001,
    "peft_version": "0.18",
    "is_decoder": True,
    "max_window_layers": 28,
    "attn_implementation": "flash_attention_2",
}
#: fields of transformers' base config that change a model, and fields of other models
HARMFUL: dict[str, Any] = {
    "pruned_heads": {"1": [0]},
    "is_encoder_decoder": True,
    "add_cross_attention": True,
    "sliding_window": 4096,
    "use_sliding_window": True,
    "logits_scaling": 16.0,
    "residual_multiplier": 0.22,
    "final_logit_softcapping": 30.0,
    "mlp_bias": True,
    "adapter_path": "lora",
    "routed_scaling_factor": 2.5,
    "pretraining_tp": 2,
    "scoring_func": "tanh",
}


def parsed(metadata: dict[str, Any]) -> Config:
    return parse_config(Checkpoint(Path("/models/m"), "safetensors", {}, metadata, ()))


def with_text(config: dict[str, Any], **fields: Any) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    changed["text_config"].update(fields)
    return changed


def listed(config: Config) -> str:
    return next((note for note in config.notes if note.startswith("fields that change no result")), "")


@BOTH
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_fields_are_accepted_and_listed(config: dict[str, Any], name: str) -> None:
    plain = parsed(config)
    assert not listed(plain)
    outer, inner = parsed(config | {name: HARMLESS[name]}), parsed(with_text(config, **{name: HARMLESS[name]}))
    assert outer == inner == plain
    assert listed(outer).endswith(f": {name}")
    assert listed(inner).endswith(f": text_config.{name}")


@BOTH
@pytest.mark.parametrize("name", HARMFUL)
def test_harmful_fields_are_refused_by_name(config: dict[str, Any], name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"text_config\.{name}"):
        parsed(with_text(config, **{name: HARMFUL[name]}))
    with pytest.raises(CheckpointError, match=rf"unknown fields could change the answer: {name}"):
        parsed(config | {name: HARMFUL[name]})


@BOTH
def test_harmless_names_inside_rotary_and_quantization_are_refused(config: dict[str, Any]) -> None:
    key = "rope_scaling" if config is SCOUT else "rope_parameters"
    rope = config["text_config"][key] | {"temperature": 0.5}
    with pytest.raises(CheckpointError, match=rf"text_config\.{key}\.temperature"):
        parsed(with_text(config, **{key: rope}))
    fp8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    with pytest.raises(CheckpointError, match=r"quantization_config\._x"):
        parsed(config | {"quantization_config": fp8 | {"_x": 1}})


@BOTH
def test_many_fields_are_counted(config: dict[str, Any]) -> None:
    note = listed(parsed(config | {f"_{n}": 1 for n in range(100)}))
    assert note.endswith(" and 80 more")
    assert len(note) < 200
    hostile = listed(parsed(config | {"_\x1b[2J" + "a" * 300: 1}))
    assert hostile.isprintable()
    assert len(hostile) < 200


@BOTH
def test_outer_copies_are_compared(config: dict[str, Any]) -> None:
    copies = {
        key: config["text_config"][key] for key in ("hidden_size", "vocab_size", "num_hidden_layers", "hidden_act")
    }
    assert parsed(config | copies) == parsed(config)
    for key in copies:
        with pytest.raises(CheckpointError, match=rf"config\.json: {key} is 5, but text_config\.{key} is "):
            parsed(config | copies | {key: 5})
    # There is nothing to compare with.
    with pytest.raises(CheckpointError, match="unknown fields could change the answer: moe_group_size"):
        parsed(config | {"moe_group_size": 5})


def test_defaults_spelled_out() -> None:
    assert parsed(with_text(SCOUT, nope_layer_interval=4)) == parsed(SCOUT)
    for wrong in (3, "4", 0, 4.0):
        with pytest.raises(CheckpointError, match=r"text_config\.nope_layer_interval is "):
            parsed(with_text(SCOUT, nope_layer_interval=wrong))
    spelled = with_text(SCOUT, no_rope_layers=[1, 0] * 24, nope_layer_interval=2)
    assert parsed(spelled) == parsed(with_text(SCOUT, no_rope_layers=[1, 0] * 24))
    assert parsed(with_text(SCOUT, pretraining_tp=1, scoring_func="sigmoid")) == parsed(SCOUT)
    assert parsed(with_text(QWEN_35B, routed_scaling_factor=1.0, scoring_func="softmax")) == parsed(QWEN_35B)


def test_later_releases_of_the_same_model_types() -> None:
    config = parsed(QWEN_38_27B)
    assert (config.hidden_size, config.num_hidden_layers, config.head_dim) == (5120, 64, 256)
    assert not config.notes
    assert parsed(with_text(QWEN_38_27B, output_gate_type="silu")) == config
    assert parsed(QWEN_38_27B | {"language_model_only": True}) == config
    with pytest.raises(CheckpointError, match=r"output_gate_type is 'sigmoid', only 'swish' or 'silu'"):
        parsed(with_text(QWEN_38_27B, output_gate_type="sigmoid"))


def test_another_model_type_is_refused_by_that_name() -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: model_type is 'qwen4_exp': models of qwen3_5"):
        parsed(QWEN_38_27B | {"model_type": "qwen4_exp"})
    with pytest.raises(CheckpointError, match=r"text_config\.model_type is 'qwen4_exp_text', only 'qwen3_5_text'"):
        parsed(with_text(QWEN_38_27B, model_type="qwen4_exp_text"))
