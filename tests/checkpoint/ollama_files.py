"""Hugging Face tensors as the GGUF files of llama.cpp's and of Ollama's converters have them.

Sources: https://github.com/ollama/ollama, convert/convert_qwen3next.go (2026), convert/convert_llama4.go (2025);
llama/compat/llama-ollama-compat.cpp there says which of these forms the library still has.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[Any]]

_QWEN_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "linear_attn.in_proj_qkv.weight": "attn_qkv.weight",
    "linear_attn.in_proj_z.weight": "attn_gate.weight",
    "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
    "linear_attn.in_proj_b.weight": "ssm_beta.weight",
    "linear_attn.conv1d.weight": "ssm_conv1d.weight",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.A_log": "ssm_a",
    "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.out_proj.weight": "ssm_out.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
}
_LLAMA_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "feed_forward.router.weight": "ffn_gate_inp.weight",
}
for role in ("gate", "up", "down"):
    _QWEN_NAMES |= {
        f"mlp.{role}_proj.weight": f"ffn_{role}.weight",
        f"mlp.shared_expert.{role}_proj.weight": f"ffn_{role}_shexp.weight",
    }
    _LLAMA_NAMES |= {
        f"feed_forward.{role}_proj.weight": f"ffn_{role}.weight",
        f"feed_forward.shared_expert.{role}_proj.weight": f"ffn_{role}_shexp.weight",
    }
_MODEL_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


_BOTH = ("weight", "bias")
#: The vision tensors of Qwen 3.5: 16 a block and 9 more, so 441 for the 27 blocks of the library's files.
VISION_NAMES = (
    "v.pos_embed.weight",
    *(
        f"v.{part}.{kind}"
        for part in ("patch_embed", "merger.norm", "merger.linear_fc1", "merger.linear_fc2")
        for kind in _BOTH
    ),
    *(
        f"v.blk.0.{part}.{kind}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_out", "norm1", "norm2", "mlp.linear_fc1", "mlp.linear_fc2")
        for kind in _BOTH
    ),
)
#: Its 15 MTP tensors in a dense file
MTP_NAMES = (
    *(f"mtp.{part}.weight" for part in ("fc", "norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden")),
    *(f"mtp.layers.0.attn_{part}.weight" for part in ("norm", "q", "k", "v", "q_norm", "k_norm", "output")),
    *(f"mtp.layers.0.{part}.weight" for part in ("post_attention_norm", "ffn_gate", "ffn_up", "ffn_down")),
)


def tiled(values: npt.NDArray[Any], axis: int, key_heads: int, per_key: int) -> npt.NDArray[Any]:
    """Value heads from grouped by key head (k0v0 k0v1 k1v0 …) to tiled (k0v0 k1v0 … k0v1 …), along an axis."""
    shape = values.shape
    apart = values.reshape(*shape[:axis], key_heads, per_key, -1, *shape[axis + 1 :])
    return np.ascontiguousarray(apart.swapaxes(axis, axis + 1).reshape(shape))


def qwen_tensors(c: dict[str, Any], tensors: Tensors) -> Tensors:
    """llama.cpp's form of the tensors of a qwen3_5[_moe]_text folder with this config.json."""
    keys, per_key = c["linear_num_key_heads"], c["linear_num_value_heads"] // c["linear_num_key_heads"]
    first_value = 2 * keys * c["linear_key_head_dim"]
    result: Tensors = {}
    for name, values in tensors.items():
        if name in _MODEL_NAMES:
            result[_MODEL_NAMES[name]] = values + np.float32(1) if name == "model.norm.weight" else values
            continue
        _, _, layer, rest = name.split(".", 3)
        block = f"blk.{layer}."
        if rest == "mlp.experts.gate_up_proj":
            gate, up = np.split(values, 2, axis=1)
            result |= {block + "ffn_gate_exps.weight": gate, block + "ffn_up_exps.weight": up}
            continue
        if rest == "mlp.experts.down_proj":
            result[block + "ffn_down_exps.weight"] = values
            continue
        if rest.endswith("norm.weight") and rest != "linear_attn.norm.weight":
            values = values + np.float32(1)
        elif rest == "linear_attn.A_log":
            values = tiled(-np.exp(values.astype(np.float64)), 0, keys, per_key).astype(np.float32)
        elif rest in ("linear_attn.in_proj_qkv.weight", "linear_attn.conv1d.weight"):
            values = values.reshape(len(values), -1)
            values = np.concatenate([values[:first_value], tiled(values[first_value:], 0, keys, per_key)])
        elif rest.startswith(("linear_attn.in_proj", "linear_attn.dt_bias")):
            values = tiled(values, 0, keys, per_key)
        elif rest == "linear_attn.out_proj.weight":
            values = tiled(values, 1, keys, per_key)
        result[block + _QWEN_NAMES[rest]] = values
    return result


def qwen_metadata(c: dict[str, Any]) -> dict[str, Any]:
    """llama.cpp's keys for it."""
    arch = "qwen35moe" if c.get("num_experts") else "qwen35"
    rope = c["rope_parameters"]
    fields = {
        "block_count": c["num_hidden_layers"],
        "context_length": c["max_position_embeddings"],
        "embedding_length": c["hidden_size"],
        "attention.head_count": c["num_attention_heads"],
        "attention.head_count_kv": c["num_key_value_heads"],
        "attention.key_length": c["head_dim"],
        "attention.value_length": c["head_dim"],
        "attention.layer_norm_rms_epsilon": c["rms_norm_eps"],
        "attention.recurrent_layers": [kind == "linear_attention" for kind in c["layer_types"]],
        "vocab_size": c["vocab_size"],
        "rope.dimension_count": int(c["head_dim"] * rope["partial_rotary_factor"]),
        "rope.dimension_sections": [*rope["mrope_section"], 0],
        "rope.freq_base": rope["rope_theta"],
        "ssm.conv_kernel": c["linear_conv_kernel_dim"],
        "ssm.state_size": c["linear_key_head_dim"],
        "ssm.group_count": c["linear_num_key_heads"],
        "ssm.time_step_rank": c["linear_num_value_heads"],
        "ssm.inner_size": c["linear_num_value_heads"] * c["linear_value_head_dim"],
    }
    if arch == "qwen35":
        fields["feed_forward_length"] = c["intermediate_size"]
    else:
        fields |= {
            "expert_count": c["num_experts"],
            "expert_used_count": c["num_experts_per_tok"],
            "expert_feed_forward_length": c["moe_intermediate_size"],
            "expert_shared_feed_forward_length": c["shared_expert_intermediate_size"],
        }
    return _prefixed(arch, fields)


def ollama_qwen_tensors(plain: Tensors) -> Tensors:
    """llama.cpp's tensors as Ollama's library has them: `ssm_dt` without an ending, vision and MTP in the same file."""
    result = {name.replace("ssm_dt.bias", "ssm_dt"): values for name, values in plain.items()}
    return result | {name: np.ones((2, 3), np.float32) for name in (*VISION_NAMES, *MTP_NAMES)}


def newest_qwen_tensors(c: dict[str, Any], plain: Tensors) -> Tensors:
    """What its converter writes since 2026-05: the MTP layer behind the others, as llama.cpp does."""
    layer = c["num_hidden_layers"]
    names = [f"nextn.{name}" for name in ("eh_proj", "enorm", "hnorm", "shared_head_norm")]
    names += [
        name for name in _QWEN_NAMES.values() if name.startswith(("attn", "ffn", "post")) and "gate_inp" not in name
    ]
    extra = {f"blk.{layer}.{name.removesuffix('.weight')}.weight": np.ones((2, 3), np.float32) for name in names}
    return plain | extra | {name: np.ones((2, 3), np.float32) for name in VISION_NAMES}


def newest_qwen_metadata(c: dict[str, Any]) -> dict[str, Any]:
    """Its keys: one number of KV heads, an interval for the kinds of layers, four sections, the MTP layer counted."""
    keys = ollama_qwen_metadata(c)
    arch, interval = keys["general.architecture"], c["layer_types"].index("full_attention") + 1
    assert [kind == "full_attention" for kind in c["layer_types"]] == [
        layer % interval == interval - 1 for layer in range(c["num_hidden_layers"])
    ]
    return keys | {
        f"{arch}.block_count": c["num_hidden_layers"] + 1,
        f"{arch}.nextn_predict_layers": 1,
        f"{arch}.attention.head_count_kv": c["num_key_value_heads"],
        f"{arch}.full_attention_interval": interval,
        f"{arch}.rope.dimension_sections": [*c["rope_parameters"]["mrope_section"], 0],
    }


def ollama_qwen_metadata(c: dict[str, Any]) -> dict[str, Any]:
    """The keys of Ollama's library: KV heads a layer with zeros, sections under three names, markers, vision."""
    plain = qwen_metadata(c)
    arch = plain.pop("general.architecture")
    fields = {key.removeprefix(arch + "."): value for key, value in plain.items()}
    # The list of tokens says the size; layers follow from the key-value heads.
    del fields["attention.recurrent_layers"], fields["vocab_size"]
    sections = c["rope_parameters"]["mrope_section"]
    fields |= {
        "attention.head_count_kv": [c["num_key_value_heads"] * (kind == "full_attention") for kind in c["layer_types"]],
        "feed_forward_length": c.get("intermediate_size", 0) if arch == "qwen35" else 0,
        "mrope_sections": sections,
        "rope.mrope_section": sections,
        "rope.dimension_sections": sections,
        "rope.mrope_interleaved": True,
        "ssm.v_head_reordered": True,
        "image_token_id": 5,
        "vision_start_token_id": 6,
        "vision_end_token_id": 7,
        "vision.block_count": 1,
        "vision.embedding_length": 1152,
        "vision.attention.head_count": 16,
        "vision.attention.layer_norm_epsilon": 1e-6,
        "vision.image_mean": [0.5, 0.5, 0.5],
        "vision.longest_edge": 16777216,
        "vision.rope.freq_base": 1e4,
        "tokenizer.ggml.tokens": [f"t{n}" for n in range(c["vocab_size"])],
    }
    if arch == "qwen35moe":
        fields["norm_top_k_prob"] = True
    return _prefixed(arch, fields)


def llama_tensors(tensors: Tensors) -> Tensors:
    """The tensors of a llama4_text folder, in the form of both converters."""
    result: Tensors = {}
    for name, values in tensors.items():
        if name in _MODEL_NAMES:
            result[_MODEL_NAMES[name]] = values
            continue
        _, _, layer, rest = name.split(".", 3)
        block = f"blk.{layer}."
        if rest.startswith("feed_forward.experts."):
            rows = np.ascontiguousarray(values.swapaxes(1, 2))
            if rest.endswith("down_proj"):
                result[block + "ffn_down_exps.weight"] = rows
            else:
                gate, up = np.split(rows, 2, axis=1)
                result |= {block + "ffn_gate_exps.weight": gate, block + "ffn_up_exps.weight": up}
        else:
            result[block + _LLAMA_NAMES[rest]] = values
    return result


def ollama_llama_tensors(plain: Tensors) -> Tensors:
    extra = ("v.patch_embedding.weight", "v.layers.0.attn_q.weight", "mm.linear_1.weight")
    return plain | {name: np.ones((2, 3), np.float32) for name in extra}


def llama_metadata(c: dict[str, Any]) -> dict[str, Any]:
    """llama.cpp's keys, and ours for what it has none."""
    fields = {
        "block_count": c["num_hidden_layers"],
        "context_length": c["max_position_embeddings"],
        "embedding_length": c["hidden_size"],
        "feed_forward_length": c["intermediate_size_mlp"],
        "expert_feed_forward_length": c["intermediate_size"],
        "expert_count": c["num_local_experts"],
        "expert_used_count": c["num_experts_per_tok"],
        "interleave_moe_layer_step": c["interleave_moe_layer_step"],
        "attention.head_count": c["num_attention_heads"],
        "attention.head_count_kv": c["num_key_value_heads"],
        "attention.key_length": c["head_dim"],
        "attention.value_length": c["head_dim"],
        "attention.layer_norm_rms_epsilon": c["rms_norm_eps"],
        "rope.dimension_count": c["head_dim"],
        "rope.freq_base": c["rope_theta"],
        "vocab_size": c["vocab_size"],
    }
    own = {"use_qk_norm": c["use_qk_norm"], "attention_chunk_size": c["attention_chunk_size"]}
    return _prefixed("llama4", fields) | {f"shoestring.llama4.{key}": value for key, value in own.items()}


def ollama_llama_metadata(c: dict[str, Any], first: bool = False) -> dict[str, Any]:
    """Ollama's keys; `first`: those of its first converter."""
    fields = {key: value for key, value in llama_metadata(c).items() if not key.startswith("shoestring.")}
    if first:
        fields["llama4.intermediate_size"] = fields.pop("llama4.feed_forward_length")
        fields["llama4.intermediate_size_moe"] = fields.pop("llama4.expert_feed_forward_length")
    return fields | {
        "llama4.attention.chunk_size": c["attention_chunk_size"],
        "llama4.attention.head_dim": c["head_dim"],
        "llama4.use_qk_norm": c["use_qk_norm"],
        "llama4.vision.block_count": 34,
        "llama4.vision.layer_norm_epsilon": 1e-5,
        "llama4.vision.pixel_shuffle_ratio": 0.5,
        "llama4.vision.rope.freq_base": 1e4,
    }


def _prefixed(arch: str, fields: dict[str, Any]) -> dict[str, Any]:
    keys = {key if key.startswith("tokenizer.") else f"{arch}.{key}": value for key, value in fields.items()}
    return {"general.architecture": arch, **keys}
