"""The one door for foreign names and layouts: foreign tensor → (our field, slice, fold).

Owns a table a family and format, and the check that every tensor of a file is used, or listed with the
reason why not. Our names are those that `models/*.py` bind:

both families   embedding [V,H] · head [V,H] (absent when tied) · norm [H]
                layers.N.input_norm [H] · layers.N.post_norm [H]
                layers.N.mlp.{gate,up} [I,H] · layers.N.mlp.down [H,I]                      dense layers
                layers.N.router [E,H] · layers.N.shared.{gate,up,down} · layers.N.experts.E.{gate,up,down}
Qwen 3.5        layers.N.shared_gate [1,H]
                layers.N.attention.query_gate [heads·2·D,H] (a head: query D rows, then gate D rows)
                layers.N.attention.{key,value} [KV·D,H] · .output [H,heads·D] · .{query,key}_norm [D]
                layers.N.delta.qkv [2K+V,H] · .z [V,H] · .a [VH,H] · .b [VH,H] · .output [H,V]
                layers.N.delta.convolution [2K+V,width] · .decay [VH] (−exp(A_log)) · .dt_bias [VH] · .norm [VD]
Llama 4         layers.N.attention.{query,key,value} · .output
"""

from dataclasses import dataclass
from typing import Literal

from shoestring.checkpoint.tensors import Tensor

Part = Literal[
    "embeddings", "head", "norms", "attention", "delta_net", "router", "shared_experts", "routed_experts", "dense"
]


@dataclass(frozen=True)
class Source:
    """Where one of our matrices or vectors lies: a (possibly strided, for float types) region of a tensor.

    Element (r, c) of the region starts at `tensor.data[offset + r * row_stride + c * column_stride]`
    (float types); a block type has contiguous rows, `column_stride` is 0 and row r starts at
    `offset + r * row_stride`. A vector is a matrix of one row.
    `scale`: FP8 only: `weight_scale_inv` (F32, BF16 or F16), one number a 128 × 128 block, edge blocks short.
    `fold`: "add_one" (norms stored as w, meant as 1 + w), "negative_exp" (A_log → −exp(A_log)).
    """

    tensor: Tensor
    rows: int
    columns: int
    offset: int
    row_stride: int
    column_stride: int
    part: Part
    scale: Tensor | None = None
    fold: Literal["none", "add_one", "negative_exp"] = "none"


@dataclass(frozen=True)
class Binding:
    """All of our names with their sources, and what a file holds that nothing uses: (tensor name, reason)."""

    sources: dict[str, Source]
    ignored: tuple[tuple[str, str], ...]
