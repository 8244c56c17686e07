"""Compute the bytes of each tensor of a checkpoint in a type: BF16, FP8, GGUF blocks, 4-bit GPTQ, NVFP4.

A type is a rule from a Shape to bytes. The rules follow the files that vendors publish, named at each rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from shoestring import ops
from shoestring.checkpoint.names.parts import PARTS, Part
from shoestring.checkpoint.tensors import TENSOR_TYPES
from shoestring.errors import RequestError
from shoestring.planning.candidates.shapes import Shape
from shoestring.spelling import option

#: GGUF block formats: elements and bytes of a block (ggml-common.h)
BLOCKS: dict[str, tuple[int, int]] = {
    **{name: (t.block_size, t.block_bytes) for name, t in TENSOR_TYPES.items() if name != "F8_E4M3"},
    "IQ4_NL": (32, 18), "IQ4_XS": (256, 136), "Q3_K": (256, 110), "IQ3_S": (256, 110), "IQ3_XXS": (256, 98),
    "Q2_K": (256, 84), "IQ2_S": (256, 82), "IQ2_XS": (256, 74), "IQ2_XXS": (256, 66), "IQ1_M": (256, 56),
    "IQ1_S": (256, 50),
}  # fmt: skip

#: GGUF types that are a mix: a base type, and Q6_K for the most sensitive tensors
MIXES = {"Q4_K_M": "Q4_K", "Q5_K_M": "Q5_K"}
GGUF_TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K", "IQ3_XXS", "Q2_K", "IQ2_XXS",
              "IQ1_M")  # fmt: skip
#: the types that our engine computes with
OWN_TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0")
GPU_TYPES = ("FP8", "GPTQ", "NVFP4")
#: MLX's affine quantization: bits, and one scale and one bias of 16 bits for this many weights
MLX_TYPES = {"MLX-8bit": 8, "MLX-4bit": 4}
MLX_GROUP = 64
TYPES = ("BF16", *GPU_TYPES, *MLX_TYPES, *GGUF_TYPES)
ALIASES = {"AWQ": "GPTQ", "INT4": "GPTQ", "W4A16": "GPTQ", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "F16": "BF16",
           "FP4": "NVFP4", "Q2": "Q2_K", "Q3": "Q3_K", "Q3_K_M": "Q3_K", "Q4": "Q4_K_M", "Q5": "Q5_K_M", "Q6": "Q6_K",
           "Q8": "Q8_0", "MLX": "MLX-4bit", "MLX_4": "MLX-4bit", "MLX_8": "MLX-8bit"}  # fmt: skip
#: unsloth's dynamic mixes, and the type that most of their experts have; uploads.toml has the sizes of some
DYNAMIC = {
    "UD-IQ1_M": "IQ1_M", "UD-IQ2_XXS": "IQ2_XXS", "UD-IQ2_M": "IQ2_S", "UD-Q2_K_XL": "Q2_K", "UD-IQ3_XXS": "IQ3_XXS",
    "UD-Q3_K_XL": "Q3_K", "UD-IQ4_XS": "IQ4_XS", "UD-Q4_K_XL": "Q4_K_M", "UD-Q5_K_XL": "Q5_K_M", "UD-Q6_K_XL": "Q6_K",
    "UD-Q8_K_XL": "Q8_0",
}  # fmt: skip
#: types whose upload has another name
UPLOADED_AS = {"Q3_K": "Q3_K_M", "IQ3_XXS": "UD-IQ3_XXS", "IQ2_XXS": "UD-IQ2_XXS", "IQ1_M": "UD-IQ1_M"}

#: a part that our engine leaves in the file
NOT_LOADED: frozenset[Part] = frozenset(("mtp",))
#: linear layers that FP8 and 4-bit files convert; others stay BF16
CONVERTED: frozenset[Part] = frozenset(("attention", "delta_net", "feed_forward", "shared_experts", "routed_experts"))
#: of these, the small projections and the convolution stay BF16
KEPT_ROLES = frozenset(("a", "b", "convolution", "fc"))
#: parts that a GGUF file below four bits keeps at Q4_K
SENSITIVE: frozenset[Part] = frozenset(("attention", "delta_net", "shared_experts", "embeddings"))


@dataclass(frozen=True)
class Sizes:
    """Bytes of a checkpoint in one type, by part."""

    type: str
    by_part: tuple[tuple[Part, int], ...]

    @cached_property
    def total(self) -> int:
        return sum(size for _, size in self.by_part)

    def of(self, *parts: Part) -> int:
        return sum(size for part, size in self.by_part if part in parts)


def type_name(name: str) -> str:
    """Normalize a type's name. Raises RequestError that suggests similar names."""
    if name.upper() in DYNAMIC:
        return name.upper()
    words = re.fullmatch(r"(\d)[ _-]?bits?", name.strip(), re.IGNORECASE)
    normalized = f"Q{words[1]}" if words else name.upper().replace("-", "_")
    normalized = ALIASES.get(normalized, normalized)
    for known in TYPES:
        if known.upper().replace("-", "_") == normalized:
            return known
    near = get_close_matches(name.upper(), (*TYPES, *DYNAMIC, *ALIASES), n=3, cutoff=0.6)
    raise RequestError(
        f"{option('quant')} {name} is unknown: choose {', '.join(near) if near else 'one of ' + ', '.join(TYPES)}"
    )


def is_gguf(name: str) -> bool:
    return name in GGUF_TYPES or name in DYNAMIC


def is_mlx(name: str) -> bool:
    return name in MLX_TYPES


def bits(name: str) -> float:
    """Bits per weight of a type's main format, including scales."""
    if is_mlx(name):
        return MLX_TYPES[name] + 32 / MLX_GROUP
    if name in ("FP8", "GPTQ", "NVFP4"):
        return {"FP8": 8 + 32 / (128 * 128), "GPTQ": 4 + 20 / 128, "NVFP4": 4 + 8 / 16}[name]
    name = DYNAMIC.get(name, name)
    block, size = BLOCKS[MIXES.get(name, name)]
    return 8 * size / block


def sizes(shapes: Iterable[Shape], name: str, layers: int, loaded: bool = False, tied: bool | None = None) -> Sizes:
    """Bytes by part of all `shapes` in type `name`: in the file, or loaded by our engine.

    `layers`: the text model's number of layers, which mixes depend on. `tied`: whether the embedding is also the head;
    None: if there is no head among the shapes.
    """
    shapes = tuple(shapes)
    total = dict.fromkeys(PARTS, 0)
    tied = not any(s.role == "head" for s in shapes) if tied is None else tied
    count = loaded_bytes if loaded else tensor_bytes
    for shape in shapes:
        total[shape.part] += shape.count * count(shape, name, layers, tied)
    return Sizes(name, tuple((part, size) for part, size in total.items() if size))


def loaded_bytes(shape: Shape, name: str, layers: int, tied: bool) -> int:
    """Bytes of one tensor once our engine has loaded it."""
    if shape.part in NOT_LOADED:
        return 0
    if not shape.matrix:
        return 4 * shape.rows * shape.columns
    if shape.part == "vision":
        name = tower_type(shape)
    elif is_gguf(name):
        name = gguf_type(shape, name, layers, tied)
    return ops.packed_bytes(name, shape.rows, shape.columns)


def tensor_bytes(shape: Shape, name: str, layers: int, tied: bool) -> int:
    """Bytes of one tensor in a file."""
    if is_gguf(name):
        block, size = BLOCKS[gguf_type(shape, name, layers, tied)]
        return shape.rows * (shape.columns // block) * size
    part = shape.like or shape.part
    rows, columns = shape.rows, shape.columns
    if is_mlx(name):  # mlx_lm.convert: every linear layer and the embedding whose width is a multiple of the group
        converted = shape.matrix and part != "vision" and shape.role != "convolution" and not columns % MLX_GROUP
        return rows * (columns * MLX_TYPES[name] // 8 + 4 * columns // MLX_GROUP if converted else 2 * columns)
    converted = part in CONVERTED and shape.matrix and shape.role not in KEPT_ROLES
    if name == "BF16" or not converted:
        return 2 * rows * columns
    if name == "FP8":  # one float32 scale per block of 128 × 128, as Qwen publishes
        return rows * columns + 4 * _ceil(rows, 128) * _ceil(columns, 128)
    if name == "GPTQ":  # groups of 128 inputs: 4-bit weights and zero, float16 scale; AWQ has the same size
        groups = rows * _ceil(columns, 128)
        return _ceil(rows * columns, 2) + 2 * groups + _ceil(groups, 2)
    # NVFP4 as NVIDIA publishes it: only routed experts (in a dense model the feed-forward), an 8-bit scale every
    # 16, and two float32 per tensor; multi-token prediction is not converted.
    if part not in ("routed_experts", "feed_forward") or shape.part == "mtp":
        return 2 * rows * columns
    return _ceil(rows * columns, 2) + rows * _ceil(columns, 16) + 8


def gguf_type(shape: Shape, name: str, layers: int, tied: bool) -> str:
    """The block format of a tensor in a GGUF file: llama.cpp's rules for the types from four bits up.

    Below four bits, experts and feed-forward use the type; weights that every token uses stay Q4_K.
    """
    part, name = shape.like or shape.part, DYNAMIC.get(name, name)
    if shape.part == "vision":
        return tower_type(shape)
    if not shape.matrix or part == "router" or shape.rows == 1:
        return "F32"
    base = MIXES.get(name, name)
    if shape.role == "head" or (tied and shape.role == "embedding"):
        chosen = "Q8_0" if base == "Q8_0" else "Q6_K"
    elif name in MIXES and _takes_more_bits(shape, layers):
        chosen = "Q6_K"
    elif bits(base) < 4 and part in SENSITIVE:
        chosen = "Q4_K"
    else:
        chosen = base
    if shape.columns % BLOCKS[chosen][0]:
        chosen = {"Q6_K": "Q8_0", "Q5_K": "Q5_0"}.get(chosen, "Q8_0" if bits(chosen) > 8 else "Q5_0")
    return chosen if shape.columns % BLOCKS[chosen][0] == 0 else "F16"


def tower_type(shape: Shape) -> str:
    """The type of a vision tower's tensor in the mmproj file that pull prefers, in BF16, and as our engine loads it."""
    return "BF16" if shape.matrix and shape.role != "patch_embedding" else "F32"


def _takes_more_bits(shape: Shape, layers: int) -> bool:
    """Values and down projections in the first and last eighth of the layers, and in every third between."""
    if shape.role not in ("value", "qkv", "down") or shape.layer < 0:
        return False
    i, eighth = shape.layer, layers // 8
    return i < eighth or i >= 7 * layers // 8 or (i - eighth) % 3 == 2


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
