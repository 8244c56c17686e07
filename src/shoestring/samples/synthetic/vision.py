"""Write random vision towers as mmproj GGUF files, with the names and keys of llama.cpp's converter.

Deterministic, as models are. The weights mean nothing; their scales keep the numbers of each layer near 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shoestring.checkpoint.config.vision_types import Llama4VisionConfig, Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, Progress, write_gguf
from shoestring.checkpoint.names.vision import LAYER_ROWS, MODEL_ROWS
from shoestring.checkpoint.tensors import TENSOR_TYPES
from shoestring.errors import RequestError
from shoestring.models.towers import wanted_shapes
from shoestring.samples.synthetic import fill
from shoestring.samples.synthetic.layout import Fill, Slot
from shoestring.samples.synthetic.mixes import FILE_TYPES
from shoestring.spelling import option

#: Blocks of a tensor that has random numbers of its own; larger ones are runs of a pool, which takes longer to make.
_FEW_BLOCKS = 1 << 20
TYPES = ("F32", "F16", "BF16", "Q8_0")


def write_mmproj(
    config: VisionConfig, path: Path, kind: str = "F16", *, seed: int = 0, progress: Progress | None = None
) -> None:
    """Write a random tower to `path` (GGUF, atomically). kind: the type of its matrices; Q8_0 where rows are whole
    blocks, else F16. Norms, biases and positions are F32, the patch embedding F16 or F32.

    Raises RequestError for an unknown type, CapacityError for a full disk.
    """
    if kind not in TYPES:
        raise RequestError(f"{option('type')} {kind} is unknown: choose one of {', '.join(TYPES)}")
    pools: dict[tuple[str, float], fill.Pool] = {}
    tensors = [_outgoing(slot, _type(slot, kind), seed, pools) for slot in slots(config)]
    write_gguf(path, {**metadata(config), "general.file_type": FILE_TYPES[kind]}, tensors, progress)


def metadata(config: VisionConfig) -> dict[str, Any]:
    """All metadata except the file type, as llama.cpp's converter writes it."""
    c = config
    vision: dict[str, Any] = {
        "block_count": c.num_hidden_layers,
        "embedding_length": c.hidden_size,
        "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads,
        "attention.layer_norm_epsilon": c.layer_norm_eps,
        "patch_size": c.patch_size,
        "projection_dim": c.out_hidden_size,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    if isinstance(c, Qwen3_5VisionConfig):
        projector = "qwen3vl_merger"
        vision["image_size"] = round(c.num_position_embeddings**0.5) * c.patch_size
        vision["spatial_merge_size"] = c.spatial_merge_size
        vision["is_deepstack_layers"] = [False] * c.num_hidden_layers
    else:
        projector = "llama4"
        vision["image_size"] = c.image_size
        vision["projector.scale_factor"] = c.shuffle_size
    return {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.name": f"synthetic {projector}",
        "clip.has_vision_encoder": True,
        "clip.projector_type": projector,
        "clip.use_gelu": True,
        **{f"clip.vision.{key}": value for key, value in vision.items()},
    }


def slots(config: VisionConfig) -> Iterator[Slot]:
    """All tensors of an mmproj file, in the order of the file."""
    shapes, family = wanted_shapes(config), config.family

    def slot(ours: str, gguf: str) -> Slot:
        shape = shapes[ours]
        fill: Fill = "matrix" if shape.is_matrix else "norm" if "norm.weight" in ours else "convolution"
        return Slot(gguf, (shape.columns,) if shape.rows == 1 else (shape.rows, shape.columns), fill, 1.2)

    def pair(ours: str, gguf: str) -> Iterator[Slot]:
        for end in (".weight", ".bias"):
            if ours + end in shapes:
                yield slot(ours + end, gguf + end)

    if isinstance(config, Qwen3_5VisionConfig):
        patches = (config.hidden_size, 3, config.patch_size, config.patch_size)
        yield Slot("v.patch_embd.weight", patches)
        yield Slot("v.patch_embd.weight.1", patches)
        yield slot("patch.bias", "v.patch_embd.bias")
    else:
        yield Slot("v.patch_embd.weight", (config.hidden_size, config.patch_values))
        yield slot("class_row", "v.class_embd")
    yield slot("positions", "v.position_embd.weight")
    for row in MODEL_ROWS[family]:
        yield from pair(row.ours, row.gguf)
    for layer in range(config.num_hidden_layers):
        if isinstance(config, Qwen3_5VisionConfig):
            size = config.hidden_size
            yield Slot(f"v.blk.{layer}.attn_qkv.weight", (3 * size, size), "matrix", 1.2)
            yield Slot(f"v.blk.{layer}.attn_qkv.bias", (3 * size,), "convolution")
        for row in LAYER_ROWS[family]:
            yield from pair(f"layers.{layer}.{row.ours}", f"v.blk.{layer}.{row.gguf}")


def _type(slot: Slot, kind: str) -> str:
    if slot.fill != "matrix":
        return "F32"
    if slot.name.startswith("v.patch_embd"):
        return "F16" if kind == "F16" else "F32"
    return kind if slot.shape[-1] % TENSOR_TYPES[kind].block_size == 0 else "F16"


def _outgoing(slot: Slot, kind: str, seed: int, pools: dict[tuple[str, float], fill.Pool]) -> OutgoingTensor:
    def chunks() -> Any:
        if slot.fill != "matrix":
            return [fill.vector(slot, seed)]
        inner = 1
        for size in slot.shape[1:]:
            inner *= size
        key = (kind, slot.gain / inner**0.5)
        blocks = slot.shape[0] * inner // TENSOR_TYPES[kind].block_size
        if blocks <= _FEW_BLOCKS:
            return [fill.random_blocks(*key, blocks, fill.random_bits(slot.name, seed))]
        if key not in pools:
            pools[key] = fill.pool(*key, seed)
        return fill.tiled(pools[key], slot, kind, seed)

    return OutgoingTensor(slot.name, kind, slot.shape, chunks)


def small(family: str, out_hidden_size: int) -> VisionConfig:
    """The config of a small tower whose heads have the real width, 72 or 88."""
    if family == "qwen3_5":
        return Qwen3_5VisionConfig(
            num_hidden_layers=3,
            hidden_size=144,
            num_attention_heads=2,
            intermediate_size=272,
            patch_size=16,
            temporal_patch_size=2,
            spatial_merge_size=2,
            num_position_embeddings=48 * 48,
            out_hidden_size=out_hidden_size,
            layer_norm_eps=1e-6,
            rope_theta=10000.0,
        )
    return Llama4VisionConfig(
        num_hidden_layers=3,
        hidden_size=176,
        num_attention_heads=2,
        intermediate_size=704,
        image_size=336,
        patch_size=14,
        shuffle_size=2,
        adapter_size=256,
        out_hidden_size=out_hidden_size,
        layer_norm_eps=1e-5,
        rope_theta=10000.0,
    )
