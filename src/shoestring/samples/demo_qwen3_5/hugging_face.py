"""Export demo-qwen3.5 as a Hugging Face folder: safetensors, config and tokenizer.

Reverses GGUF's changes: norms lose their 1, the decay becomes A_log again, experts' gate and up are stacked. Matrices
are bfloat16. Everything else is float32: SmolLM2's norms are so small (0.02) that bfloat16 keeps one digit of 1 − w.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, TensorSpec, serialize_file

from shoestring.checkpoint.config.parse import parse_config, write_config
from shoestring.checkpoint.config.types import Qwen3_5Config
from shoestring.checkpoint.formats.gguf_write import Progress
from shoestring.checkpoint.names.tables import layer_rows
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError, RequestError, ShoestringError
from shoestring.files import check_space, check_writable, reason, write_whole
from shoestring.samples.demo_qwen3_5.blocks import Bytes, Float32
from shoestring.samples.demo_qwen3_5.join import numbers

_FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
_SPECIAL_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


def export(model: Checkpoint, folder: Path, progress: Progress | None = None) -> None:
    """Write the folder from the joined GGUF file. Calls `progress(bytes written, bytes in all)`.

    Raises RequestError if the folder is not empty, CheckpointError for another model.
    """
    config = parse_config(model)
    if not isinstance(config, Qwen3_5Config) or not config.is_mixture:
        raise CheckpointError(f"{model.path} is no Qwen 3.5 mixture: only demo-qwen3.5 is exported")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} exists and is not an empty folder: choose another")
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_safetensors(folder / "model.safetensors", model, config, progress)
        values = {**write_config(config, "safetensors"), "dtype": "float32", **_SPECIAL_TOKENS}
        _write_json(folder / "config.json", values)
        shutil.copymode(folder / "config.json", folder / "model.safetensors")  # the library makes it private
        _write_tokenizer(folder, model)
    except BaseException as error:
        _remove(folder, existed)
        if isinstance(error, OSError):
            raise RequestError(f"cannot write {folder} ({reason(error)}): choose a writable folder") from None
        raise


def _remove(folder: Path, existed: bool) -> None:
    """Remove what a failed export wrote into a folder that was empty or new."""
    with suppress(OSError):
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        if not existed:
            folder.rmdir()


def _arrays(model: Checkpoint, c: Qwen3_5Config) -> Iterator[tuple[str, Float32]]:
    """Every tensor of the folder."""
    yield "model.embed_tokens.weight", numbers(model.tensors["token_embd.weight"])
    yield "model.norm.weight", numbers(model.tensors["output_norm.weight"]) - 1
    for layer in range(c.num_hidden_layers):
        ours, theirs = f"blk.{layer}.", f"model.layers.{layer}."
        for row in layer_rows(c, layer):
            values = unfolded(numbers(model.tensors[ours + row.gguf]), row.fold)
            if row.ours == "shared_gate":
                values = values[None]
            elif row.ours == "delta.convolution":
                values = values[:, None]
            yield theirs + row.hugging_face, values
        gate, up, down = (numbers(model.tensors[f"{ours}ffn_{part}_exps.weight"]) for part in ("gate", "up", "down"))
        yield theirs + "mlp.experts.gate_up_proj", np.concatenate([gate, up], axis=1)
        yield theirs + "mlp.experts.down_proj", down


def unfolded(values: Float32, fold: str) -> Float32:
    """Convert a GGUF tensor to what Hugging Face stores."""
    match fold:
        case "add_one":
            return np.asarray(values - 1)
        case "negative_exp":
            return np.asarray(np.log(-values))
    return values


def to_bf16(values: Float32) -> Bytes:
    """Round to bfloat16, to the nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32).reshape(-1)
    return np.asarray(((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).view(np.uint8))


def _write_safetensors(path: Path, model: Checkpoint, c: Qwen3_5Config, progress: Progress | None) -> None:
    """Write atomically: the library writes a temporary file and renames it, over anything that has the name."""
    floats = sum(math.prod(t.shape) for t in model.tensors.values() if len(t.shape) == 1 or "conv1d" in t.name)
    total = 2 * floats + 2 * sum(math.prod(t.shape) for t in model.tensors.values())
    check_space(path, total)
    tensors, data, done = {}, [], 0  # `data` owns the bytes that `tensors` points to
    for name, values in _arrays(model, c):
        # A matrix or a stack of them, but not a convolution [channels, 1, taps].
        is_matrix = values.ndim > 1 and values.shape[-2] > 1
        data.append(to_bf16(values) if is_matrix else np.ascontiguousarray(values, "<f4"))
        address, size = data[-1].ctypes.data, data[-1].nbytes
        kind = "bfloat16" if is_matrix else "float32"
        tensors[name] = TensorSpec(dtype=kind, shape=list(values.shape), data_ptr=address, data_len=size)
        done += size
        if progress is not None:
            progress(done, total)
    check_writable(path)
    try:
        serialize_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        check_space(path, total)
        raise ShoestringError(f"{path} cannot be written ({error}): choose a folder that is writable") from error


def _write_tokenizer(folder: Path, model: Checkpoint) -> None:
    """Write SmolLM2's tokenizer.json: byte-level BPE, single digits, separate control tokens."""
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
    _write_text(folder / "tokenizer.json", built.to_str(pretty=True))
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
    _write_json(folder / "generation_config.json", _SPECIAL_TOKENS)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    _write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with write_whole(path) as file:
        file.write(text.encode("utf-8"))
