"""Lay out the tensors and metadata of a GGUF file of each family, as llama.cpp's converter writes them.

Defines names, shapes (outermost first) and the scale of each tensor's random content; no bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from shoestring.checkpoint.config.parse import write_config
from shoestring.checkpoint.config.rotary import frequency_divisors
from shoestring.checkpoint.config.types import Config, Llama4Config, Qwen3_5Config
from shoestring.errors import RequestError
from shoestring.samples.synthetic.vocabulary import vocabulary

Fill = Literal["matrix", "norm", "decay", "dt_bias", "convolution", "values"]


@dataclass(frozen=True)
class Slot:
    """A tensor to fill. `gain`: a matrix multiplies the standard deviation of its input by about this."""

    name: str
    shape: tuple[int, ...]
    fill: Fill = "matrix"
    gain: float = 1.0
    values: tuple[float, ...] = ()


def layout(config: Config) -> list[Slot]:
    """All tensors of a model, in the order of the file."""
    return list(_llama4(config) if isinstance(config, Llama4Config) else _qwen3_5(config))


def metadata(config: Config) -> dict[str, Any]:
    """All metadata except the file type."""
    if isinstance(config, Qwen3_5Config):
        config = replace(config, mtp_num_hidden_layers=0)  # the file has no tensors for them
    keys = write_config(config, "gguf")
    name = keys["general.architecture"]
    return {
        **keys,
        "general.type": "model",
        "general.name": f"synthetic {name}",
        "general.quantization_version": 2,
        **vocabulary(name.removesuffix("moe"), config.vocab_size),
    }


def _ends(config: Config) -> Iterator[Slot]:
    # The head's gain is the logits' standard deviation: its input is normed.
    yield Slot("token_embd.weight", (config.vocab_size, config.hidden_size), gain=3.0 if config.tie_word_embeddings else
               config.hidden_size**0.5)  # fmt: skip
    yield Slot("output_norm.weight", (config.hidden_size,), "norm")
    if not config.tie_word_embeddings:
        yield Slot("output.weight", (config.vocab_size, config.hidden_size), gain=3.0)


def _mlp(prefix: str, suffix: str, hidden: int, width: int, experts: int = 0) -> Iterator[Slot]:
    """gate, up, down of a dense layer, a shared expert, or all routed experts of a layer."""
    lead = (experts,) if experts else ()
    yield Slot(f"{prefix}ffn_gate{suffix}.weight", (*lead, width, hidden))
    yield Slot(f"{prefix}ffn_up{suffix}.weight", (*lead, width, hidden))
    yield Slot(f"{prefix}ffn_down{suffix}.weight", (*lead, hidden, width), gain=2.0)  # silu(gate) · up is about ½


def _qwen3_5(config: Qwen3_5Config) -> Iterator[Slot]:
    hidden, dim = config.hidden_size, config.head_dim
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    key_width = config.linear_num_key_heads * config.linear_key_head_dim
    value_heads = config.linear_num_value_heads
    value_width = value_heads * config.linear_value_head_dim
    if config.linear_key_head_dim != config.linear_value_head_dim:
        raise RequestError("linear_key_head_dim and linear_value_head_dim differ, which GGUF has no key for")

    yield from _ends(config)
    for number, kind in enumerate(config.layer_types):
        n = f"blk.{number}."
        yield Slot(f"{n}attn_norm.weight", (hidden,), "norm")
        yield Slot(f"{n}post_attention_norm.weight", (hidden,), "norm")
        if kind == "full_attention":
            yield Slot(f"{n}attn_q.weight", (heads * dim * 2, hidden))
            yield Slot(f"{n}attn_k.weight", (kv_heads * dim, hidden))
            yield Slot(f"{n}attn_v.weight", (kv_heads * dim, hidden))
            yield Slot(f"{n}attn_q_norm.weight", (dim,), "norm")
            yield Slot(f"{n}attn_k_norm.weight", (dim,), "norm")
            yield Slot(f"{n}attn_output.weight", (hidden, heads * dim), gain=2.0)  # its input is gated by sigmoid
        else:
            yield Slot(f"{n}attn_qkv.weight", (2 * key_width + value_width, hidden))
            yield Slot(f"{n}attn_gate.weight", (value_width, hidden))
            yield Slot(
                f"{n}ssm_conv1d.weight", (2 * key_width + value_width, config.linear_conv_kernel_dim), "convolution"
            )
            yield Slot(f"{n}ssm_dt.bias", (value_heads,), "dt_bias")
            yield Slot(f"{n}ssm_a", (value_heads,), "decay")
            yield Slot(f"{n}ssm_alpha.weight", (value_heads, hidden))
            yield Slot(f"{n}ssm_beta.weight", (value_heads, hidden))
            yield Slot(f"{n}ssm_norm.weight", (config.linear_value_head_dim,), "norm")
            yield Slot(f"{n}ssm_out.weight", (hidden, value_width), gain=2.0)
        if config.is_mixture:
            yield Slot(f"{n}ffn_gate_inp.weight", (config.num_experts, hidden), gain=2.0)
            yield Slot(f"{n}ffn_gate_inp_shexp.weight", (hidden,))
            yield from _mlp(n, "_exps", hidden, config.moe_intermediate_size, config.num_experts)
            yield from _mlp(n, "_shexp", hidden, config.shared_expert_intermediate_size)
        else:
            yield from _mlp(n, "", hidden, config.intermediate_size)


def _llama4(config: Llama4Config) -> Iterator[Slot]:
    hidden, dim = config.hidden_size, config.head_dim
    yield from _ends(config)
    if divisors := frequency_divisors(config.rotary):
        yield Slot("rope_freqs.weight", (len(divisors),), "values", values=divisors)
    for number, mixture in enumerate(config.moe_layers):
        n = f"blk.{number}."
        yield Slot(f"{n}attn_norm.weight", (hidden,), "norm")
        yield Slot(f"{n}attn_q.weight", (config.num_attention_heads * dim, hidden))
        yield Slot(f"{n}attn_k.weight", (config.num_key_value_heads * dim, hidden))
        yield Slot(f"{n}attn_v.weight", (config.num_key_value_heads * dim, hidden))
        yield Slot(f"{n}attn_output.weight", (hidden, config.num_attention_heads * dim))
        yield Slot(f"{n}ffn_norm.weight", (hidden,), "norm")
        if mixture:
            yield Slot(f"{n}ffn_gate_inp.weight", (config.num_local_experts, hidden), gain=4.0)
            yield from _mlp(n, "_exps", hidden, config.intermediate_size, config.num_local_experts)
            yield from _mlp(n, "_shexp", hidden, config.intermediate_size)
        else:
            yield from _mlp(n, "", hidden, config.intermediate_size_mlp)
