"""Fields that cannot reach the arithmetic: accepted and listed. Everything else is refused by name."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from published_configs import QWEN_35B, QWEN_38_27B, SCOUT

from shoestring.catalogue.load import FOLDER
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


#: What transformers 4 writes into every config.json beside a model's own fields
_NULL = """
    bad_words_ids begin_suppress_tokens bos_token_id cross_attention_hidden_size decoder_start_token_id eos_token_id
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id pad_token_id prefix
    problem_type sep_token_id suppress_tokens task_specific_params tokenizer_class
"""
_FALSE = """
    add_cross_attention do_sample early_stopping is_decoder is_encoder_decoder tie_encoder_decoder output_attentions
    output_hidden_states output_scores remove_invalid_values return_dict_in_generate tf_legacy_loss torchscript
    use_bfloat16
"""
_ZERO = "diversity_penalty min_length encoder_no_repeat_ngram_size no_repeat_ngram_size chunk_size_feed_forward"
_ONE = """
    length_penalty num_beams num_beam_groups num_return_sequences repetition_penalty temperature top_p typical_p
"""
TRANSFORMERS_4: dict[str, Any] = {
    **dict.fromkeys(_NULL.split()),
    **dict.fromkeys(_FALSE.split(), False),
    **dict.fromkeys(_ZERO.split(), 0),
    **dict.fromkeys(_ONE.split(), 1),
    "_name_or_path": "x/y",
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "max_length": 20,
    "pruned_heads": {},
    "return_dict": True,
    "top_k": 50,
    "torch_dtype": "bfloat16",
}
PUBLISHED = sorted((FOLDER / "configs").glob("*.json"))


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_published_configs_with_what_transformers_4_adds(file: Path) -> None:
    assert len(PUBLISHED) > 10
    metadata = json.loads(file.read_text())
    plain = parsed(metadata)
    assert not listed(plain)
    text = metadata.get("text_config")
    both = TRANSFORMERS_4 | metadata | ({"text_config": TRANSFORMERS_4 | text} if text else {})
    assert parsed(both) == plain
    assert "temperature" in listed(parsed(both))


def test_another_model_type_is_refused_by_that_name() -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: model_type is 'qwen4_exp': models of qwen3_5"):
        parsed(QWEN_38_27B | {"model_type": "qwen4_exp"})
    with pytest.raises(CheckpointError, match=r"text_config\.model_type is 'qwen4_exp_text', only 'qwen3_5_text'"):
        parsed(with_text(QWEN_38_27B, model_type="qwen4_exp_text"))
