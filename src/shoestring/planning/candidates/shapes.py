"""List every tensor of a published checkpoint as (part, rows, columns, count): the text model as the engine binds it,
the vision tower and the multi-token prediction from their configs.

Defines the shapes of what the engine does not run yet, and the part of each tensor. formats.py computes sizes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shoestring.checkpoint.config.types import Config, Qwen3_5Config
from shoestring.checkpoint.names.parts import Part, part_of
from shoestring.errors import CheckpointError
from shoestring.models.shapes import wanted_shapes


@dataclass(frozen=True)
class Shape:
    """`count` tensors of one shape. A vector has one row; `role` is the last part of our name, e.g. "down"."""

    part: Part
    role: str
    rows: int
    columns: int
    count: int = 1
    matrix: bool = True
    #: layer of the text model, -1 outside it
    layer: int = -1
    #: for vision and mtp: the part that it would be in the text model, which quantizers use
    like: Part | None = None

    @property
    def parameters(self) -> int:
        return self.rows * self.columns * self.count


def text_shapes(config: Config) -> tuple[Shape, ...]:
    """The text model's tensors, as the engine binds them. Experts: three entries per layer."""
    shapes = []
    for name, shape in wanted_shapes(config).items():
        pieces = name.split(".")
        layer = int(pieces[1]) if pieces[0] == "layers" else -1
        shapes.append(Shape(part_of(name), pieces[-1], shape.rows, shape.columns, shape.count, shape.is_matrix, layer))
    return tuple(shapes)


def mtp_shapes(config: Config) -> tuple[Shape, ...]:
    """Multi-token prediction of Qwen 3.5: two norms, a projection of both inputs, full-attention layers, a norm.

    Embedding and head are the text model's own.
    """
    if not isinstance(config, Qwen3_5Config) or not config.mtp_num_hidden_layers:
        return ()
    h, layers = config.hidden_size, config.mtp_num_hidden_layers
    one = dataclasses.replace(config, num_hidden_layers=layers, layer_types=("full_attention",) * layers)
    block = [s for s in text_shapes(one) if s.layer >= 0]
    extra = (Shape("mtp", "fc", h, 2 * h), Shape("mtp", "norm", 1, h, 3, matrix=False))
    return tuple(dataclasses.replace(s, part="mtp", layer=-1, like=s.part) for s in block) + extra


def vision_shapes(metadata: Mapping[str, Any]) -> tuple[Shape, ...]:
    """The vision tower and its projector, from `vision_config`; () if there is none.

    Raises CheckpointError for a missing field.
    """
    vision = metadata.get("vision_config")
    if not vision:
        return ()
    try:
        return _llama4_vision(vision, metadata) if metadata["model_type"] == "llama4" else _qwen_vision(vision)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"vision_config is incomplete ({error}): cannot compute its size") from error


def _linear(role: str, rows: int, columns: int, count: int = 1, bias: bool = True) -> tuple[Shape, ...]:
    matrix = Shape("vision", role, rows, columns, count)
    return (matrix, Shape("vision", f"{role}_bias", 1, rows, count, matrix=False)) if bias else (matrix,)


def _qwen_vision(v: Mapping[str, Any]) -> tuple[Shape, ...]:
    h, i, depth = v["hidden_size"], v["intermediate_size"], v["depth"]
    patch = v["in_channels"] * v["temporal_patch_size"] * v["patch_size"] ** 2
    merged = h * v["spatial_merge_size"] ** 2
    return (
        *_linear("patch_embedding", h, patch),
        Shape("vision", "position_embedding", v["num_position_embeddings"], h, matrix=False),
        Shape("vision", "norm", 1, h, 4 * depth, matrix=False),
        *_linear("qkv", 3 * h, h, depth),
        *_linear("projection", h, h, depth),
        *_linear("up", i, h, depth),
        *_linear("down", h, i, depth),
        Shape("vision", "merger_norm", 1, h, 2, matrix=False),
        *_linear("merger_up", merged, merged),
        *_linear("merger_down", v["out_hidden_size"], merged),
    )


def _llama4_vision(v: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[Shape, ...]:
    h, i, depth = v["hidden_size"], v["intermediate_size"], v["num_hidden_layers"]
    places = (v["image_size"] // v["patch_size"]) ** 2 + 1
    shuffled = int(h / v["pixel_shuffle_ratio"] ** 2)
    return (
        *_linear("patch_embedding", h, v["num_channels"] * v["patch_size"] ** 2, bias=False),
        Shape("vision", "class_embedding", 1, h, matrix=False),
        Shape("vision", "position_embedding", places, h, matrix=False),
        Shape("vision", "norm", 1, h, 4 * depth + 4, matrix=False),
        *_linear("attention", h, h, 4 * depth),
        *_linear("up", i, h, depth),
        *_linear("down", h, i, depth),
        *_linear("adapter_up", v["projector_input_dim"], shuffled, bias=False),
        *_linear("adapter_down", v["projector_output_dim"], v["projector_input_dim"], bias=False),
        *_linear("projector", metadata["text_config"]["hidden_size"], v["vision_output_dim"], bias=False),
    )


def all_shapes(config: Config, metadata: Mapping[str, Any]) -> tuple[Shape, ...]:
    """Text model, vision tower and multi-token prediction."""
    return text_shapes(config) + vision_shapes(metadata) + mtp_shapes(config)
