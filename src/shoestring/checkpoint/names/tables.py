"""Foreign tensor names, one table per family, with GGUF and Hugging Face side by side. A row reads

    ours   GGUF name   Hugging Face name   fold of the Hugging Face values

Rows are in the order in which llama.cpp's converter writes tensors. The converter has already applied the folds: norms
include their +1, the decay is −exp(A_log). Value heads keep each file's order (`Config.value_head_order`). Llama 4's
q and k rows are interleaved rotary pairs in both formats: the converter permutes those of Llama 2 and 3 only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoestring.checkpoint.config.types import Config, Qwen3_5Config

#: How stored values become the ones that we compute with: as stored, 1 + w (norms), −exp(A_log).
Fold = Literal["none", "add_one", "negative_exp"]


@dataclass(frozen=True)
class Row:
    ours: str
    gguf: str
    hugging_face: str
    fold: Fold = "none"


def _mlp(ours: str, gguf: str, hugging_face: str) -> tuple[Row, ...]:
    """The three matrices of a feed-forward block; `{}` is gate, up or down."""
    return tuple(Row(f"{ours}.{role}", gguf.format(role), hugging_face.format(role)) for role in ("gate", "up", "down"))


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
    Row("attention.query_norm", "attn_q_norm.weight", "self_attn.q_norm.weight", "add_one"),
    Row("attention.key_norm", "attn_k_norm.weight", "self_attn.k_norm.weight", "add_one"),
    Row("attention.output", "attn_output.weight", "self_attn.o_proj.weight"),
)
QWEN_DELTA_NET = (
    Row("delta.qkv", "attn_qkv.weight", "linear_attn.in_proj_qkv.weight"),
    Row("delta.z", "attn_gate.weight", "linear_attn.in_proj_z.weight"),
    Row("delta.convolution", "ssm_conv1d.weight", "linear_attn.conv1d.weight"),
    Row("delta.dt_bias", "ssm_dt.bias", "linear_attn.dt_bias"),
    Row("delta.decay", "ssm_a", "linear_attn.A_log", "negative_exp"),
    Row("delta.a", "ssm_alpha.weight", "linear_attn.in_proj_a.weight"),
    Row("delta.b", "ssm_beta.weight", "linear_attn.in_proj_b.weight"),
    # The gated norm multiplies by w itself: no fold.
    Row("delta.norm", "ssm_norm.weight", "linear_attn.norm.weight"),
    Row("delta.output", "ssm_out.weight", "linear_attn.out_proj.weight"),
)
QWEN_DENSE = _mlp("mlp", "ffn_{}.weight", "mlp.{}_proj.weight")
QWEN_MIXTURE = (
    Row("router", "ffn_gate_inp.weight", "mlp.gate.weight"),
    Row("shared_gate", "ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"),
    *_mlp("shared", "ffn_{}_shexp.weight", "mlp.shared_expert.{}_proj.weight"),
)

LLAMA_MODEL = (
    Row("embedding", "token_embd.weight", "embed_tokens.weight"),
    Row("norm", "output_norm.weight", "norm.weight"),
)
LLAMA_LAYER = (
    Row("input_norm", "attn_norm.weight", "input_layernorm.weight"),
    Row("attention.query", "attn_q.weight", "self_attn.q_proj.weight"),
    Row("attention.key", "attn_k.weight", "self_attn.k_proj.weight"),
    Row("attention.value", "attn_v.weight", "self_attn.v_proj.weight"),
    Row("attention.output", "attn_output.weight", "self_attn.o_proj.weight"),
    Row("post_norm", "ffn_norm.weight", "post_attention_layernorm.weight"),
)
LLAMA_DENSE = _mlp("mlp", "ffn_{}.weight", "feed_forward.{}_proj.weight")
LLAMA_MIXTURE = (
    Row("router", "ffn_gate_inp.weight", "feed_forward.router.weight"),
    *_mlp("shared", "ffn_{}_shexp.weight", "feed_forward.shared_expert.{}_proj.weight"),
)

#: Names that Ollama's converter gives to some tensors
GGUF_OTHER_NAMES = {"ssm_dt.bias": "ssm_dt"}

#: The converter has an option to write these rows as one tensor, stacked in this order.
GGUF_FUSED_QKV = "attn_qkv.weight"
FUSED_ROWS = {"attention.query_gate", "attention.query", "attention.key", "attention.value"}

HEAD = Row("head", "output.weight", "lm_head.weight")


@dataclass(frozen=True)
class ExpertNames:
    """Names of the routed experts' tensors; `{}` is gate, up, down, or gate_up (gate and up stacked in each expert).

    stacked: a tensor of all experts. single: a tensor of expert `{e}`; "": the format has none.
    transposed: stacked tensors are [experts, columns, rows].
    """

    stacked: str
    single: str = ""
    transposed: bool = False


GGUF_EXPERTS = ExpertNames("ffn_{}_exps.weight")
HUGGING_FACE_EXPERTS = {
    "qwen3_5": ExpertNames("mlp.experts.{}_proj", "mlp.experts.{e}.{}_proj.weight"),
    "llama4": ExpertNames("feed_forward.experts.{}_proj", "feed_forward.experts.{e}.{}_proj.weight", transposed=True),
}

#: (prefix of the model's tensors, prefix of the head): multimodal first, then text-only.
HUGGING_FACE_PREFIXES = {
    "qwen3_5": (("model.language_model.", ""), ("model.", "")),
    "llama4": (("language_model.model.", "language_model."), ("model.", "")),
}

VISION_UNUSED, MTP_UNUSED = "vision: images are not read yet", "multi-token prediction: not used yet"
#: Beginnings of names that no weight uses, and why. In GGUF, Ollama's files have all parts of a model.
GGUF_IGNORED = {"v.": VISION_UNUSED, "mm.": VISION_UNUSED, "mtp.": MTP_UNUSED}
HUGGING_FACE_IGNORED = {
    "qwen3_5": {"model.visual.": VISION_UNUSED, "visual.": VISION_UNUSED, "mtp.": MTP_UNUSED, "model.mtp.": MTP_UNUSED},
    "llama4": {"vision_model.": VISION_UNUSED, "multi_modal_projector.": VISION_UNUSED},
}


def model_rows(config: Config) -> tuple[Row, ...]:
    """The rows outside the layers, except the head."""
    return QWEN_MODEL if isinstance(config, Qwen3_5Config) else LLAMA_MODEL


def layer_rows(config: Config, layer: int) -> tuple[Row, ...]:
    """All rows of one layer, except the routed experts."""
    if isinstance(config, Qwen3_5Config):
        mixer = QWEN_ATTENTION if config.layer_types[layer] == "full_attention" else QWEN_DELTA_NET
        return QWEN_LAYER + mixer + (QWEN_MIXTURE if config.is_mixture else QWEN_DENSE)
    return LLAMA_LAYER + (LLAMA_MIXTURE if config.moe_layers[layer] else LLAMA_DENSE)
