"""The table of Qwen 3.5's fields: config.json of `qwen3_5[_moe][_text]`, GGUF metadata `qwen35[moe]` ↔ Qwen3_5Config.

Defaults are those of transformers, which published files rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.checkpoint.config.fields import MOST_LAYERS
from shoestring.checkpoint.config.rotary import QWEN_ROTARY
from shoestring.checkpoint.config.table import (
    COUNT,
    DEFAULTS,
    EXPERTS,
    HEAD_DIM,
    NUMBER,
    PER_LAYER,
    TIED,
    VOCABULARY,
    Family,
    Form,
    Key,
    Reading,
    Row,
    count,
    read_choices,
)
from shoestring.checkpoint.config.types import Qwen3_5Config

LINEAR, FULL = "linear_attention", "full_attention"


def _read_key_value_heads(reading: Reading, key: str, absent: Any) -> int:
    """GGUF may list the count for each layer, with 0 for recurrent ones: Ollama's converter did."""
    fields = reading.fields
    listed = fields.raw(key)
    if not reading.is_gguf or not isinstance(listed, list):
        return fields.integer(key, absent)
    counts = set(fields.integers(key)) - {0}
    if len(counts) != 1:
        raise fields.error(key, listed, "0 for recurrent layers and one number for all others is needed")
    return counts.pop()


def _read_layers(reading: Reading, key: str, absent: Any) -> int:
    """GGUF's count includes the layers of multi-token prediction."""
    layers = reading.fields.integer(key, absent, most=MOST_LAYERS)
    if not reading.is_gguf:
        return layers
    mtp: int = reading.values["mtp_num_hidden_layers"]
    if mtp >= layers:
        raise reading.fields.error("nextn_predict_layers", mtp, f"fewer than the block_count {layers} are needed")
    return layers - mtp


def _write_layers(config: Qwen3_5Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    return {key: config.num_hidden_layers + is_gguf * config.mtp_num_hidden_layers}


def _read_layer_types(reading: Reading, key: str, absent: Any) -> tuple[str, ...]:
    """Published files list them. Without a list, transformers uses full attention in every fourth layer by default."""
    fields, layers, mtp = reading.fields, reading.values["num_hidden_layers"], reading.values["mtp_num_hidden_layers"]
    by_heads = _layer_types_by_heads(reading, layers)
    if key not in fields:
        if by_heads and "full_attention_interval" not in fields:
            return by_heads
        interval = fields.integer("full_attention_interval", 4)
        types = tuple(FULL if (n + 1) % interval == 0 else LINEAR for n in range(layers))
        if by_heads not in (None, types):
            heads = fields.raw("attention.head_count_kv")
            raise fields.error("attention.head_count_kv", heads, f"but full_attention_interval is {interval}")
        return types
    is_linear = read_choices(reading, key, layers + mtp if reading.is_gguf else layers, (FULL, LINEAR))
    if any(is_linear[layers:]):
        raise fields.error(key, list(is_linear), f"0 for the last {mtp} layers, of multi-token prediction, is needed")
    types = tuple(LINEAR if linear else FULL for linear in is_linear[:layers])
    if by_heads not in (None, types):
        heads = fields.raw("attention.head_count_kv")
        raise fields.error("attention.head_count_kv", heads, f"but {key} says otherwise of a layer")
    return types


def _layer_types_by_heads(reading: Reading, layers: int) -> tuple[str, ...] | None:
    """The types that a GGUF file implies by 0 key-value heads of recurrent layers; None: it lists no zeros."""
    heads = reading.fields.raw("attention.head_count_kv") if reading.is_gguf else None
    if not isinstance(heads, list) or 0 not in heads:
        return None
    if len(heads) not in (layers, layers + reading.values["mtp_num_hidden_layers"]):
        raise reading.fields.error("attention.head_count_kv", heads, f"one for each of {layers} layers is needed")
    return tuple(FULL if count else LINEAR for count in heads[:layers])


def _write_layer_types(config: Qwen3_5Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    """In GGUF also as the interval, the only form that older readers know."""
    if not is_gguf:
        return {key: list(config.layer_types)}
    types = config.layer_types
    keys: dict[str, Any] = {key: [t == LINEAR for t in types] + [False] * config.mtp_num_hidden_layers}
    return keys | ({"full_attention_interval": types.index(FULL) + 1} if FULL in types else {})


def _read_value_head_dim(reading: Reading, key: str, absent: Any) -> int:
    """GGUF stores the sum over all value heads."""
    dims, heads = reading.fields.integer(key, absent), reading.values["linear_num_value_heads"]
    if reading.is_gguf and dims % heads:
        raise reading.fields.error(key, dims, f"a multiple of the ssm.time_step_rank {heads} is needed")
    return dims // heads if reading.is_gguf else dims


def _write_value_head_dim(config: Qwen3_5Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    return {key: config.linear_value_head_dim * (config.linear_num_value_heads if is_gguf else 1)}


#: The format decides it, no key: a converter must move the heads.
HEAD_ORDER = Form(lambda reading, key, absent: "tiled" if reading.is_gguf else "grouped")
KV_HEADS = Form(_read_key_value_heads)
BLOCKS = Form(_read_layers, _write_layers)
LAYER_TYPES = Form(_read_layer_types, _write_layer_types)
VALUE_DIM = Form(_read_value_head_dim, _write_value_head_dim)
MTP = count(least=0, most=MOST_LAYERS)
#: The kernels have no wider convolution; published models have 4.
TAPS = count(most=8)

# fmt: off
_ROWS = (
    #   ours                       Hugging Face                     GGUF                                 form
    Row("mtp_num_hidden_layers",   Key("mtp_num_hidden_layers", 0), Key("nextn_predict_layers", 0),      MTP),
    Row("num_hidden_layers",       "num_hidden_layers",             "block_count",                       BLOCKS),
    Row("max_position_embeddings", "max_position_embeddings",       "context_length",                    COUNT),
    Row("vocab_size",              "vocab_size",                    "vocab_size",                        VOCABULARY),
    Row("hidden_size",             "hidden_size",                   "embedding_length",                  COUNT),
    Row("num_attention_heads",     "num_attention_heads",           "attention.head_count",              PER_LAYER),
    Row("num_key_value_heads",     "num_key_value_heads",           "attention.head_count_kv",           KV_HEADS),
    Row("head_dim",                Key("head_dim", 256),            "attention.key_length",              HEAD_DIM),
    Row("rms_norm_eps",            "rms_norm_eps",                  "attention.layer_norm_rms_epsilon",  NUMBER),
    Row("layer_types",             "layer_types",                   "attention.recurrent_layers",        LAYER_TYPES),
    Row("rotary",                  "rope_parameters",               "rope.*",                            QWEN_ROTARY),
    Row("linear_conv_kernel_dim",  "linear_conv_kernel_dim",        "ssm.conv_kernel",                   TAPS),
    Row("linear_key_head_dim",     "linear_key_head_dim",           "ssm.state_size",                    COUNT),
    Row("linear_num_key_heads",    "linear_num_key_heads",          "ssm.group_count",                   COUNT),
    Row("linear_num_value_heads",  "linear_num_value_heads",        "ssm.time_step_rank",                COUNT),
    Row("linear_value_head_dim",   "linear_value_head_dim",         "ssm.inner_size",                    VALUE_DIM),
    Row("value_head_order",        "",                              "",                                  HEAD_ORDER),
    Row("tie_word_embeddings",     Key("tie_word_embeddings", False), "",                                  TIED),
)
_DENSE = (
    Row("intermediate_size",       "intermediate_size",             "feed_forward_length",               PER_LAYER),
)
_MIXTURE = (
    Row("num_experts",             "num_experts",                   "expert_count",                      EXPERTS),
    Row("num_experts_per_tok",     "num_experts_per_tok",           "expert_used_count",                 EXPERTS),
    Row("moe_intermediate_size",   "moe_intermediate_size",         "expert_feed_forward_length",        PER_LAYER),
    Row("shared_expert_intermediate_size",
                                   "shared_expert_intermediate_size","expert_shared_feed_forward_length", COUNT),
)
# fmt: on


def _names(config: Qwen3_5Config) -> tuple[str, str, str]:
    if config.is_mixture:
        return "qwen35moe", "qwen3_5_moe_text", "Qwen3_5MoeForCausalLM"
    return "qwen35", "qwen3_5_text", "Qwen3_5ForCausalLM"


FAMILY = Family(
    config=Qwen3_5Config,
    names=_names,
    rows=_ROWS,
    dense=_DENSE,
    mixture=_MIXTURE,
    constant_text={
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "attn_output_gate": (True,),
        "output_gate_type": ("swish", "silu"),  # of the delta-net's gated norm; Qwen 3.6 27B states it
        "mlp_only_layers": ([],),
        "decoder_sparse_step": (1,),
        "norm_topk_prob": (True,),
    },
    default_text=DEFAULTS | {"scoring_func": ("softmax",), "use_qk_norm": (True,)},
    constant_gguf={
        "expert_gating_func": (1,),
        "expert_weights_norm": (True,),
        "expert_weights_scale": (1.0,),
        "expert_shared_count": (1,),
        "rope.scaling.attn_factor": (1.0,),
        "rope.scaling.yarn_ext_factor": (1.0,),
        # Ollama's converter, https://github.com/ollama/ollama/blob/main/convert/convert_qwen3next.go
        "norm_top_k_prob": (True,),
        "ssm.v_head_reordered": (True,),
        "rope.mrope_interleaved": (True,),
        "mrope_interleaved": (True,),
    },
    ignored_outer={
        "images are not read yet": "image_token_id video_token_id vision_start_token_id vision_end_token_id",
        "which part was exported; the tensors say it": "language_model_only",
    },
    ignored_text={
        "the state is always float32": "mamba_ssm_dtype",
        "multi-token prediction is not used yet": "mtp_use_dedicated_embeddings",
        "of a multimodal model only the outer field counts, as in transformers": "tie_word_embeddings",
        "layer_types says it per layer": "full_attention_interval",
        "a mixture has no dense layer": "intermediate_size",
    },
    ignored_gguf={
        "a mixture has no dense layer": "feed_forward_length",
        "attention.recurrent_layers says it per layer": "full_attention_interval",
        "documentation": "rope.scaling.finetuned",
        "one group is the whole": "expert_group_count expert_group_used_count",
        "images are not read yet": "vision.* image_token_id vision_start_token_id vision_end_token_id",
    },
    renamed_gguf={},
)
