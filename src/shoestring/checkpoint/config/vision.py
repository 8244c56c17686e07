"""Parse the config of a vision tower: `vision_config` of a Hugging Face folder, or the keys of an mmproj GGUF file.

Every field is read, or listed as ignored with a reason, or an error.
"""

from __future__ import annotations

from typing import Any

from shoestring.checkpoint.config.fields import IGNORED_EVERYWHERE, MOST_LAYERS, Fields, Ignored
from shoestring.checkpoint.config.types import MODEL_TYPES
from shoestring.checkpoint.config.vision_types import Llama4VisionConfig, Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError

#: `clip.projector_type` of the mmproj files that we read, and their families
PROJECTORS = {"qwen3vl_merger": "qwen3_5", "llama4": "llama4"}
_QWEN_EPS, _THETA = 1e-6, 10000.0
_IGNORED: Ignored = {
    "how transformers trains or drops": "projector_dropout",
    "a vision model has no experts and no tied head": "tie_word_embeddings",
    "where results of other towers come from": "vision_feature_layer",
    "computed from the sizes": "head_dim",
    "older names of the text model's size": "in_chans",
}
_IGNORED_GGUF: Ignored = {
    "which parts the file has": "has_vision_encoder has_audio_encoder has_llava_projector audio.*",
    "says tanh or erf for neither family": "use_gelu use_silu",
    "of the processor (media/settings.py)": "vision.image_mean vision.image_std vision.image_min_pixels "
    "vision.image_max_pixels",
    "the tensor's shape says it": "vision.projection_dim",
}


def is_mmproj(checkpoint: Checkpoint) -> bool:
    """Whether a GGUF file is the vision part of a model, in a file of its own."""
    return checkpoint.format == "gguf" and checkpoint.metadata.get("general.architecture") == "clip"


def parse_vision_config(checkpoint: Checkpoint) -> VisionConfig | None:
    """The config of the tower in a Hugging Face folder or an mmproj file; None for a text-only folder.

    Raises CheckpointError for another tower and for a field that is missing, wrong or unknown.
    """
    if is_mmproj(checkpoint):
        return _mmproj(checkpoint)
    metadata = checkpoint.metadata
    model_type = metadata.get("model_type")
    if checkpoint.format == "gguf" or model_type not in MODEL_TYPES or metadata.get("vision_config") is None:
        return None
    outer = Fields(str(checkpoint.path / "config.json"), metadata)
    fields = outer.section("vision_config", harmless=[])
    hidden = outer.section("text_config").integer("hidden_size")
    return _qwen(fields, hidden) if str(model_type).startswith("qwen") else _llama(fields, hidden)


def _qwen(fields: Fields, text_hidden_size: int) -> VisionConfig:
    if any(fields.raw("deepstack_visual_indexes", [])):
        value = fields.raw("deepstack_visual_indexes")
        raise fields.error("deepstack_visual_indexes", value, "which is a tower of Qwen3-VL, not of Qwen 3.5")
    fields.expect("hidden_act", "gelu_pytorch_tanh")
    fields.expect("in_channels", 3)
    fields.expect("temporal_patch_size", 2)
    fields.expect("out_hidden_size", text_hidden_size)
    config = Qwen3_5VisionConfig(
        num_hidden_layers=fields.integer("depth", most=MOST_LAYERS),
        hidden_size=fields.integer("hidden_size"),
        num_attention_heads=fields.integer("num_heads"),
        intermediate_size=fields.integer("intermediate_size"),
        patch_size=fields.integer("patch_size", most=4096),
        temporal_patch_size=2,
        spatial_merge_size=fields.integer("spatial_merge_size", most=16),
        num_position_embeddings=fields.integer("num_position_embeddings"),
        out_hidden_size=text_hidden_size,
        layer_norm_eps=_QWEN_EPS,
        rope_theta=_theta(fields, "axial"),
    )
    fields.finish(IGNORED_EVERYWHERE, _IGNORED)
    return _checked(config, fields.where)


def _llama(fields: Fields, text_hidden_size: int) -> VisionConfig:
    fields.expect("hidden_act", "gelu")
    fields.expect("num_channels", 3)
    fields.expect("vision_feature_select_strategy", "default")
    fields.expect("multi_modal_projector_bias", False)
    ratio = fields.number("pixel_shuffle_ratio")
    if not ratio <= 1 or 1 / ratio != round(1 / ratio):
        raise fields.error("pixel_shuffle_ratio", ratio, "one divided by a whole number is needed")
    adapter = fields.integer("projector_input_dim")
    fields.expect("projector_output_dim", adapter)
    fields.expect("vision_output_dim", adapter)
    config = Llama4VisionConfig(
        num_hidden_layers=fields.integer("num_hidden_layers", most=MOST_LAYERS),
        hidden_size=fields.integer("hidden_size"),
        num_attention_heads=fields.integer("num_attention_heads"),
        intermediate_size=fields.integer("intermediate_size"),
        image_size=fields.integer("image_size", most=4096),
        patch_size=fields.integer("patch_size", most=4096),
        shuffle_size=round(1 / ratio),
        adapter_size=adapter,
        out_hidden_size=text_hidden_size,
        layer_norm_eps=fields.number("norm_eps", 1e-5),
        rope_theta=_theta(fields, "default"),
    )
    fields.finish(IGNORED_EVERYWHERE, _IGNORED)
    return _checked(config, fields.where)


def _theta(fields: Fields, kind: str) -> float:
    """rope_theta, alone or inside rope_parameters; published files leave one or both out."""
    theta = fields.number("rope_theta", _THETA)
    if "rope_parameters" not in fields:
        fields.read.add("rope_parameters")
        return theta
    inner = fields.section("rope_parameters")
    inner.expect("rope_type", kind, "default")
    theta = inner.number("rope_theta", theta)
    inner.finish()
    return theta


def _mmproj(checkpoint: Checkpoint) -> VisionConfig:
    values: dict[str, Any] = {
        key.removeprefix("clip."): value for key, value in checkpoint.metadata.items() if key.startswith("clip.")
    }
    fields = Fields(str(checkpoint.path), values, "clip.")
    if fields.raw("has_vision_encoder", True) is not True:
        raise CheckpointError(f"{fields.where} has no vision tower: give the mmproj file of the model")
    projector = fields.raw("vision.projector_type", fields.raw("projector_type", None))
    if projector not in PROJECTORS:
        raise fields.error("projector_type", projector, f"only {' or '.join(map(repr, PROJECTORS))} is supported")
    if any(fields.raw("vision.is_deepstack_layers", [])):
        raise fields.error("vision.is_deepstack_layers", True, "which is a tower of Qwen3-VL, not of Qwen 3.5")
    layers = fields.integer("vision.block_count", most=MOST_LAYERS)
    hidden, width = fields.integer("vision.embedding_length"), fields.integer("vision.feed_forward_length")
    heads, eps = fields.integer("vision.attention.head_count"), fields.number("vision.attention.layer_norm_epsilon")
    patch, side = fields.integer("vision.patch_size", most=4096), fields.integer("vision.image_size", most=1 << 16)
    config: VisionConfig
    if PROJECTORS[projector] == "qwen3_5":
        config = Qwen3_5VisionConfig(
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=heads,
            intermediate_size=width,
            patch_size=patch,
            temporal_patch_size=2,
            spatial_merge_size=fields.integer("vision.spatial_merge_size", 2, most=16),
            num_position_embeddings=(side // patch) ** 2,
            out_hidden_size=_rows(checkpoint, "mm.2.weight"),
            # The converter writes the text model's eps here, which is the same in every published model.
            layer_norm_eps=_QWEN_EPS,
            rope_theta=_THETA,
        )
    else:
        config = Llama4VisionConfig(
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=heads,
            intermediate_size=width,
            image_size=side,
            patch_size=patch,
            shuffle_size=fields.integer("vision.projector.scale_factor", 2, most=16),
            adapter_size=_rows(checkpoint, "mm.model.mlp.1.weight"),
            out_hidden_size=_rows(checkpoint, "mm.model.fc.weight"),
            layer_norm_eps=eps,
            rope_theta=_THETA,
        )
    fields.finish(_IGNORED_GGUF)
    return _checked(config, fields.where)


def _rows(checkpoint: Checkpoint, name: str) -> int:
    tensor = checkpoint.tensors.get(name)
    if tensor is None or len(tensor.shape) != 2:
        raise CheckpointError(f"{checkpoint.path}: there is no matrix {name}: the file is incomplete")
    return tensor.shape[0]


def _checked(c: VisionConfig, where: str) -> VisionConfig:
    """The config. Raises CheckpointError for sizes that do not belong together."""
    problem = ""
    if c.hidden_size % c.num_attention_heads or c.hidden_size // c.num_attention_heads % 4:
        problem = f"{c.hidden_size} numbers are not {c.num_attention_heads} heads of a multiple of 4"
    elif isinstance(c, Qwen3_5VisionConfig):
        side = round(c.num_position_embeddings**0.5)
        if side * side != c.num_position_embeddings:
            problem = f"{c.num_position_embeddings} learned positions are no square"
    elif c.image_size % c.patch_size or c.side % c.shuffle_size:
        problem = f"tiles of {c.image_size} pixels are no whole number of patches of {c.patch_size}"
    if problem:
        raise CheckpointError(f"{where}: the vision tower's {problem}: the file is damaged")
    return c
