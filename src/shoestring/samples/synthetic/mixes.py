"""Choose each tensor's type for a file type, as llama.cpp's llama-quantize does without an importance matrix."""

from __future__ import annotations

from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES
from shoestring.errors import RequestError
from shoestring.spelling import option

#: llama.cpp's number of each file type that we can write (`general.file_type`).
FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18,
    "BF16": 32,
}  # fmt: skip
_ALIASES = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
#: The types to use if rows are not whole blocks of 256.
_SMALLER_BLOCKS = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}


def mix_name(name: str) -> str:
    """The file type's full name.

    Raises RequestError for an unknown one.
    """
    full = _ALIASES.get(name.upper(), name.upper())
    if full not in FILE_TYPES:
        raise RequestError(f"{option('type')} {name} is unknown: choose one of {', '.join(sorted(FILE_TYPES))}")
    return full


def tensor_type(mix: str, name: str, shape: tuple[int, ...], *, layers: int, experts: int, tied: bool) -> str:
    """The type of tensor `name` in a file of type `mix`."""
    mix = mix_name(mix)
    base = mix.removesuffix("_M")
    part = name.split(".")[-2] if name.count(".") else name
    if len(shape) < 2 or part in ("ffn_gate_inp", "ssm_conv1d"):
        return "F32"
    if base in ("F32", "F16", "BF16"):
        return base
    kind = _quantized_type(mix, base, part, int(name.split(".")[1]) if name.startswith("blk.") else 0,
                           layers=layers, experts=experts, tied=tied)  # fmt: skip
    if shape[-1] % TENSOR_TYPES[kind].block_size:
        kind = _SMALLER_BLOCKS.get(kind, kind)
    if kind not in WEIGHT_TYPES or shape[-1] % TENSOR_TYPES[kind].block_size:
        raise RequestError(f"rows of {name} have {shape[-1]} elements, no whole blocks of {kind}: choose another type")
    return kind


def _quantized_type(mix: str, base: str, part: str, layer: int, *, layers: int, experts: int, tied: bool) -> str:
    mixed = mix.endswith("_M")
    more_bits = mixed and (layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2)
    if part == "output" or (tied and part == "token_embd"):
        return base if base == "Q8_0" else "Q6_K"
    if part in ("attn_v", "attn_qkv"):
        return "Q8_0" if experts == 8 else "Q6_K" if more_bits else base
    if part == "attn_k" and experts == 8:
        return "Q8_0"
    if part == "attn_output" and experts == 8 and mix == "Q4_K_M":
        return "Q5_K"
    if part.startswith("ffn_down") and more_bits:
        return "Q6_K"
    return base
