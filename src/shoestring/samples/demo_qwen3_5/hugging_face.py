"""demo-qwen3.5 as a Hugging Face folder: safetensors, config, tokenizer, for any program that reads those.

Undoes what GGUF folds: norms lose their one, the decay becomes A_log again, stacks of experts lie gate over up.
Matrices are bfloat16. All else is float32: of norms as small as SmolLM2's (0.02), bfloat16 would keep a digit of 1 − w.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Qwen3_5Config
from shoestring.checkpoint.formats.gguf_write import Progress
from shoestring.checkpoint.names.tables import layer_rows
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError, RequestError
from shoestring.samples.demo_qwen3_5.blocks import Bytes, Float32
from shoestring.samples.demo_qwen3_5.join import numbers

_PREFIX = "model."


def export(model: Checkpoint, folder: Path, progress: Progress | None = None) -> None:
    """Write the folder from the joined GGUF file; `progress(bytes written, bytes in all)`.

    Raises RequestError when the folder holds something already, CheckpointError for another model.
    """
    config = parse_config(model)
    if not isinstance(config, Qwen3_5Config) or not config.is_mixture:
        raise CheckpointError(f"{model.path} is no Qwen 3.5 mixture: only demo-qwen3.5 is exported")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} exists and is not an empty folder: choose another")
    folder.mkdir(parents=True, exist_ok=True)
    _write_safetensors(folder / "model.safetensors", model, config, progress)
    _write_json(folder / "config.json", config_json(config))
    _write_tokenizer(folder, model)


def config_json(c: Qwen3_5Config) -> dict[str, Any]:
    """As transformers' Qwen3_5MoeForCausalLM has it."""
    return {
        "architectures": ["Qwen3_5MoeForCausalLM"],
        "model_type": "qwen3_5_moe_text",
        "dtype": "float32",
        "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size,
        "num_hidden_layers": c.num_hidden_layers,
        "layer_types": list(c.layer_types),
        "num_attention_heads": c.num_attention_heads,
        "num_key_value_heads": c.num_key_value_heads,
        "head_dim": c.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rms_norm_eps": c.rms_norm_eps,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": c.rotary.theta,
            "partial_rotary_factor": c.rotary.dims / c.head_dim,
            "mrope_section": list(c.rotary.sections),
            "mrope_interleaved": True,
        },
        "linear_num_key_heads": c.linear_num_key_heads,
        "linear_num_value_heads": c.linear_num_value_heads,
        "linear_key_head_dim": c.linear_key_head_dim,
        "linear_value_head_dim": c.linear_value_head_dim,
        "linear_conv_kernel_dim": c.linear_conv_kernel_dim,
        "num_experts": c.num_experts,
        "num_experts_per_tok": c.num_experts_per_tok,
        "moe_intermediate_size": c.moe_intermediate_size,
        "shared_expert_intermediate_size": c.shared_expert_intermediate_size,
        "max_position_embeddings": c.max_position_embeddings,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }


def _arrays(model: Checkpoint, c: Qwen3_5Config) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    """Name, shape and a function that makes the numbers, of every tensor of the folder."""

    def whole(name: str) -> Any:
        return lambda: numbers(model.tensors[name])

    yield _PREFIX + "embed_tokens.weight", (c.vocab_size, c.hidden_size), whole("token_embd.weight")
    yield _PREFIX + "norm.weight", (c.hidden_size,), lambda: numbers(model.tensors["output_norm.weight"]) - 1
    for layer in range(c.num_hidden_layers):
        ours, theirs = f"blk.{layer}.", f"{_PREFIX}layers.{layer}."
        for row in layer_rows(c, layer):
            tensor = model.tensors[ours + row.gguf]
            shape = tensor.shape
            if row.ours == "shared_gate":
                shape = (1, c.hidden_size)
            elif row.ours == "delta.convolution":
                shape = (shape[0], 1, shape[1])
            yield theirs + row.hugging_face, shape, lambda tensor=tensor, fold=row.fold: unfolded(numbers(tensor), fold)
        e, m, h = c.num_experts, c.moe_intermediate_size, c.hidden_size
        yield (
            theirs + "mlp.experts.gate_up_proj",
            (e, 2 * m, h),
            lambda ours=ours: np.concatenate(
                [_experts(model, f"{ours}ffn_{part}_exps.weight") for part in ("gate", "up")], axis=1
            ),
        )
        yield (
            theirs + "mlp.experts.down_proj",
            (e, h, m),
            lambda ours=ours: _experts(model, f"{ours}ffn_down_exps.weight"),
        )


def _experts(model: Checkpoint, name: str) -> Float32:
    return numbers(model.tensors[name])


def unfolded(values: Float32, fold: str) -> Float32:
    """What Hugging Face stores for what GGUF stores."""
    match fold:
        case "add_one":
            return np.asarray(values - 1)
        case "negative_exp":
            return np.asarray(np.log(-values))
    return values


def to_bf16(values: Float32) -> Bytes:
    """Rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32).reshape(-1)
    return np.asarray(((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).view(np.uint8))


def _is_matrix(shape: tuple[int, ...]) -> bool:
    """Or a stack of matrices; a convolution [channels, 1, taps] is none."""
    return len(shape) > 1 and shape[-2] > 1


def _write_safetensors(path: Path, model: Checkpoint, c: Qwen3_5Config, progress: Progress | None) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    arrays = list(_arrays(model, c))
    offset = 0
    for name, shape, _ in arrays:
        size = (2 if _is_matrix(shape) else 4) * int(np.prod(shape))
        kind = "BF16" if _is_matrix(shape) else "F32"
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    done = 0
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape, make in arrays:
            values = make()
            if values.size != int(np.prod(shape)):
                raise CheckpointError(f"{model.path}: {name} has another size than {list(shape)}")
            done += file.write(to_bf16(values).data if _is_matrix(shape) else values.astype("<f4").tobytes())
            if progress is not None:
                progress(done, offset)


def _write_tokenizer(folder: Path, model: Checkpoint) -> None:
    """tokenizer.json as SmolLM2's: byte-level BPE, digits one by one, control tokens apart."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    old = model.metadata
    tokens, merges = old["tokenizer.ggml.tokens"], old["tokenizer.ggml.merges"]
    special = [token for token, kind in zip(tokens, old["tokenizer.ggml.token_type"], strict=True) if kind == 3]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    built = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges]))
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in special])
    built.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens[old["tokenizer.ggml.bos_token_id"]],
            "eos_token": tokens[old["tokenizer.ggml.eos_token_id"]],
            "pad_token": tokens[old["tokenizer.ggml.padding_token_id"]],
            "unk_token": tokens[old["tokenizer.ggml.unknown_token_id"]],
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": old["qwen35moe.context_length"],
            "chat_template": old["tokenizer.chat_template"],
        },
    )
    _write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
