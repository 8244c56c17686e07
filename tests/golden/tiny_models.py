"""Tiny checkpoints of both families whose numbers come from a counter: the same on every machine, generated on demand.

`TINY[name]` is a config.json and a function that generates the Hugging Face tensors. Numbers are sums of hashed
counters: integers until the last, exact scaling. The sizes let every trap of `shoestring.reference.traps` change the
logits.
"""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Tensors = dict[str, Float32]


def hashed(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """Counters 0 … count-1 mixed with a seed (the finalizer of splitmix64), 64 bits each."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def bell(name: str, *shape: int, deviation: float, mean: float = 0.0) -> Float32:
    """Roughly normal numbers, seeded by their name: the sum of four uniform 16-bit numbers."""
    bits = hashed(zlib.crc32(name.encode()), int(np.prod(shape)))
    parts = sum((bits >> np.uint64(16 * i)) & np.uint64(0xFFFF) for i in range(4)).astype(np.float64)
    # Variance of a uniform 16-bit number is 2^32 / 12.
    unit = (parts - 2 * 65535) / (2**16 * (4 / 12) ** 0.5)
    return (mean + deviation * unit).astype(np.float32).reshape(shape)


def matrix(name: str, *shape: int, inner: int | None = None, gain: float = 1.0) -> Float32:
    """A matrix that preserves the norm of its input. inner: its inner dimension (default: the last)."""
    return bell(name, *shape, deviation=gain * (inner or shape[-1]) ** -0.5)


def tokens(count: int, vocabulary: int, name: str = "tokens") -> npt.NDArray[np.int64]:
    return (hashed(zlib.crc32(name.encode()), count) % np.uint64(vocabulary)).astype(np.int64)


# --- Qwen 3.5 --------------------------------------------------------------------------------------------------


def qwen_config(**changes: Any) -> dict[str, Any]:
    """Text-only config.json; a large eps shows where it is added."""
    config: dict[str, Any] = {
        "architectures": ["Qwen3_5ForCausalLM"],
        "model_type": "qwen3_5_text",
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "attention_bias": False,
        "attn_output_gate": True,
        "rms_norm_eps": 1e-2,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_conv_kernel_dim": 4,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [3, 3, 2],
            "mrope_interleaved": True,
        },
    }
    return config | changes


def qwen_tensors(c: dict[str, Any]) -> Tensors:
    """All tensors of a qwen3_5_text or qwen3_5_moe_text checkpoint."""
    hidden, head_dim = c["hidden_size"], c["head_dim"]
    heads, key_value = c["num_attention_heads"], c["num_key_value_heads"]
    value_heads = c["linear_num_value_heads"]
    keys = c["linear_num_key_heads"] * c["linear_key_head_dim"]
    values = value_heads * c["linear_value_head_dim"]
    t: Tensors = {}

    def feed_forward(name: str, width: int) -> None:
        t[f"{name}.gate_proj.weight"] = matrix(f"{name}.gate", width, hidden, gain=2)
        t[f"{name}.up_proj.weight"] = matrix(f"{name}.up", width, hidden)
        t[f"{name}.down_proj.weight"] = matrix(f"{name}.down", hidden, width)

    t["model.embed_tokens.weight"] = bell("embed", c["vocab_size"], hidden, deviation=1)
    for i, layer_type in enumerate(c["layer_types"]):
        at = f"model.layers.{i}"
        t[f"{at}.input_layernorm.weight"] = bell(f"{at}.in", hidden, deviation=0.2)
        t[f"{at}.post_attention_layernorm.weight"] = bell(f"{at}.post", hidden, deviation=0.2)
        if layer_type == "linear_attention":
            net = f"{at}.linear_attn"
            t[f"{net}.in_proj_qkv.weight"] = matrix(f"{net}.qkv", 2 * keys + values, hidden)
            t[f"{net}.in_proj_z.weight"] = matrix(f"{net}.z", values, hidden)
            t[f"{net}.in_proj_a.weight"] = matrix(f"{net}.a", value_heads, hidden)
            t[f"{net}.in_proj_b.weight"] = matrix(f"{net}.b", value_heads, hidden)
            convolution = bell(f"{net}.conv", 2 * keys + values, 1, c["linear_conv_kernel_dim"], deviation=0.5)
            # Small queries and keys, so that the eps of their L2 norm matters.
            convolution[: 2 * keys] *= np.float32(2**-6)
            t[f"{net}.conv1d.weight"] = convolution
            t[f"{net}.A_log"] = bell(f"{net}.A", value_heads, deviation=0.7, mean=-1)
            t[f"{net}.dt_bias"] = bell(f"{net}.dt", value_heads, deviation=0.5)
            t[f"{net}.norm.weight"] = bell(f"{net}.norm", c["linear_value_head_dim"], deviation=0.2, mean=1)
            t[f"{net}.out_proj.weight"] = matrix(f"{net}.out", hidden, values)
        else:
            attention = f"{at}.self_attn"
            t[f"{attention}.q_proj.weight"] = matrix(f"{attention}.q", heads * 2 * head_dim, hidden)
            t[f"{attention}.k_proj.weight"] = matrix(f"{attention}.k", key_value * head_dim, hidden)
            t[f"{attention}.v_proj.weight"] = matrix(f"{attention}.v", key_value * head_dim, hidden)
            t[f"{attention}.o_proj.weight"] = matrix(f"{attention}.o", hidden, heads * head_dim, gain=2)
            t[f"{attention}.q_norm.weight"] = bell(f"{attention}.q_norm", head_dim, deviation=0.2, mean=0.3)
            t[f"{attention}.k_norm.weight"] = bell(f"{attention}.k_norm", head_dim, deviation=0.2, mean=0.3)
        if c.get("num_experts", 0):
            mlp, experts, width = f"{at}.mlp", c["num_experts"], c["moe_intermediate_size"]
            t[f"{mlp}.gate.weight"] = matrix(f"{mlp}.router", experts, hidden)
            t[f"{mlp}.experts.gate_up_proj"] = matrix(f"{mlp}.gate_up", experts, 2 * width, hidden, gain=1.5)
            t[f"{mlp}.experts.down_proj"] = matrix(f"{mlp}.down", experts, hidden, width)
            feed_forward(f"{mlp}.shared_expert", c["shared_expert_intermediate_size"])
            t[f"{mlp}.shared_expert_gate.weight"] = matrix(f"{mlp}.shared_gate", 1, hidden)
        else:
            feed_forward(f"{at}.mlp", c["intermediate_size"])
    t["model.norm.weight"] = bell("norm", hidden, deviation=0.2)
    if not c["tie_word_embeddings"]:
        t["lm_head.weight"] = matrix("head", c["vocab_size"], hidden, gain=3)
    return t


# --- Llama 4 ---------------------------------------------------------------------------------------------------


def llama_config(**changes: Any) -> dict[str, Any]:
    """Text-only config.json; chunk and temperature are small so that 40 tokens cross their edges."""
    config: dict[str, Any] = {
        "architectures": ["Llama4ForCausalLM"],
        "model_type": "llama4_text",
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 48,
        "intermediate_size_mlp": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "attention_bias": False,
        "rms_norm_eps": 1e-2,
        "attention_chunk_size": 16,
        "no_rope_layers": [1, 0, 1, 0],
        "attn_temperature_tuning": True,
        "floor_scale": 8,
        "attn_scale": 0.5,
        "use_qk_norm": True,
        "interleave_moe_layer_step": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    }
    return config | changes


def llama_tensors(c: dict[str, Any]) -> Tensors:
    """All tensors of a llama4_text checkpoint."""
    hidden, head_dim = c["hidden_size"], c["head_dim"]
    heads, key_value = c["num_attention_heads"], c["num_key_value_heads"]
    every, experts, width = c["interleave_moe_layer_step"], c["num_local_experts"], c["intermediate_size"]
    t: Tensors = {}

    def feed_forward(name: str, size: int) -> None:
        t[f"{name}.gate_proj.weight"] = matrix(f"{name}.gate", size, hidden, gain=2)
        t[f"{name}.up_proj.weight"] = matrix(f"{name}.up", size, hidden)
        t[f"{name}.down_proj.weight"] = matrix(f"{name}.down", hidden, size)

    t["model.embed_tokens.weight"] = bell("embed", c["vocab_size"], hidden, deviation=1)
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        t[f"{at}.input_layernorm.weight"] = bell(f"{at}.in", hidden, deviation=0.2, mean=1)
        t[f"{at}.post_attention_layernorm.weight"] = bell(f"{at}.post", hidden, deviation=0.2, mean=1)
        attention = f"{at}.self_attn"
        t[f"{attention}.q_proj.weight"] = matrix(f"{attention}.q", heads * head_dim, hidden)
        t[f"{attention}.k_proj.weight"] = matrix(f"{attention}.k", key_value * head_dim, hidden)
        t[f"{attention}.v_proj.weight"] = matrix(f"{attention}.v", key_value * head_dim, hidden)
        t[f"{attention}.o_proj.weight"] = matrix(f"{attention}.o", hidden, heads * head_dim, gain=2)
        feed = f"{at}.feed_forward"
        if i % every == every - 1:
            t[f"{feed}.router.weight"] = matrix(f"{feed}.router", experts, hidden)
            gate_up = (experts, hidden, 2 * width)
            t[f"{feed}.experts.gate_up_proj"] = matrix(f"{feed}.gate_up", *gate_up, inner=hidden, gain=1.5)
            t[f"{feed}.experts.down_proj"] = matrix(f"{feed}.down", experts, width, hidden, inner=width)
            feed_forward(f"{feed}.shared_expert", width)
        else:
            feed_forward(feed, c["intermediate_size_mlp"])
    t["model.norm.weight"] = bell("norm", hidden, deviation=0.2, mean=1)
    if not c["tie_word_embeddings"]:
        t["lm_head.weight"] = matrix("head", c["vocab_size"], hidden, gain=3)
    return t


# --- the models ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TinyModel:
    config: dict[str, Any]
    tensors: Callable[[dict[str, Any]], Tensors]
    #: whether rotary positions differ from positions in the sequence, as for images
    spread_positions: bool = False

    def make(self) -> Tensors:
        return self.tensors(self.config)

    def tokens(self) -> npt.NDArray[np.int64]:
        return tokens(40, self.config["vocab_size"])

    def rotary_positions(self) -> npt.NDArray[np.int64]:
        """[40, 3]"""
        time = np.arange(40, dtype=np.int64)
        if not self.spread_positions:
            return np.stack([time, time, time], axis=1)
        return np.stack([time // 8, time // 4 % 5 + time // 8, time % 7 + time // 8], axis=1)

    def write(self, folder: Path) -> Path:
        """A Hugging Face folder, float32."""
        (folder / "config.json").write_text(json.dumps(self.config))
        write_safetensors(folder / "model.safetensors", self.make())
        return folder


YARN = qwen_config()["rope_parameters"] | {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
MIXTURE = {
    "architectures": ["Qwen3_5MoeForCausalLM"],
    "model_type": "qwen3_5_moe_text",
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 48,
}

TINY = {
    "qwen-dense": TinyModel(qwen_config(tie_word_embeddings=True, rope_parameters=YARN), qwen_tensors),
    "qwen-mixture": TinyModel(qwen_config(**MIXTURE), qwen_tensors, spread_positions=True),
    "llama-scout": TinyModel(llama_config(interleave_moe_layer_step=1, num_local_experts=3), llama_tensors),
    "llama-maverick": TinyModel(llama_config(attention_chunk_size=8), llama_tensors),
}


def write_safetensors(path: Path, tensors: dict[str, npt.NDArray[Any]]) -> None:
    """Header length, JSON header, data; bytes are FP8, the rest float32."""
    header, offset = {}, 0
    for name, array in tensors.items():
        end = offset + array.nbytes
        kind = "F8_E4M3" if array.dtype == np.uint8 else "F32"
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())
