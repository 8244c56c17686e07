"""The tables of foreign names, a table a family, GGUF and Hugging Face side by side.

Owns which tensor of a file is which of ours, and what is folded into it. A row reads

    ours   GGUF name   Hugging Face name   fold of the Hugging Face values

GGUF comes from llama.cpp's converter, which has folded already: norms with their +1, −exp(A_log). Value heads
stay in each file's order (`Config.value_head_order`). Llama 4's q and k rows are interleaved rotary pairs in both
(the converter does not permute them, unlike those of Llama 2 and 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoestring.checkpoint.config.types import Config, Qwen3_5Config

Fold = Literal["none", "add_one", "negative_exp"]


@dataclass(frozen=True)
class Row:
    ours: str
    gguf: str
    hugging_face: str
    fold: Fold = "none"


QWEN_MODEL = (
    Row("embedding", "token_embd.weight", "embed_tokens.weight"),
    Row("norm", "output_norm.weight", "norm.weight", "add_one"),
)
QWEN_LAYER = (
    Row("input_norm", "attn_norm.weight", "input_layernorm.weight", "add_one"),
    Row("post_norm", "post_attention_norm.weight", "post_attention_layernorm.weight", "add_one"),
)
QWEN_ATTENTION = (
    Row("attention.query_gate", "attn_q.weight", "self_attn.q_proj.weight"),
    Row("attention.key", "attn_k.weight", "self_attn.k_proj.weight"),
    Row("attention.value", "attn_v.weight", "self_attn.v_proj.weight"),
    Row("attention.output", "attn_output.weight", "self_attn.o_proj.weight"),
    Row("attention.query_norm", "attn_q_norm.weight", "self_attn.q_norm.weight", "add_one"),
    Row("attention.key_norm", "attn_k_norm.weight", "self_attn.k_norm.weight", "add_one"),
)
QWEN_DELTA_NET = (
    Row("delta.qkv", "attn_qkv.weight", "linear_attn.in_proj_qkv.weight"),
    Row("delta.z", "attn_gate.weight", "linear_attn.in_proj_z.weight"),
    Row("delta.a", "ssm_alpha.weight", "linear_attn.in_proj_a.weight"),
    Row("delta.b", "ssm_beta.weight", "linear_attn.in_proj_b.weight"),
    Row("delta.output", "ssm_out.weight", "linear_attn.out_proj.weight"),
    Row("delta.convolution", "ssm_conv1d.weight", "linear_attn.conv1d.weight"),
    Row("delta.decay", "ssm_a", "linear_attn.A_log", "negative_exp"),
    Row("delta.dt_bias", "ssm_dt.bias", "linear_attn.dt_bias"),
    # The gated norm multiplies by w itself: no fold.
    Row("delta.norm", "ssm_norm.weight", "linear_attn.norm.weight"),
)
QWEN_DENSE = (
    Row("mlp.gate", "ffn_gate.weight", "mlp.gate_proj.weight"),
    Row("mlp.up", "ffn_up.weight", "mlp.up_proj.weight"),
    Row("mlp.down", "ffn_down.weight", "mlp.down_proj.weight"),
)
QWEN_MIXTURE = (
    Row("router", "ffn_gate_inp.weight", "mlp.gate.weight"),
    Row("shared_gate", "ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"),
    Row("shared.gate", "ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"),
    Row("shared.up", "ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"),
    Row("shared.down", "ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"),
)

LLAMA_MODEL = (
    Row("embedding", "token_embd.weight", "embed_tokens.weight"),
    Row("norm", "output_norm.weight", "norm.weight"),
)
LLAMA_LAYER = (
    Row("input_norm", "attn_norm.weight", "input_layernorm.weight"),
    Row("post_norm", "ffn_norm.weight", "post_attention_layernorm.weight"),
    Row("attention.query", "attn_q.weight", "self_attn.q_proj.weight"),
    Row("attention.key", "attn_k.weight", "self_attn.k_proj.weight"),
    Row("attention.value", "attn_v.weight", "self_attn.v_proj.weight"),
    Row("attention.output", "attn_output.weight", "self_attn.o_proj.weight"),
)
LLAMA_DENSE = (
    Row("mlp.gate", "ffn_gate.weight", "feed_forward.gate_proj.weight"),
    Row("mlp.up", "ffn_up.weight", "feed_forward.up_proj.weight"),
    Row("mlp.down", "ffn_down.weight", "feed_forward.down_proj.weight"),
)
LLAMA_MIXTURE = (
    Row("router", "ffn_gate_inp.weight", "feed_forward.router.weight"),
    Row("shared.gate", "ffn_gate_shexp.weight", "feed_forward.shared_expert.gate_proj.weight"),
    Row("shared.up", "ffn_up_shexp.weight", "feed_forward.shared_expert.up_proj.weight"),
    Row("shared.down", "ffn_down_shexp.weight", "feed_forward.shared_expert.down_proj.weight"),
)

#: Rows that the converter may write as one tensor (its option to fuse them), stacked in this order.
GGUF_FUSED_QKV = "attn_qkv.weight"
FUSED_ROWS = {"attention.query_gate", "attention.query", "attention.key", "attention.value"}

HEAD = Row("head", "output.weight", "lm_head.weight")


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
