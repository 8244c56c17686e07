"""The table of Llama 4's fields: config.json of `llama4[_text]`, metadata of GGUF `llama4` ↔ Llama4Config.

Defaults are those of transformers, which published files rely on. GGUF lacks keys for some fields, so we define our
own. Without them we assume the published constants:

    shoestring.llama4.use_qk_norm              bool    true, but false with 128 experts (Maverick)
    shoestring.llama4.no_rope_layers           [int]   per layer, 1: rotary, 0: none; every fourth has none
    shoestring.llama4.chunked_layers           [int]   per layer, 1: chunk-local, 0: global; local where rotary
    shoestring.llama4.moe_layers               [int]   indices of the mixture layers; by interleave_moe_layer_step
    shoestring.llama4.attention_chunk_size     int     8192
    shoestring.llama4.attn_temperature_tuning  bool    true
    shoestring.llama4.floor_scale              int     8192
    shoestring.llama4.attn_scale               float   0.1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.checkpoint.config.fields import OWN
from shoestring.checkpoint.config.rotary import LLAMA_ROTARY
from shoestring.checkpoint.config.table import (
    COUNT,
    DEFAULTS,
    EXPERTS,
    FLAG,
    HEAD_DIM,
    LAYERS,
    NUMBER,
    PER_LAYER,
    TIED,
    VOCABULARY,
    Family,
    Form,
    Key,
    Reading,
    Row,
    read_choices,
)
from shoestring.checkpoint.config.types import ATTN_SCALE, Llama4Config

CHUNKED, FULL = "chunked_attention", "full_attention"
_NOPE_INTERVAL, _MAVERICK_EXPERTS = 4, 128


#: Our keys, by what they say, that most GGUF files lack
_ASSUMED = {
    "no_rope_layers": "NoPE layers",
    "attention_chunk_size": "chunks",
    "attn_temperature_tuning": "temperature",
    "use_qk_norm": "qk-norm",
}


def _own(name: str, absent: Any = None) -> Key:
    return Key(f"{OWN}llama4.{name}", absent)


def _is_scout(ours: Mapping[str, Any]) -> bool:
    return bool(ours["num_local_experts"] != _MAVERICK_EXPERTS)


def _pattern(layers: int, interval: int = _NOPE_INTERVAL) -> tuple[bool, ...]:
    """False at the last of each `interval` layers."""
    return tuple((n + 1) % interval != 0 for n in range(layers))


def _read_rope_layers(reading: Reading, key: str, absent: Any) -> tuple[bool, ...]:
    """The list's name is misleading: 1 means rotary positions. An empty list means the default pattern."""
    fields, layers = reading.fields, _listed_rope_layers(reading, key)
    older = "nope_layer_interval"  # repeats what the others say
    if older in fields and layers != _pattern(len(layers), fields.integer(older)):
        raise fields.error(older, fields.raw(older), "but other fields or defaults say otherwise")
    return layers


def _listed_rope_layers(reading: Reading, key: str) -> tuple[bool, ...]:
    fields, layers = reading.fields, reading.values["num_hidden_layers"]
    # A file of ours leaves out what is as published; others have no key for it.
    if reading.is_gguf and not any(name.startswith(OWN) and name not in fields.spelled for name in fields.values):
        assumed = [what for name, what in _ASSUMED.items() if f"{OWN}llama4.{name}" not in fields]
        reading.notes.append(f"{', '.join(assumed)}: as in the published models, the file has no keys for them")
    listed = fields.integers(key, (), most=1)
    if not listed:
        interval = _NOPE_INTERVAL if reading.is_gguf else fields.integer("no_rope_layer_interval", _NOPE_INTERVAL)
        return _pattern(layers, interval)
    if len(listed) < layers:
        raise fields.error(key, list(listed), f"one of each of {layers} layers is needed")
    return tuple(bool(r) for r in listed[:layers])


def _write_rope_layers(config: Llama4Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    usual = config.rope_layers == _pattern(config.num_hidden_layers)
    return {} if is_gguf and usual else {key: [int(rotary) for rotary in config.rope_layers]}


def _read_chunked_layers(reading: Reading, key: str, absent: Any) -> tuple[bool, ...]:
    """Without a list, a layer attends in chunks if it has rotary positions."""
    rope_layers: tuple[bool, ...] = reading.values["rope_layers"]
    if key not in reading.fields:
        reading.fields.read.add(key)
        return rope_layers
    return read_choices(reading, key, len(rope_layers), (FULL, CHUNKED))


def _write_chunked_layers(config: Llama4Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    kinds = (0, 1) if is_gguf else (FULL, CHUNKED)
    usual = config.chunked_layers == config.rope_layers
    return {} if is_gguf and usual else {key: [kinds[chunked] for chunked in config.chunked_layers]}


def _read_moe_layers(reading: Reading, key: str, absent: Any) -> tuple[bool, ...]:
    fields, layers = reading.fields, reading.values["num_hidden_layers"]
    if key not in fields:
        return tuple(not dense for dense in _pattern(layers, fields.integer("interleave_moe_layer_step")))
    listed = fields.integers(key, most=layers - 1)
    return tuple(n in listed for n in range(layers))


def _write_moe_layers(config: Llama4Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    """As a step, and as a list if no step describes the layers."""
    layers = config.moe_layers
    step = layers.index(True) + 1 if any(layers) else len(layers) + 1
    usual = layers == tuple(not dense for dense in _pattern(len(layers), step))
    listed = {} if usual else {key: [n for n, mixture in enumerate(layers) if mixture]}
    return {"interleave_moe_layer_step": step, **listed}


def _read_head_dim(reading: Reading, key: str, absent: Any) -> int:
    hidden, heads = reading.values["hidden_size"], reading.values["num_attention_heads"]
    if absent is None and key not in reading.fields and hidden % heads:
        raise reading.fields.error("embedding_length", hidden, f"a multiple of the {heads} heads is needed")
    head_dim: int = HEAD_DIM.read(reading, key, hidden // heads if absent is None else absent)
    return head_dim


def _read_chunk_size(reading: Reading, key: str, absent: Any) -> int:
    fields = reading.fields
    if any(reading.values["chunked_layers"]) and key in fields.values and key not in fields:
        raise fields.error(key, None, "chunked layers need a number")
    size = fields.integer(key, absent)
    if reading.is_gguf:
        # llama.cpp writes 0 here for a related model without chunks, and reads no size.
        fields.expect("attention.sliding_window", size)
    return size


def _read_expert_width(reading: Reading, key: str, absent: Any) -> int:
    width: int = PER_LAYER.read(reading, key, absent)
    if reading.is_gguf:
        reading.fields.expect("expert_shared_feed_forward_length", width)
    return width


ROPE = Form(_read_rope_layers, _write_rope_layers)
LOCAL = Form(_read_chunked_layers, _write_chunked_layers)
CHUNK = Form(_read_chunk_size)
HEAD = Form(_read_head_dim, HEAD_DIM.write)
MOE = Form(_read_moe_layers, _write_moe_layers)
WIDTH = Form(_read_expert_width)

# fmt: off
_ROWS = (
    #   ours                       Hugging Face                       GGUF                                form
    Row("num_hidden_layers",       "num_hidden_layers",               "block_count",                      LAYERS),
    Row("max_position_embeddings", "max_position_embeddings",         "context_length",                   COUNT),
    Row("hidden_size",             "hidden_size",                     "embedding_length",                 COUNT),
    Row("intermediate_size_mlp",   "intermediate_size_mlp",           "feed_forward_length",              PER_LAYER),
    Row("intermediate_size",       "intermediate_size",               "expert_feed_forward_length",       WIDTH),
    Row("num_local_experts",       "num_local_experts",               "expert_count",                     EXPERTS),
    Row("num_experts_per_tok",     "num_experts_per_tok",             "expert_used_count",                EXPERTS),
    Row("moe_layers",              "moe_layers",                      _own("moe_layers"),                 MOE),
    Row("num_attention_heads",     "num_attention_heads",             "attention.head_count",             PER_LAYER),
    Row("num_key_value_heads",     "num_key_value_heads",             "attention.head_count_kv",          PER_LAYER),
    Row("head_dim",                Key("head_dim", 128),              Key("attention.key_length", None),  HEAD),
    Row("rms_norm_eps",            "rms_norm_eps",                    "attention.layer_norm_rms_epsilon", NUMBER),
    Row("rotary",                  "rope_scaling",                    "rope.*",                           LLAMA_ROTARY),
    Row("vocab_size",              "vocab_size",                      "vocab_size",                       VOCABULARY),
    Row("use_qk_norm",             Key("use_qk_norm", True),          _own("use_qk_norm", _is_scout),     FLAG),
    Row("rope_layers",             "no_rope_layers",                  _own("no_rope_layers"),             ROPE),
    Row("chunked_layers",          "layer_types",                     _own("chunked_layers"),             LOCAL),
    Row("attn_temperature_tuning", Key("attn_temperature_tuning", True), _own("attn_temperature_tuning", True), FLAG),
    Row("floor_scale",             Key("floor_scale", 8192),          _own("floor_scale", 8192),          COUNT),
    Row("attn_scale",              Key("attn_scale", ATTN_SCALE),     _own("attn_scale", ATTN_SCALE),     NUMBER),
    Row("attention_chunk_size",    Key("attention_chunk_size", 8192), _own("attention_chunk_size", 8192), CHUNK),
    Row("tie_word_embeddings",     Key("tie_word_embeddings", False), "",                                 TIED),
)
# fmt: on

FAMILY = Family(
    config=Llama4Config,
    names=lambda config: ("llama4", "llama4_text", "Llama4ForCausalLM"),
    rows=_ROWS,
    constant_text={"hidden_act": ("silu",), "attention_bias": (False,)},
    default_text=DEFAULTS | {"scoring_func": ("sigmoid",), "partial_rotary_factor": (1.0,)},
    constant_gguf={"expert_gating_func": (2,), "expert_shared_count": (1,), "expert_weights_norm": (False,)},
    ignored_outer={"images are not read yet": "boi_token_index eoi_token_index image_token_index"},
    ignored_text={
        "which module class a quantizer saw": "for_llm_compressor",
        "of a multimodal model only the outer field counts, as in transformers": "tie_word_embeddings",
        "no_rope_layers says it per layer": "no_rope_layer_interval",
        "moe_layers says it per layer": "interleave_moe_layer_step",
        "how transformers keeps its cache": "cache_implementation",
    },
    ignored_gguf={
        "images are not read yet": "vision.*",
        "documentation": "rope.scaling.finetuned",
        "moe_layers says it per layer": "interleave_moe_layer_step",
        "compared with the list of tokens": "vocab_size",
        "no_rope_layers says it per layer": "attention.sliding_window_pattern",
    },
    # Ollama's converter, https://github.com/ollama/ollama/blob/main/convert/convert_llama4.go; the first two are those
    # of its first version.
    renamed_gguf={
        "intermediate_size": "feed_forward_length",
        "intermediate_size_moe": "expert_feed_forward_length",
        "attention.head_dim": "attention.key_length",
        "attention.chunk_size": f"{OWN}llama4.attention_chunk_size",
        "use_qk_norm": f"{OWN}llama4.use_qk_norm",
    },
)
