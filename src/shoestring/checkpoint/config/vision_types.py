"""Configs of the vision towers: what a file says about what a model can see. `vision` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Qwen3_5VisionConfig:
    """The tower of Qwen 3.5: patches of two frames, one token for each block of spatial_merge_size² patches."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    patch_size: int
    temporal_patch_size: int
    spatial_merge_size: int
    #: rows of the table of learned positions, which is square
    num_position_embeddings: int
    #: hidden_size of the text model
    out_hidden_size: int
    layer_norm_eps: float
    rope_theta: float
    family: Literal["qwen3_5"] = "qwen3_5"

    @property
    def patch_values(self) -> int:
        """Numbers of a patch: channel, frame, y, x."""
        return 3 * self.temporal_patch_size * self.patch_size**2


@dataclass(frozen=True, kw_only=True)
class Llama4VisionConfig:
    """The tower of Llama 4: tiles of one size, one token for each block of shuffle_size² patches."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    image_size: int
    patch_size: int
    shuffle_size: int
    #: width of the adapter and input of the projector
    adapter_size: int
    #: hidden_size of the text model
    out_hidden_size: int
    layer_norm_eps: float
    rope_theta: float
    family: Literal["llama4"] = "llama4"

    @property
    def patch_values(self) -> int:
        """Numbers of a patch: channel, y, x."""
        return 3 * self.patch_size**2

    @property
    def side(self) -> int:
        """Patches in a row of a tile."""
        return self.image_size // self.patch_size


VisionConfig = Qwen3_5VisionConfig | Llama4VisionConfig
