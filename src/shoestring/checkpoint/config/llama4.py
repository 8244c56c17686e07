"""Llama 4's fields: config.json of `llama4[_text]`, metadata of GGUF `llama4` → Llama4Config.

Owns their foreign names, the defaults that the reference has and published files lean on, and what is ignored.
GGUF has no keys for what follows, so there are keys of our own, read where present; absent, the published constants:

    shoestring.llama4.use_qk_norm              bool    true, but false with 128 experts (Maverick)
    shoestring.llama4.no_rope_layers           [int]   a layer, 1: rotary, 0: none; every fourth has none
    shoestring.llama4.chunked_layers           [int]   a layer, 1: chunk-local, 0: global; local where rotary
    shoestring.llama4.moe_layers               [int]   indices of the mixture layers; by interleave_moe_layer_step
    shoestring.llama4.attention_chunk_size     int     8192
    shoestring.llama4.attn_temperature_tuning  bool    true
    shoestring.llama4.floor_scale              int     8192
    shoestring.llama4.attn_scale               float   0.1
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shoestring.checkpoint.config.fields import (
    IGNORED_EVERYWHERE,
    MOST_EXPERTS,
    MOST_LAYERS,
    Fields,
    check_quantization,
)
from shoestring.checkpoint.config.types import Llama4Config, Rotary
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError

CHUNKED, FULL = "chunked_attention", "full_attention"
OWN_KEYS = "shoestring.llama4."
ROPE_FREQUENCIES = "rope_freqs.weight"

#: The published models, where a file does not say: transformers' Llama4TextConfig.
_NOPE_INTERVAL, _CHUNK_SIZE, _FLOOR_SCALE, _ATTN_SCALE, _THETA = 4, 8192, 8192, 0.1, 500_000.0
_MAVERICK_EXPERTS = 128

_IGNORED_OUTER: Mapping[str, str] = {
    **IGNORED_EVERYWHERE,
    "boi_token_index": "images are not read yet",
    "eoi_token_index": "images are not read yet",
    "image_token_index": "images are not read yet",
}
_IGNORED_TEXT: Mapping[str, str] = {
    **IGNORED_EVERYWHERE,
    "for_llm_compressor": "which module class a quantizer saw",
    "tie_word_embeddings": "of a multimodal model only the outer field counts, as in the reference",
    "no_rope_layer_interval": "no_rope_layers says it per layer",
    "interleave_moe_layer_step": "moe_layers says it per layer",
    "cache_implementation": "how transformers keeps its cache",
}
_IGNORED_GGUF: Mapping[str, str] = {
    "rope.scaling.finetuned": "documentation",
    "interleave_moe_layer_step": "moe_layers says it per layer",
    "vocab_size": "compared with the list of tokens",
    "attention.sliding_window_pattern": "no_rope_layers says it per layer",
}


def from_hugging_face(checkpoint: Checkpoint) -> Llama4Config:
    outer = Fields(str(checkpoint.path / "config.json"), checkpoint.metadata)
    notes = [note for note in (check_quantization(outer),) if note]
    tied = outer.boolean("tie_word_embeddings", False)
    text_only = checkpoint.metadata["model_type"] == "llama4_text"
    text = outer if text_only else outer.section("text_config")
    layers = text.integer("num_hidden_layers", most=MOST_LAYERS)
    text.expect("hidden_act", "silu")
    text.expect("attention_bias", False)
    head_dim = text.integer("head_dim", 128)
    rope_layers = _rope_layers(text, layers)
    chunked_layers = _chunked_layers(text, rope_layers)
    if any(chunked_layers) and text.values.get("attention_chunk_size", _CHUNK_SIZE) is None:
        raise text.error("attention_chunk_size", None, "chunked layers need a number")
    config = Llama4Config(
        vocab_size=text.integer("vocab_size"),
        hidden_size=text.integer("hidden_size"),
        num_hidden_layers=layers,
        num_attention_heads=text.integer("num_attention_heads"),
        num_key_value_heads=text.integer("num_key_value_heads"),
        head_dim=head_dim,
        rotary=_rotary(text, head_dim),
        rms_norm_eps=text.number("rms_norm_eps"),
        rope_layers=rope_layers,
        chunked_layers=chunked_layers,
        attention_chunk_size=text.integer("attention_chunk_size", _CHUNK_SIZE),
        moe_layers=_moe_layers(text, layers),
        use_qk_norm=text.boolean("use_qk_norm", True),
        attn_temperature_tuning=text.boolean("attn_temperature_tuning", True),
        floor_scale=text.integer("floor_scale", _FLOOR_SCALE),
        attn_scale=text.number("attn_scale", _ATTN_SCALE),
        intermediate_size_mlp=text.integer("intermediate_size_mlp"),
        intermediate_size=text.integer("intermediate_size"),
        num_local_experts=text.integer("num_local_experts", most=MOST_EXPERTS),
        num_experts_per_tok=text.integer("num_experts_per_tok", most=MOST_EXPERTS),
        tie_word_embeddings=tied,
        max_position_embeddings=text.integer("max_position_embeddings"),
        notes=tuple(notes),
    )
    text.finish({**_IGNORED_OUTER, **_IGNORED_TEXT} if text_only else _IGNORED_TEXT)
    if not text_only:
        outer.finish(_IGNORED_OUTER)
    return _checked(outer.where, config)


def _rope_layers(fields: Fields, layers: int) -> tuple[bool, ...]:
    """The list's name misleads: 1 means rotary positions. An empty list means the default pattern."""
    listed = fields.integers("no_rope_layers", (), most=1)
    if not listed:
        interval = fields.integer("no_rope_layer_interval", _NOPE_INTERVAL)
        return tuple((n + 1) % interval != 0 for n in range(layers))
    if len(listed) < layers:
        raise fields.error("no_rope_layers", list(listed), f"one of each of {layers} layers is needed")
    return tuple(bool(r) for r in listed[:layers])


def _chunked_layers(text: Fields, rope_layers: tuple[bool, ...]) -> tuple[bool, ...]:
    """A layer attends in chunks exactly where it has rotary positions, unless the file lists its layers."""
    if "layer_types" not in text:
        text.read.add("layer_types")
        return rope_layers
    types = text.raw("layer_types")
    if not isinstance(types, list) or len(types) != len(rope_layers) or any(t not in (CHUNKED, FULL) for t in types):
        raise text.error("layer_types", types, f"{len(rope_layers)} of {CHUNKED!r} or {FULL!r} are needed")
    return tuple(t == CHUNKED for t in types)


def _moe_layers(fields: Fields, layers: int) -> tuple[bool, ...]:
    if "moe_layers" in fields:
        listed = fields.integers("moe_layers", most=layers - 1)
        return tuple(n in listed for n in range(layers))
    step = fields.integer("interleave_moe_layer_step")
    return tuple((n + 1) % step == 0 for n in range(layers))


def _rotary(text: Fields, head_dim: int) -> Rotary:
    key = "rope_parameters" if "rope_parameters" in text else "rope_scaling"
    text.read.update(("rope_parameters", "rope_scaling"))
    rope = text.section(key, {})
    theta = rope.number("rope_theta", text.number("rope_theta", _THETA))
    kind = rope.raw("rope_type", rope.raw("type", "default"))
    rope.expect("partial_rotary_factor", 1.0)
    if kind == "default":
        rope.finish({})
        return Rotary(dims=head_dim, theta=theta)
    if kind != "llama3":
        raise rope.error("rope_type", kind, "only 'default' and 'llama3' are supported")
    rotary = Rotary(
        dims=head_dim,
        theta=theta,
        scaling="llama3",
        factor=rope.number("factor"),
        original_context=rope.integer("original_max_position_embeddings"),
        low_frequency_factor=rope.number("low_freq_factor"),
        high_frequency_factor=rope.number("high_freq_factor"),
    )
    if rotary.high_frequency_factor < rotary.low_frequency_factor:
        raise rope.error("high_freq_factor", rotary.high_frequency_factor, "not less than low_freq_factor is needed")
    rope.finish({})
    return rotary


def from_gguf(checkpoint: Checkpoint) -> Llama4Config:
    fields = _section(checkpoint, "llama4.")
    own = _section(checkpoint, OWN_KEYS)
    layers = fields.integer("block_count", most=MOST_LAYERS)
    hidden, heads = fields.integer("embedding_length"), fields.same_for_all_layers("attention.head_count")
    if "attention.key_length" not in fields and hidden % heads:
        raise fields.error("embedding_length", hidden, f"a multiple of the {heads} heads is needed")
    head_dim = fields.integer("attention.key_length", hidden // heads)
    fields.expect("attention.value_length", head_dim)
    fields.expect("rope.dimension_count", head_dim)
    fields.expect("expert_gating_func", 2)
    fields.expect("expert_shared_count", 1)
    fields.expect("expert_weights_norm", False)
    fields.expect("rope.scaling.type", "none")
    fields.expect("rope.scaling.factor", 1.0)
    experts = fields.integer("expert_count", most=MOST_EXPERTS)
    width = fields.same_for_all_layers("expert_feed_forward_length")
    fields.expect("expert_shared_feed_forward_length", width)
    rope_layers = _rope_layers(own, layers)
    chunked = own.integers("chunked_layers", rope_layers, most=1)
    if len(chunked) != layers:
        raise own.error("chunked_layers", list(chunked), f"one of each of {layers} layers is needed")
    chunk_size = own.integer("attention_chunk_size", _CHUNK_SIZE)
    # llama.cpp writes 0 here for a relative without chunks; a size it does not read.
    fields.expect("attention.sliding_window", chunk_size)
    tokens = checkpoint.metadata.get("tokenizer.ggml.tokens")
    vocabulary = len(tokens) if isinstance(tokens, list) and tokens else fields.integer("vocab_size")
    fields.expect("vocab_size", vocabulary)
    step = fields if "moe_layers" not in own else own
    config = Llama4Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=fields.same_for_all_layers("attention.head_count_kv"),
        head_dim=head_dim,
        rotary=Rotary(
            dims=head_dim,
            theta=fields.number("rope.freq_base"),
            frequency_divisors=_frequency_divisors(checkpoint, head_dim),
        ),
        rms_norm_eps=fields.number("attention.layer_norm_rms_epsilon"),
        rope_layers=rope_layers,
        chunked_layers=tuple(bool(c) for c in chunked),
        attention_chunk_size=chunk_size,
        moe_layers=_moe_layers(step, layers),
        use_qk_norm=own.boolean("use_qk_norm", experts != _MAVERICK_EXPERTS),
        attn_temperature_tuning=own.boolean("attn_temperature_tuning", True),
        floor_scale=own.integer("floor_scale", _FLOOR_SCALE),
        attn_scale=own.number("attn_scale", _ATTN_SCALE),
        intermediate_size_mlp=fields.same_for_all_layers("feed_forward_length"),
        intermediate_size=width,
        num_local_experts=experts,
        num_experts_per_tok=fields.integer("expert_used_count", most=MOST_EXPERTS),
        tie_word_embeddings="output.weight" not in checkpoint.tensors,
        max_position_embeddings=fields.integer("context_length"),
        notes=("NoPE layers, chunks, temperature and qk-norm are the published models': the file has no keys",)
        if not own.values
        else (),
    )
    fields.finish(_IGNORED_GGUF)
    own.finish({})
    # A misspelt key of ours would otherwise be one more foreign section that nobody reads.
    stray = {k: v for k, v in checkpoint.metadata.items() if k.startswith("shoestring.") and not k.startswith(OWN_KEYS)}
    Fields(str(checkpoint.path), stray).finish({})
    return _checked(fields.where, config)


def _section(checkpoint: Checkpoint, prefix: str) -> Fields:
    values = {k.removeprefix(prefix): v for k, v in checkpoint.metadata.items() if k.startswith(prefix)}
    return Fields(str(checkpoint.path), values, prefix)


def _frequency_divisors(checkpoint: Checkpoint, head_dim: int) -> tuple[float, ...]:
    """The converter folds llama3 scaling into a tensor of divisors, one a frequency."""
    tensor = checkpoint.tensors.get(ROPE_FREQUENCIES)
    if tensor is None:
        return ()
    if tensor.type != "F32" or tensor.shape != (head_dim // 2,):
        raise CheckpointError(
            f"{tensor.file}: tensor {tensor.name} is {tensor.type} {tensor.shape}, F32 ({head_dim // 2},) is needed"
        )
    divisors = np.frombuffer(tensor.data.tobytes(), "<f4")
    if not (np.isfinite(divisors) & (divisors > 0)).all():
        raise CheckpointError(f"{tensor.file}: tensor {tensor.name} has a divisor that is not positive and finite")
    return tuple(divisors.tolist())


def _checked(where: str, config: Llama4Config) -> Llama4Config:
    """What only several fields together can get wrong."""
    if config.head_dim % 2:
        raise CheckpointError(f"{where}: head_dim {config.head_dim} is odd, rotary pairs need an even one")
    if config.num_attention_heads % config.num_key_value_heads:
        raise CheckpointError(
            f"{where}: num_attention_heads {config.num_attention_heads} is no multiple of num_key_value_heads "
            f"{config.num_key_value_heads}"
        )
    if config.num_experts_per_tok > config.num_local_experts:
        raise CheckpointError(
            f"{where}: num_experts_per_tok {config.num_experts_per_tok} exceeds num_local_experts "
            f"{config.num_local_experts}"
        )
    return config
