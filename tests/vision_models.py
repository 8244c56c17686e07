"""Small random models that see, of both families: a GGUF file with its mmproj file, or a Hugging Face folder.

The towers' heads are as wide as the real ones (72, 88); all else is small. The numbers of both forms differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import random_models
import small_vocabulary
import tiny_models

from shoestring.checkpoint.config.vision_types import Llama4VisionConfig, Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.names.vision import hugging_face_names
from shoestring.models.towers import wanted_shapes
from shoestring.samples.synthetic import write_synthetic
from shoestring.samples.synthetic.vision import small, write_mmproj

Family = Literal["qwen3_5", "llama4"]
FAMILIES: tuple[Family, ...] = ("qwen3_5", "llama4")
#: as published with Qwen3.5, and with Llama 4
PREPROCESSOR: dict[Family, dict[str, Any]] = {
    "qwen3_5": {
        "size": {"longest_edge": 16777216, "shortest_edge": 65536},
        "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    },
    "llama4": {
        "size": {"height": 336, "width": 336}, "max_patches": 16, "resize_to_max_canvas": False,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    },
}  # fmt: skip
_MARKERS: dict[Family, tuple[str, ...]] = {
    "qwen3_5": ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    "llama4": (
        "<|image_start|>", "<|image_end|>", "<|tile_x_separator|>", "<|tile_y_separator|>", "<|image|>", "<|patch|>",
    ),
}  # fmt: skip


def write_gguf_model(folder: Path, family: Family, kind: str = "F16", *, tower: bool = True, experts: int = 0) -> Path:
    """The model's file; `mmproj-KIND.gguf` with the tower lies beside it. experts: of Qwen 3.5; 0: dense."""
    config = random_models.qwen3_5(experts=experts) if family == "qwen3_5" else random_models.llama4()
    path = folder / f"{family}.gguf"
    write_synthetic(config, path, "Q8_0", vision=True)
    if tower:
        write_mmproj(small(family, config.hidden_size), folder / f"mmproj-{kind}.gguf", kind)
    return path


def write_folder_model(folder: Path, family: Family, *, tower: bool = True, vision: VisionConfig | None = None) -> Path:
    """A folder with config, weights in float32, tokenizer and processor. vision: another tower than `small`."""
    vocabulary = len(small_vocabulary.PLAIN) + len(small_vocabulary.IDS) + len(_MARKERS[family])
    if family == "qwen3_5":
        text = tiny_models.qwen_config(vocab_size=vocabulary)
        tensors = tiny_models.qwen_tensors(text)
        tensors = {name.replace("model.", "model.language_model.", 1): t for name, t in tensors.items()}
    else:
        text = tiny_models.llama_config(vocab_size=vocabulary, attention_chunk_size=8192)
        tensors = {f"language_model.{name}": t for name, t in tiny_models.llama_tensors(text).items()}
    ids = {name: vocabulary - len(_MARKERS[family]) + at for at, name in enumerate(_MARKERS[family])}
    config: dict[str, Any] = {"model_type": family, "text_config": text, "tie_word_embeddings": False}
    if tower:
        vision = vision or small(family, text["hidden_size"])
        config["vision_config"] = vision_fields(vision)
        tensors |= vision_tensors(vision)
    folder.mkdir(parents=True, exist_ok=True)
    small_vocabulary.write_folder(folder)
    whole = json.loads((folder / "tokenizer.json").read_text())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    whole["added_tokens"] += [{"id": ids[name], "content": name, "special": True, **flags} for name in ids]
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR[family]))
    tiny_models.write_safetensors(folder / "model.safetensors", tensors)
    return folder


def vision_fields(config: VisionConfig) -> dict[str, Any]:
    """The vision_config of a config.json."""
    c = config
    if isinstance(c, Qwen3_5VisionConfig):
        return {
            "model_type": "qwen3_5", "depth": c.num_hidden_layers, "hidden_size": c.hidden_size,
            "num_heads": c.num_attention_heads, "intermediate_size": c.intermediate_size, "in_channels": 3,
            "patch_size": c.patch_size, "spatial_merge_size": c.spatial_merge_size, "temporal_patch_size": 2,
            "num_position_embeddings": c.num_position_embeddings, "out_hidden_size": c.out_hidden_size,
            "hidden_act": "gelu_pytorch_tanh", "deepstack_visual_indexes": [],
        }  # fmt: skip
    return {
        "model_type": "llama4_vision_model", "num_hidden_layers": c.num_hidden_layers, "hidden_size": c.hidden_size,
        "num_attention_heads": c.num_attention_heads, "intermediate_size": c.intermediate_size, "num_channels": 3,
        "image_size": c.image_size, "patch_size": c.patch_size, "pixel_shuffle_ratio": 1 / c.shuffle_size,
        "projector_input_dim": c.adapter_size, "projector_output_dim": c.adapter_size,
        "vision_output_dim": c.adapter_size, "norm_eps": c.layer_norm_eps, "rope_theta": c.rope_theta,
        "hidden_act": "gelu", "vision_feature_select_strategy": "default", "multi_modal_projector_bias": False,
    }  # fmt: skip


def vision_tensors(config: VisionConfig) -> dict[str, Any]:
    """All tensors of a tower by their Hugging Face names."""
    tensors: dict[str, Any] = {}
    fused: dict[str, list[Any]] = {}
    for ours, shape in wanted_shapes(config).items():
        size = (shape.columns,) if shape.rows == 1 else (shape.rows, shape.columns)
        deviation = 1.2 * shape.columns**-0.5 if shape.is_matrix else 0.2 if "norm" in ours else 0.5
        numbers = tiny_models.bell(ours, *size, deviation=deviation, mean=float("norm.weight" in ours))
        name, piece = hugging_face_names(config)[ours]
        if ours == "patch.weight" and not isinstance(config, Llama4VisionConfig):
            numbers = numbers.reshape(shape.rows, 3, 2, config.patch_size, config.patch_size)
        if piece is None:
            tensors[name] = numbers
        else:
            fused.setdefault(name, []).append(numbers)
    return tensors | {name: np.concatenate(parts) for name, parts in fused.items()}
