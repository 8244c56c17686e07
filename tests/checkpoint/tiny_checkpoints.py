"""Tiny checkpoints of both families, written in both formats from one set of numbers.

`weights` has our names and the numbers of a model; the writers put them where Hugging Face and llama.cpp's
converter would, so that what a binding finds can be compared with `==`. Names are spelled out here again: a table
that is wrong in the package must not be right by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

Floats = npt.NDArray[np.float32]

V, H, HEADS, KV_HEADS, D = 40, 32, 4, 2, 16
KEY_HEADS, VALUE_HEADS, KEY_DIM, VALUE_DIM, WIDTH = 2, 4, 8, 8, 4
FFN, M, S, E = 64, 48, 32, 3
C = 2 * KEY_HEADS * KEY_DIM + VALUE_HEADS * VALUE_DIM
LAYERS = 4
KINDS = ("qwen-dense", "qwen-mixture", "scout", "maverick")


@dataclass(frozen=True)
class Tiny:
    kind: str
    weights: dict[str, Floats]
    tied: bool = False

    @property
    def is_qwen(self) -> bool:
        return self.kind.startswith("qwen")


def tiny(kind: str, seed: int = 0, tied: bool = False) -> Tiny:
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"embedding": (V, H), "norm": (H,)}
    if not tied:
        shapes["head"] = (V, H)
    for n in range(LAYERS):
        layer = _qwen_layer(kind, n) if kind.startswith("qwen") else _llama_layer(kind, n)
        shapes |= {f"layers.{n}.{name}": shape for name, shape in layer.items()}
    return Tiny(kind, {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}, tied)


def _qwen_layer(kind: str, n: int) -> dict[str, tuple[int, ...]]:
    value = VALUE_HEADS * VALUE_DIM
    layer: dict[str, tuple[int, ...]] = {"input_norm": (H,), "post_norm": (H,)}
    if n % 4 == 3:
        layer |= {
            "attention.query_gate": (2 * HEADS * D, H),
            "attention.key": (KV_HEADS * D, H),
            "attention.value": (KV_HEADS * D, H),
            "attention.output": (H, HEADS * D),
            "attention.query_norm": (D,),
            "attention.key_norm": (D,),
        }
    else:
        layer |= {
            "delta.qkv": (C, H),
            "delta.z": (value, H),
            "delta.a": (VALUE_HEADS, H),
            "delta.b": (VALUE_HEADS, H),
            "delta.output": (H, value),
            "delta.convolution": (C, WIDTH),
            "delta.decay": (VALUE_HEADS,),
            "delta.dt_bias": (VALUE_HEADS,),
            "delta.norm": (VALUE_DIM,),
        }
    if kind == "qwen-dense":
        return layer | {"mlp.gate": (FFN, H), "mlp.up": (FFN, H), "mlp.down": (H, FFN)}
    return layer | _mixture() | {"shared_gate": (1, H)}


def _llama_layer(kind: str, n: int) -> dict[str, tuple[int, ...]]:
    layer: dict[str, tuple[int, ...]] = {
        "input_norm": (H,),
        "post_norm": (H,),
        "attention.query": (HEADS * D, H),
        "attention.key": (KV_HEADS * D, H),
        "attention.value": (KV_HEADS * D, H),
        "attention.output": (H, HEADS * D),
    }
    if kind == "maverick" and n % 2 == 0:
        return layer | {"mlp.gate": (FFN, H), "mlp.up": (FFN, H), "mlp.down": (H, FFN)}
    return layer | _mixture(shared=M)


def _mixture(shared: int = S) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"router": (E, H)}
    shapes |= {"shared.gate": (shared, H), "shared.up": (shared, H), "shared.down": (H, shared)}
    for e in range(E):
        shapes |= {f"experts.{e}.gate": (M, H), f"experts.{e}.up": (M, H), f"experts.{e}.down": (H, M)}
    return shapes


# --- Hugging Face ----------------------------------------------------------------------------------------------

_HF = {
    "embedding": "embed_tokens.weight",
    "norm": "norm.weight",
    "input_norm": "input_layernorm.weight",
    "post_norm": "post_attention_layernorm.weight",
    "attention.query_gate": "self_attn.q_proj.weight",
    "attention.query": "self_attn.q_proj.weight",
    "attention.key": "self_attn.k_proj.weight",
    "attention.value": "self_attn.v_proj.weight",
    "attention.output": "self_attn.o_proj.weight",
    "attention.query_norm": "self_attn.q_norm.weight",
    "attention.key_norm": "self_attn.k_norm.weight",
    "delta.qkv": "linear_attn.in_proj_qkv.weight",
    "delta.z": "linear_attn.in_proj_z.weight",
    "delta.a": "linear_attn.in_proj_a.weight",
    "delta.b": "linear_attn.in_proj_b.weight",
    "delta.output": "linear_attn.out_proj.weight",
    "delta.convolution": "linear_attn.conv1d.weight",
    "delta.decay": "linear_attn.A_log",
    "delta.dt_bias": "linear_attn.dt_bias",
    "delta.norm": "linear_attn.norm.weight",
}


def hugging_face_tensors(model: Tiny, single_experts: bool = False, multimodal: bool = True) -> dict[str, Floats]:
    mlp = "mlp" if model.is_qwen else "feed_forward"
    text = {True: "model.language_model.", False: "model."} if model.is_qwen else {
        True: "language_model.model.", False: "model."
    }  # fmt: skip
    prefix = text[multimodal]
    names = dict(_HF)
    shared = f"{mlp}.shared_expert."
    names |= {"router": f"{mlp}.gate.weight" if model.is_qwen else f"{mlp}.router.weight"}
    names |= {"shared_gate": f"{mlp}.shared_expert_gate.weight"}
    for which in ("gate", "up", "down"):
        names |= {f"shared.{which}": f"{shared}{which}_proj.weight", f"mlp.{which}": f"{mlp}.{which}_proj.weight"}
    tensors: dict[str, Floats] = {}
    for ours, values in model.weights.items():
        if ".experts." in ours:
            _, n, _, e, which = ours.split(".")
            if single_experts:
                tensors[f"{prefix}layers.{n}.{mlp}.experts.{e}.{which}_proj.weight"] = values
        elif ours == "head":
            tensors["language_model.lm_head.weight" if multimodal and not model.is_qwen else "lm_head.weight"] = values
        elif ours.startswith("layers."):
            _, n, rest = ours.split(".", 2)
            tensors[f"{prefix}layers.{n}.{names[rest]}"] = values[:, None, :] if "convolution" in ours else values
        else:
            tensors[prefix + names[ours]] = values
    if not single_experts:
        for n in range(LAYERS):
            if f"layers.{n}.router" in model.weights:
                gate, up, down = (_stack(model, n, which) for which in ("gate", "up", "down"))
                gate_up = np.concatenate([gate, up], axis=1)
                if not model.is_qwen:  # Llama 4 multiplies from the other side
                    gate_up, down = gate_up.swapaxes(1, 2), down.swapaxes(1, 2)
                tensors[f"{prefix}layers.{n}.{mlp}.experts.gate_up_proj"] = np.ascontiguousarray(gate_up)
                tensors[f"{prefix}layers.{n}.{mlp}.experts.down_proj"] = np.ascontiguousarray(down)
    return tensors


def _stack(model: Tiny, n: int, which: str) -> Floats:
    return np.stack([model.weights[f"layers.{n}.experts.{e}.{which}"] for e in range(E)])


def hugging_face_config(model: Tiny, multimodal: bool = True) -> dict[str, Any]:
    text: dict[str, Any] = {
        "vocab_size": V,
        "hidden_size": H,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": D,
        "hidden_act": "silu",
        "rms_norm_eps": 2.0**-20,
        "max_position_embeddings": 4096,
        "attention_bias": False,
        "initializer_range": 0.02,
        "use_cache": True,
    }
    if model.is_qwen:
        model_type = "qwen3_5" if model.kind == "qwen-dense" else "qwen3_5_moe"
        text |= {
            "linear_num_key_heads": KEY_HEADS,
            "linear_num_value_heads": VALUE_HEADS,
            "linear_key_head_dim": KEY_DIM,
            "linear_value_head_dim": VALUE_DIM,
            "linear_conv_kernel_dim": WIDTH,
            "layer_types": ["linear_attention"] * 3 + ["full_attention"],
            "full_attention_interval": 4,
            "mtp_num_hidden_layers": 0,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000_000,
                "partial_rotary_factor": 0.5,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
            },
        }
        if model.kind == "qwen-dense":
            text |= {"intermediate_size": FFN}
        else:
            text |= {"num_experts": E, "num_experts_per_tok": 2, "moe_intermediate_size": M}
            text |= {"shared_expert_intermediate_size": S}
    else:
        model_type = "llama4"
        text |= {
            "intermediate_size": M,
            "intermediate_size_mlp": FFN,
            "num_local_experts": E,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 2 if model.kind == "maverick" else 1,
            "rope_theta": 500000.0,
            "rope_scaling": None,
            "attention_chunk_size": 8192,
            "use_qk_norm": True,
        }
    if not multimodal:
        return {**text, "model_type": model_type + "_text", "tie_word_embeddings": model.tied}
    return {
        "model_type": model_type,
        "text_config": text,
        "tie_word_embeddings": model.tied,
        "vision_config": {"depth": 1},
    }


def write_hugging_face(
    folder: Path, config: dict[str, Any], tensors: dict[str, npt.NDArray[Any]], shards: int = 1
) -> Path:
    """A folder as `save_pretrained` leaves it; with several shards, tensors are dealt to them in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    weight_map = {}
    for n in range(shards):
        file = f"model-{n + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(list(tensors.items())[n::shards])
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


# --- GGUF ------------------------------------------------------------------------------------------------------

_GGUF = {
    "embedding": "token_embd.weight",
    "norm": "output_norm.weight",
    "head": "output.weight",
    "input_norm": "attn_norm.weight",
    "attention.query_gate": "attn_q.weight",
    "attention.query": "attn_q.weight",
    "attention.key": "attn_k.weight",
    "attention.value": "attn_v.weight",
    "attention.output": "attn_output.weight",
    "attention.query_norm": "attn_q_norm.weight",
    "attention.key_norm": "attn_k_norm.weight",
    "delta.qkv": "attn_qkv.weight",
    "delta.z": "attn_gate.weight",
    "delta.a": "ssm_alpha.weight",
    "delta.b": "ssm_beta.weight",
    "delta.output": "ssm_out.weight",
    "delta.convolution": "ssm_conv1d.weight",
    "delta.decay": "ssm_a",
    "delta.dt_bias": "ssm_dt.bias",
    "delta.norm": "ssm_norm.weight",
    "mlp.gate": "ffn_gate.weight",
    "mlp.up": "ffn_up.weight",
    "mlp.down": "ffn_down.weight",
    "router": "ffn_gate_inp.weight",
    "shared_gate": "ffn_gate_inp_shexp.weight",
    "shared.gate": "ffn_gate_shexp.weight",
    "shared.up": "ffn_up_shexp.weight",
    "shared.down": "ffn_down_shexp.weight",
}


def gguf_tensors(model: Tiny, fused: bool = False) -> dict[str, Floats]:
    """As the converter writes them; `fused`: with its options that join gate with up, and q with k and v."""
    names = {**_GGUF, "post_norm": "post_attention_norm.weight" if model.is_qwen else "ffn_norm.weight"}
    tensors: dict[str, Floats] = {}
    for ours, values in model.weights.items():
        if ours.startswith("layers.") and ".experts." not in ours:
            _, n, rest = ours.split(".", 2)
            tensors[f"blk.{n}.{names[rest]}"] = values[0] if rest == "shared_gate" else values
        elif not ours.startswith("layers."):
            tensors[names[ours]] = values
    for n in range(LAYERS):
        block = f"blk.{n}."
        if f"layers.{n}.router" in model.weights:
            gate, up, down = (_stack(model, n, which) for which in ("gate", "up", "down"))
            if fused:
                tensors[block + "ffn_gate_up_exps.weight"] = np.concatenate([gate, up], axis=1)
            else:
                tensors |= {block + "ffn_gate_exps.weight": gate, block + "ffn_up_exps.weight": up}
            tensors[block + "ffn_down_exps.weight"] = down
        if fused and block + "attn_q.weight" in tensors:
            parts = [tensors.pop(block + f"attn_{name}.weight") for name in "qkv"]
            tensors[block + "attn_qkv.weight"] = np.concatenate(parts)
    return tensors


def gguf_metadata(model: Tiny) -> dict[str, Any]:
    """Keys as the converter writes them; numpy scalars carry the type."""
    arch = {"qwen-dense": "qwen35", "qwen-mixture": "qwen35moe"}.get(model.kind, "llama4")
    fields: dict[str, Any] = {
        "block_count": LAYERS,
        "context_length": 4096,
        "embedding_length": H,
        "feed_forward_length": FFN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.key_length": D,
        "attention.value_length": D,
        "attention.layer_norm_rms_epsilon": 2.0**-20,
        "vocab_size": V,
    }
    if model.is_qwen:
        fields |= {
            "rope.dimension_count": D // 2,
            "rope.dimension_sections": [2, 1, 1, 0],
            "rope.freq_base": 1e7,
            "ssm.conv_kernel": WIDTH,
            "ssm.state_size": KEY_DIM,
            "ssm.group_count": KEY_HEADS,
            "ssm.time_step_rank": VALUE_HEADS,
            "ssm.inner_size": VALUE_HEADS * VALUE_DIM,
            "full_attention_interval": 4,
        }
        if model.kind == "qwen-mixture":
            fields |= {"expert_count": E, "expert_used_count": 2, "expert_feed_forward_length": M}
            fields |= {"expert_shared_feed_forward_length": S}
    else:
        fields |= {
            "rope.dimension_count": D,
            "rope.freq_base": 5e5,
            "expert_count": E,
            "expert_used_count": 1,
            "expert_feed_forward_length": M,
            "interleave_moe_layer_step": 2 if model.kind == "maverick" else 1,
        }
    return {"general.architecture": arch} | {f"{arch}.{key}": value for key, value in fields.items()}


def write_gguf_file(
    path: Path,
    metadata: dict[str, Any],
    tensors: dict[str, npt.NDArray[Any]],
    types: dict[str, gguf.GGMLQuantizationType] | None = None,
    split: int = 0,
) -> Path:
    """With the `gguf` package. `types`: of tensors given as bytes of blocks. `split`: most tensors a file."""
    rest = dict(metadata)
    writer = gguf.GGUFWriter(path, rest.pop("general.architecture"), split_max_tensors=split)
    for key, value in rest.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    for name, values in tensors.items():
        writer.add_tensor(name, values, raw_dtype=(types or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
