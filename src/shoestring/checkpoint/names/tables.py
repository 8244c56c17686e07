"""The tables of foreign names, a table a family, GGUF and Hugging Face side by side.

Owns which tensor of a file is which of ours, its shape in letters, and what is folded into it. A row reads

    ours   shape   part   GGUF name   Hugging Face name   fold of the Hugging Face values

GGUF comes from llama.cpp's converter, which has folded already: norms with their +1, −exp(A_log). Value heads
stay in each file's order (`Config.value_head_order`). Llama 4's q and k rows are interleaved rotary pairs in both
(the converter leaves them as they are, unlike those of Llama 2 and 3). Letters:

    V vocabulary  H hidden  D head  Q query rows (heads·D)  QG queries and gates (2·heads·D)  KV key or value rows
    I dense width  E experts  M expert width  S shared expert's width
    C convolution channels (2·key + value rows)  W its width  DV delta-net value rows  VH value heads  VD value head
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoestring.checkpoint.config.types import Config, Llama4Config, Qwen3_5Config

Part = Literal[
    "embeddings", "head", "norms", "attention", "delta_net", "router", "shared_experts", "routed_experts", "dense"
]
Fold = Literal["none", "add_one", "negative_exp"]


@dataclass(frozen=True)
class Row:
    ours: str
    shape: str
    part: Part
    gguf: str
    hugging_face: str
    fold: Fold = "none"


QWEN_MODEL = (
    Row("embedding", "V H", "embeddings", "token_embd.weight", "embed_tokens.weight"),
    Row("norm", "H", "norms", "output_norm.weight", "norm.weight", "add_one"),
)
QWEN_LAYER = (
    Row("input_norm", "H", "norms", "attn_norm.weight", "input_layernorm.weight", "add_one"),
    Row("post_norm", "H", "norms", "post_attention_norm.weight", "post_attention_layernorm.weight", "add_one"),
)
QWEN_ATTENTION = (
    Row("attention.query_gate", "QG H", "attention", "attn_q.weight", "self_attn.q_proj.weight"),
    Row("attention.key", "KV H", "attention", "attn_k.weight", "self_attn.k_proj.weight"),
    Row("attention.value", "KV H", "attention", "attn_v.weight", "self_attn.v_proj.weight"),
    Row("attention.output", "H Q", "attention", "attn_output.weight", "self_attn.o_proj.weight"),
    Row("attention.query_norm", "D", "norms", "attn_q_norm.weight", "self_attn.q_norm.weight", "add_one"),
    Row("attention.key_norm", "D", "norms", "attn_k_norm.weight", "self_attn.k_norm.weight", "add_one"),
)
QWEN_DELTA_NET = (
    Row("delta.qkv", "C H", "delta_net", "attn_qkv.weight", "linear_attn.in_proj_qkv.weight"),
    Row("delta.z", "DV H", "delta_net", "attn_gate.weight", "linear_attn.in_proj_z.weight"),
    Row("delta.a", "VH H", "delta_net", "ssm_alpha.weight", "linear_attn.in_proj_a.weight"),
    Row("delta.b", "VH H", "delta_net", "ssm_beta.weight", "linear_attn.in_proj_b.weight"),
    Row("delta.output", "H DV", "delta_net", "ssm_out.weight", "linear_attn.out_proj.weight"),
    Row("delta.convolution", "C W", "delta_net", "ssm_conv1d.weight", "linear_attn.conv1d.weight"),
    Row("delta.decay", "VH", "delta_net", "ssm_a", "linear_attn.A_log", "negative_exp"),
    Row("delta.dt_bias", "VH", "delta_net", "ssm_dt.bias", "linear_attn.dt_bias"),
    # The gated norm multiplies by w itself: no fold.
    Row("delta.norm", "VD", "norms", "ssm_norm.weight", "linear_attn.norm.weight"),
)
QWEN_DENSE = (
    Row("mlp.gate", "I H", "dense", "ffn_gate.weight", "mlp.gate_proj.weight"),
    Row("mlp.up", "I H", "dense", "ffn_up.weight", "mlp.up_proj.weight"),
    Row("mlp.down", "H I", "dense", "ffn_down.weight", "mlp.down_proj.weight"),
)
QWEN_MIXTURE = (
    Row("router", "E H", "router", "ffn_gate_inp.weight", "mlp.gate.weight"),
    Row("shared_gate", "1 H", "router", "ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"),
    Row("shared.gate", "S H", "shared_experts", "ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"),
    Row("shared.up", "S H", "shared_experts", "ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"),
    Row("shared.down", "H S", "shared_experts", "ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"),
)

LLAMA_MODEL = (
    Row("embedding", "V H", "embeddings", "token_embd.weight", "embed_tokens.weight"),
    Row("norm", "H", "norms", "output_norm.weight", "norm.weight"),
)
LLAMA_LAYER = (
    Row("input_norm", "H", "norms", "attn_norm.weight", "input_layernorm.weight"),
    Row("post_norm", "H", "norms", "ffn_norm.weight", "post_attention_layernorm.weight"),
    Row("attention.query", "Q H", "attention", "attn_q.weight", "self_attn.q_proj.weight"),
    Row("attention.key", "KV H", "attention", "attn_k.weight", "self_attn.k_proj.weight"),
    Row("attention.value", "KV H", "attention", "attn_v.weight", "self_attn.v_proj.weight"),
    Row("attention.output", "H Q", "attention", "attn_output.weight", "self_attn.o_proj.weight"),
)
LLAMA_DENSE = (
    Row("mlp.gate", "I H", "dense", "ffn_gate.weight", "feed_forward.gate_proj.weight"),
    Row("mlp.up", "I H", "dense", "ffn_up.weight", "feed_forward.up_proj.weight"),
    Row("mlp.down", "H I", "dense", "ffn_down.weight", "feed_forward.down_proj.weight"),
)
LLAMA_MIXTURE = (
    Row("router", "E H", "router", "ffn_gate_inp.weight", "feed_forward.router.weight"),
    Row("shared.gate", "S H", "shared_experts", "ffn_gate_shexp.weight", "feed_forward.shared_expert.gate_proj.weight"),
    Row("shared.up", "S H", "shared_experts", "ffn_up_shexp.weight", "feed_forward.shared_expert.up_proj.weight"),
    Row("shared.down", "H S", "shared_experts", "ffn_down_shexp.weight", "feed_forward.shared_expert.down_proj.weight"),
)

#: Rows that the converter may write as one tensor (its option to fuse them), stacked in this order.
GGUF_FUSED_QKV = "attn_qkv.weight"
FUSED_ROWS = {"attention.query_gate", "attention.query", "attention.key", "attention.value"}

HEAD = Row("head", "V H", "head", "output.weight", "lm_head.weight")


@dataclass(frozen=True)
class ExpertNames:
    """Where routed experts lie: stacked, gate over up stacked, or one by one (`{e}`: the expert's number).

    `transposed`: the stacked Hugging Face tensors have their input dimension before their output dimension.
    """

    gate: str
    up: str
    down: str
    gate_up: str
    single: tuple[str, str, str] | None
    transposed: bool = False


GGUF_EXPERTS = ExpertNames(
    "ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight", "ffn_gate_up_exps.weight", None
)
QWEN_EXPERTS = ExpertNames(
    "mlp.experts.gate_proj",
    "mlp.experts.up_proj",
    "mlp.experts.down_proj",
    "mlp.experts.gate_up_proj",
    ("mlp.experts.{e}.gate_proj.weight", "mlp.experts.{e}.up_proj.weight", "mlp.experts.{e}.down_proj.weight"),
)
LLAMA_EXPERTS = ExpertNames(
    "feed_forward.experts.gate_proj",
    "feed_forward.experts.up_proj",
    "feed_forward.experts.down_proj",
    "feed_forward.experts.gate_up_proj",
    (
        "feed_forward.experts.{e}.gate_proj.weight",
        "feed_forward.experts.{e}.up_proj.weight",
        "feed_forward.experts.{e}.down_proj.weight",
    ),
    transposed=True,
)

#: (prefix of the model's tensors, prefix of the head): multimodal first, then text-only.
HUGGING_FACE_PREFIXES = {
    "qwen3_5": (("model.language_model.", ""), ("model.", "")),
    "llama4": (("language_model.model.", "language_model."), ("model.", "")),
}

#: Tensors that nothing uses, by the beginning of their Hugging Face names, and why.
HUGGING_FACE_IGNORED = {
    "qwen3_5": {
        "model.visual.": "vision: images are not read yet",
        "visual.": "vision: images are not read yet",
        "mtp.": "multi-token prediction: not used yet",
        "model.mtp.": "multi-token prediction: not used yet",
    },
    "llama4": {
        "vision_model.": "vision: images are not read yet",
        "multi_modal_projector.": "vision: images are not read yet",
    },
}


def layer_rows(config: Config, layer: int) -> tuple[Row, ...]:
    """All rows of one layer but the routed experts."""
    if isinstance(config, Qwen3_5Config):
        mixer = QWEN_ATTENTION if config.layer_types[layer] == "full_attention" else QWEN_DELTA_NET
        return QWEN_LAYER + mixer + (QWEN_MIXTURE if config.is_mixture else QWEN_DENSE)
    return LLAMA_LAYER + (LLAMA_MIXTURE if config.moe_layers[layer] else LLAMA_DENSE)


def has_experts(config: Config, layer: int) -> bool:
    return config.is_mixture if isinstance(config, Qwen3_5Config) else config.moe_layers[layer]


def sizes(config: Config) -> dict[str, int]:
    """What each letter of a shape means in one model."""
    common = {
        "1": 1,
        "V": config.vocab_size,
        "H": config.hidden_size,
        "D": config.head_dim,
        "Q": config.num_attention_heads * config.head_dim,
        "QG": 2 * config.num_attention_heads * config.head_dim,
        "KV": config.num_key_value_heads * config.head_dim,
    }
    if isinstance(config, Llama4Config):
        return common | {
            "I": config.intermediate_size_mlp,
            "E": config.num_local_experts,
            "M": config.intermediate_size,
            "S": config.intermediate_size,
        }
    value_rows = config.linear_num_value_heads * config.linear_value_head_dim
    return common | {
        "I": config.intermediate_size,
        "E": config.num_experts,
        "M": config.moe_intermediate_size,
        "S": config.shared_expert_intermediate_size,
        "C": 2 * config.linear_num_key_heads * config.linear_key_head_dim + value_rows,
        "W": config.linear_conv_kernel_dim,
        "DV": value_rows,
        "VH": config.linear_num_value_heads,
        "VD": config.linear_value_head_dim,
    }
