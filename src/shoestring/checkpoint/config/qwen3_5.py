"""Qwen 3.5's fields: config.json of `qwen3_5[_moe][_text]`, metadata of GGUF `qwen35[moe]` → Qwen3_5Config.

Owns their foreign names, the defaults that the reference has and published files lean on, and what is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

from shoestring.checkpoint.config.fields import (
    IGNORED_EVERYWHERE,
    LARGEST_COUNT,
    MOST_EXPERTS,
    MOST_LAYERS,
    Fields,
    check_quantization,
)
from shoestring.checkpoint.config.types import Qwen3_5Config, Rotary
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError

LINEAR, FULL = "linear_attention", "full_attention"

_IGNORED_OUTER: Mapping[str, str] = {
    **IGNORED_EVERYWHERE,
    "image_token_id": "images are not read yet",
    "video_token_id": "images are not read yet",
    "vision_start_token_id": "images are not read yet",
    "vision_end_token_id": "images are not read yet",
    "language_model_only": "which part was exported; the tensors say it",
}
_IGNORED_TEXT: Mapping[str, str] = {
    **IGNORED_EVERYWHERE,
    "mamba_ssm_dtype": "the state is always float32",
    "mtp_use_dedicated_embeddings": "multi-token prediction is not used yet",
    "tie_word_embeddings": "of a multimodal model only the outer field counts, as in the reference",
    "full_attention_interval": "layer_types says it per layer",
    "intermediate_size": "a mixture has no dense layer",
}
_IGNORED_ROPE: Mapping[str, str] = {"type": "older name of rope_type"}
_IGNORED_GGUF: Mapping[str, str] = {
    "feed_forward_length": "a mixture has no dense layer",
    "full_attention_interval": "attention.recurrent_layers says it per layer",
    "rope.scaling.finetuned": "documentation",
    "expert_group_count": "one group is the whole",
    "expert_group_used_count": "one group is the whole",
}


def from_hugging_face(checkpoint: Checkpoint) -> Qwen3_5Config:
    outer = Fields(str(checkpoint.path / "config.json"), checkpoint.metadata)
    notes = [note for note in (check_quantization(outer),) if note]
    tied = outer.boolean("tie_word_embeddings", False)
    text_only = checkpoint.metadata["model_type"].endswith("_text")
    text = outer if text_only else outer.section("text_config")
    mixture = "moe" in checkpoint.metadata["model_type"].split("_")
    layers = text.integer("num_hidden_layers", most=MOST_LAYERS)
    text.expect("hidden_act", "silu")
    text.expect("attention_bias", False)
    text.expect("attn_output_gate", True)
    text.expect("output_gate_type", "swish", "silu")  # of the delta-net's gated norm; Qwen 3.6 27B states it
    text.expect("mlp_only_layers", [])
    text.expect("decoder_sparse_step", 1)
    text.expect("norm_topk_prob", True)
    head_dim = text.integer("head_dim", 256)
    rotary, context = _rotary(text, head_dim, text.integer("max_position_embeddings"), notes)
    config = Qwen3_5Config(
        vocab_size=text.integer("vocab_size"),
        hidden_size=text.integer("hidden_size"),
        num_hidden_layers=layers,
        layer_types=_layer_types(text, layers),
        num_attention_heads=text.integer("num_attention_heads"),
        num_key_value_heads=text.integer("num_key_value_heads"),
        head_dim=head_dim,
        rotary=rotary,
        rms_norm_eps=text.number("rms_norm_eps"),
        linear_num_key_heads=text.integer("linear_num_key_heads"),
        linear_num_value_heads=text.integer("linear_num_value_heads"),
        linear_key_head_dim=text.integer("linear_key_head_dim"),
        linear_value_head_dim=text.integer("linear_value_head_dim"),
        linear_conv_kernel_dim=text.integer("linear_conv_kernel_dim", most=64),
        intermediate_size=0 if mixture else text.integer("intermediate_size"),
        num_experts=text.integer("num_experts", most=MOST_EXPERTS) if mixture else 0,
        num_experts_per_tok=text.integer("num_experts_per_tok", most=MOST_EXPERTS) if mixture else 0,
        moe_intermediate_size=text.integer("moe_intermediate_size") if mixture else 0,
        shared_expert_intermediate_size=text.integer("shared_expert_intermediate_size") if mixture else 0,
        tie_word_embeddings=tied,
        max_position_embeddings=context,
        mtp_num_hidden_layers=text.integer("mtp_num_hidden_layers", 0, least=0, most=MOST_LAYERS),
        value_head_order="grouped",
        notes=tuple(notes),
    )
    text.finish({**_IGNORED_OUTER, **_IGNORED_TEXT} if text_only else _IGNORED_TEXT)
    if not text_only:
        outer.finish(_IGNORED_OUTER)
    return _checked(outer.where, config)


def _layer_types(text: Fields, layers: int) -> tuple[str, ...]:
    """Published files list them; where absent the reference makes every fourth layer (by default) full."""
    if "layer_types" not in text:
        interval = text.integer("full_attention_interval", 4)
        return tuple(FULL if (n + 1) % interval == 0 else LINEAR for n in range(layers))
    types = text.raw("layer_types")
    if not isinstance(types, list) or len(types) != layers or any(t not in (LINEAR, FULL) for t in types):
        raise text.error("layer_types", types, f"{layers} of {LINEAR!r} or {FULL!r} are needed")
    return tuple(types)


def _rotary(text: Fields, head_dim: int, context: int, notes: list[str]) -> tuple[Rotary, int]:
    """Rotary and the context that it reaches. Older files have `rope_scaling` and fields beside it."""
    key = "rope_parameters" if "rope_parameters" in text else "rope_scaling"
    text.read.update(("rope_parameters", "rope_scaling"))
    rope = text.section(key, {})
    theta = rope.number("rope_theta", None) if "rope_theta" in rope else text.number("rope_theta")
    text.read.add("rope_theta")
    outer_share = text.number("partial_rotary_factor", 0.25)
    share = rope.number("partial_rotary_factor", outer_share)
    dims = int(head_dim * share)
    if share > 1 or dims < 2 or dims % 2:
        raise rope.error("partial_rotary_factor", share, f"an even share of head_dim {head_dim} is needed")
    sections = rope.integers("mrope_section", ())
    if sections and (len(sections) != 3 or sum(sections) != dims // 2):
        raise rope.error("mrope_section", list(sections), f"three numbers that add up to {dims // 2} are needed")
    rope.expect("mrope_interleaved", True)
    kind = rope.raw("rope_type", rope.raw("type", "default"))
    if kind == "default":
        rope.finish(_IGNORED_ROPE)
        return Rotary(dims=dims, theta=theta, sections=sections), context
    if kind != "yarn":
        raise rope.error("rope_type", kind, "only 'default' and 'yarn' are supported")
    rope.expect("truncate", True)
    original = rope.integer("original_max_position_embeddings")
    factor = rope.number("factor", least=0.99)
    rotary = Rotary(
        dims=dims,
        theta=theta,
        sections=sections,
        scaling="yarn",
        factor=factor,
        original_context=original,
        beta_fast=rope.number("beta_fast", 32.0),
        beta_slow=rope.number("beta_slow", 1.0),
        attention_factor=rope.number("attention_factor") if "attention_factor" in rope else None,
    )
    rope.finish(_IGNORED_ROPE)
    notes.append(f"YaRN stretches positions {factor:g} times, which costs quality on short prompts")
    return rotary, _reach(context, factor, original)


def _reach(context: int, factor: float, original: int) -> int:
    """YaRN is switched on by adding its fields alone: the context that the file states may be the old one."""
    return min(max(context, int(factor * original)), LARGEST_COUNT)


def from_gguf(checkpoint: Checkpoint) -> Qwen3_5Config:
    architecture = checkpoint.metadata["general.architecture"]
    prefix = architecture + "."
    values = {k.removeprefix(prefix): v for k, v in checkpoint.metadata.items() if k.startswith(prefix)}
    fields = Fields(str(checkpoint.path), values, prefix)
    mixture = architecture == "qwen35moe"
    mtp = fields.integer("nextn_predict_layers", 0, least=0, most=MOST_LAYERS)
    layers = fields.integer("block_count", most=MOST_LAYERS) - mtp
    if layers < 1:
        raise fields.error("nextn_predict_layers", mtp, f"fewer than the block_count {layers + mtp} are needed")
    hidden, heads = fields.integer("embedding_length"), fields.same_for_all_layers("attention.head_count")
    head_dim = fields.integer("attention.key_length")
    fields.expect("attention.value_length", head_dim)
    key_dim, value_heads = fields.integer("ssm.state_size"), fields.integer("ssm.time_step_rank")
    inner = fields.integer("ssm.inner_size")
    if inner % value_heads:
        raise fields.error("ssm.inner_size", inner, f"a multiple of the ssm.time_step_rank {value_heads} is needed")
    fields.expect("expert_gating_func", 1)
    fields.expect("expert_weights_norm", True)
    fields.expect("expert_weights_scale", 1.0)
    fields.expect("expert_shared_count", 1)
    notes: list[str] = []
    rotary, context = _gguf_rotary(fields, head_dim, fields.integer("context_length"), notes)
    vocabulary = _vocabulary(checkpoint, fields)
    config = Qwen3_5Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        layer_types=_gguf_layer_types(fields, layers, mtp),
        num_attention_heads=heads,
        num_key_value_heads=fields.same_for_all_layers("attention.head_count_kv"),
        head_dim=head_dim,
        rotary=rotary,
        rms_norm_eps=fields.number("attention.layer_norm_rms_epsilon"),
        linear_num_key_heads=fields.integer("ssm.group_count"),
        linear_num_value_heads=value_heads,
        linear_key_head_dim=key_dim,
        linear_value_head_dim=inner // value_heads,
        linear_conv_kernel_dim=fields.integer("ssm.conv_kernel", most=64),
        intermediate_size=0 if mixture else fields.same_for_all_layers("feed_forward_length"),
        num_experts=fields.integer("expert_count", most=MOST_EXPERTS) if mixture else 0,
        num_experts_per_tok=fields.integer("expert_used_count", most=MOST_EXPERTS) if mixture else 0,
        moe_intermediate_size=fields.same_for_all_layers("expert_feed_forward_length") if mixture else 0,
        shared_expert_intermediate_size=fields.integer("expert_shared_feed_forward_length") if mixture else 0,
        tie_word_embeddings="output.weight" not in checkpoint.tensors,
        max_position_embeddings=context,
        mtp_num_hidden_layers=mtp,
        value_head_order="tiled",
        notes=tuple(notes),
    )
    fields.finish(_IGNORED_GGUF)
    return _checked(fields.where, config)


def _vocabulary(checkpoint: Checkpoint, fields: Fields) -> int:
    """GGUF counts the vocabulary by its list of tokens, padded to the rows of the embedding."""
    tokens = checkpoint.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list) and tokens:
        fields.expect("vocab_size", len(tokens))
        return len(tokens)
    return fields.integer("vocab_size")


def _gguf_layer_types(fields: Fields, layers: int, mtp: int) -> tuple[str, ...]:
    if "attention.recurrent_layers" not in fields:
        interval = fields.integer("full_attention_interval", 4)
        return tuple(FULL if (n + 1) % interval == 0 else LINEAR for n in range(layers))
    recurrent = fields.integers("attention.recurrent_layers", most=1)
    if len(recurrent) != layers + mtp or any(recurrent[layers:]):
        raise fields.error(
            "attention.recurrent_layers", list(recurrent), f"one of each of {layers + mtp} layers is needed"
        )
    return tuple(LINEAR if r else FULL for r in recurrent[:layers])


def _gguf_rotary(fields: Fields, head_dim: int, context: int, notes: list[str]) -> tuple[Rotary, int]:
    dims = fields.integer("rope.dimension_count", most=head_dim)
    theta = fields.number("rope.freq_base")
    sections = fields.integers("rope.dimension_sections")
    usable = len(sections) in (3, 4) and not any(sections[3:]) and sum(sections) in (0, dims // 2) and dims % 2 == 0
    if not usable:
        raise fields.error(
            "rope.dimension_sections", list(sections), f"t, h, w, 0 that add up to {dims // 2} are needed"
        )
    sections = sections[:3] if any(sections) else ()
    fields.expect("rope.scaling.attn_factor", 1.0)
    fields.expect("rope.scaling.yarn_ext_factor", 1.0)
    kind = fields.raw("rope.scaling.type", "none")
    if kind == "none":
        fields.expect("rope.scaling.factor", 1.0)
        return Rotary(dims=dims, theta=theta, sections=sections), context
    if kind != "yarn":
        raise fields.error("rope.scaling.type", kind, "only 'none' and 'yarn' are supported")
    factor = fields.number("rope.scaling.factor", least=0.99)
    original = fields.integer("rope.scaling.original_context_length")
    notes.append(f"YaRN stretches positions {factor:g} times, which costs quality on short prompts")
    rotary = Rotary(
        dims=dims,
        theta=theta,
        sections=sections,
        scaling="yarn",
        factor=factor,
        original_context=original,
        beta_fast=fields.number("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=fields.number("rope.scaling.yarn_beta_slow", 1.0),
        # The converter writes the reference's attention_factor here, which is the whole factor.
        attention_factor=fields.number("rope.scaling.yarn_attn_factor", None)
        if "rope.scaling.yarn_attn_factor" in fields
        else None,
    )
    return rotary, _reach(context, factor, original)


def _checked(where: str, config: Qwen3_5Config) -> Qwen3_5Config:
    """What only several fields together can get wrong."""
    ratios = (
        ("num_attention_heads", config.num_attention_heads, "num_key_value_heads", config.num_key_value_heads),
        ("linear_num_value_heads", config.linear_num_value_heads, "linear_num_key_heads", config.linear_num_key_heads),
    )
    for name, count, divisor_name, divisor in ratios:
        if count % divisor:
            raise CheckpointError(f"{where}: {name} {count} is no multiple of {divisor_name} {divisor}")
    if config.num_experts_per_tok > config.num_experts:
        raise CheckpointError(
            f"{where}: num_experts_per_tok {config.num_experts_per_tok} exceeds num_experts {config.num_experts}"
        )
    return config
