"""The settings of both families' processors, read from a checkpoint's files: Hugging Face's JSON, or mmproj GGUF keys.

A field that would change pixels or tokens and is not known is refused. What a file leaves out has the published value:
every published checkpoint of a family has the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring.checkpoint.config.fields import Fields, Ignored
from shoestring.checkpoint.formats.json_file import read_json
from shoestring.errors import CheckpointError, RequestError
from shoestring.spelling import option

_HALVES = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class QwenSettings:
    """Of Qwen 3.5's processors, as published.

    picture_pixels: least and most of a resized picture; video_pixels: of frames × height × width. frame_tokens: a cap
    of each frame (`cap_pixels_per_frame`), None: off. picture_rows: tokens that a picture may take without its markers,
    None: as many as picture_pixels allow, and some more for a long and narrow one.
    """

    patch_size: int = 16
    merge_size: int = 2
    temporal_patch_size: int = 2
    mean: tuple[float, float, float] = _HALVES
    deviation: tuple[float, float, float] = _HALVES
    picture_pixels: tuple[int, int] = (65_536, 16_777_216)
    video_pixels: tuple[int, int] = (4_096, 25_165_824)
    fps: float = 2.0
    least_frames: int = 4
    most_frames: int = 768
    frame_tokens: int | None = None
    picture_rows: int | None = None

    def within(self, tokens: int) -> QwenSettings:
        """The same with at most `tokens` tokens a picture, its markers included.

        Small pictures are then enlarged to a quarter of that at most: a larger least area could be rounded above it.
        """
        area = (self.patch_size * self.merge_size) ** 2
        most = (tokens - 2) * area
        if most < area:
            raise RequestError("a picture takes at least 3 tokens of Qwen 3.5: allow so many")
        least, usual = self.picture_pixels
        return replace(self, picture_pixels=(min(least, most // 4), min(usual, most)), picture_rows=tokens - 2)


@dataclass(frozen=True)
class LlamaSettings:
    """Of Llama 4's processor, as published. fill_canvas: `resize_to_max_canvas`. tile_tokens: rows a tile."""

    tile_size: int = 336
    most_tiles: int = 16
    mean: tuple[float, float, float] = _HALVES
    deviation: tuple[float, float, float] = _HALVES
    fill_canvas: bool = False
    tile_tokens: int = 144

    def tiles_within(self, tokens: int) -> int:
        """The most tiles of a canvas whose picture takes at most `tokens` tokens. Raises RequestError if none does."""
        least = self.tile_tokens + 3
        if tokens < least:
            raise RequestError(f"a picture takes at least {least} tokens of Llama 4: allow so many")
        with_whole = (tokens - least) // (self.tile_tokens + 1)
        return max(1, min(with_whole, self.most_tiles))


Settings = QwenSettings | LlamaSettings


@dataclass(frozen=True)
class Wishes:
    """What a user sets: most tokens of a picture, frames of a second of video, most frames; None: the model's own."""

    image_tokens: int | None = None
    video_fps: float | None = None
    frames: int | None = None


def checked_wishes(image_tokens: int | None, video_fps: float | None, frames: int | None) -> Wishes:
    """Raises RequestError for numbers that no video and no picture has."""
    if video_fps is not None and not 0 < video_fps <= 1000:
        raise RequestError(f"{option('video_fps')} is {video_fps}: choose more than 0, and at most 1000")
    if frames is not None and not 2 <= frames <= _MOST_FRAMES:
        raise RequestError(f"{option('max_frames')} is {frames}: choose from 2 to {_MOST_FRAMES}")
    if image_tokens is not None and image_tokens < 1:
        raise RequestError(f"{option('max_image_tokens')} is {image_tokens}: choose at least 1")
    return Wishes(image_tokens, video_fps, frames)


def wished(settings: Settings, wishes: Wishes) -> Settings:
    """The settings within the wishes. Raises RequestError for a cap below one picture's least."""
    if isinstance(settings, LlamaSettings):
        if wishes.image_tokens is None:
            return settings
        return replace(settings, most_tiles=settings.tiles_within(wishes.image_tokens))
    if wishes.image_tokens is not None:
        settings = settings.within(wishes.image_tokens)
    if wishes.video_fps is not None:
        settings = replace(settings, fps=wishes.video_fps)
    if wishes.frames is not None:
        least = min(settings.least_frames, wishes.frames)
        settings = replace(settings, most_frames=wishes.frames, least_frames=least)
    return settings


#: Limits of fields, against overflow and endless lists.
_LARGEST_SIDE, _MOST_TILES, _MOST_PIXELS, _MOST_FRAMES = 4096, 64, 1 << 31, 1 << 16

_IGNORED: Ignored = {
    "which class of transformers loads it": "image_processor_type video_processor_type feature_extractor_type "
    "processor_class auto_map _processor_class tokenizer_class",
    "how arrays are passed": "data_format input_data_format device return_tensors disable_grouping return_metadata "
    "video_metadata",
    "crops and pads, which neither family does": "crop_size pad_size size_divisor default_to_square",
    "of other sizes' rules": "max_image_size max_duration max_video_tokens",
    "names of tokens, which the tokenizer has": "fake_image_token image_token start_of_image_token end_of_image_token "
    "patch_token tile_x_separator_token tile_y_separator_token video_token vision_start_token vision_end_token "
    "image_seq_length num_image_tokens",
    "the chat template is read elsewhere": "chat_template",
}
_IGNORED_MMPROJ: Ignored = {
    "of the tower, not of its pictures": "has_vision_encoder has_audio_encoder use_gelu use_silu vision.block_count "
    "vision.embedding_length vision.feed_forward_length vision.projection_dim vision.attention.head_count "
    "vision.attention.layer_norm_epsilon",
    "the side of Qwen's position table, which limits no picture": "vision.image_size",
}
#: What both families always do.
_ALWAYS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True}
_NEVER = ("do_center_crop", "do_pad")
_BICUBIC, _BILINEAR = 3, 2


def read_settings(folder: Path, family: str) -> Settings:
    """The processor of a Hugging Face folder: of its preprocessor_config.json, video_preprocessor_config.json and
    processor_config.json, where it has them. family: qwen3_5 or llama4.

    Raises CheckpointError for a missing, unknown or wrong field.
    """
    read = {
        name: read_json(folder / f"{name}.json", optional=True)
        for name in ("preprocessor_config", "video_preprocessor_config", "processor_config")
    }
    whole = Fields(str(folder / "processor_config.json"), read["processor_config"])
    # transformers 5 saves all of them inside processor_config.json.
    inner = {
        "preprocessor_config": whole.section("image_processor", {}).values,
        "video_preprocessor_config": whole.section("video_processor", {}).values,
    }
    picture, video = (Fields(str(folder / f"{name}.json"), read[name] or values) for name, values in inner.items())
    if family == "llama4":
        return _llama(picture, whole)
    settings = _qwen_video(video, _qwen(picture))
    whole.finish(_IGNORED)
    return settings


def mmproj_settings(metadata: Mapping[str, Any], where: str) -> Settings:
    """The processor of an mmproj GGUF file, which has few of the fields; the others are the published ones.

    Raises CheckpointError for a file of another projector, or a wrong value.
    """
    ours = {key.removeprefix("clip."): value for key, value in metadata.items() if key.startswith("clip.")}
    fields = Fields(where, ours, "clip.")
    if any(fields.raw("vision.is_deepstack_layers", [])):
        raise fields.error("vision.is_deepstack_layers", True, "which is a tower of Qwen3-VL, not of Qwen 3.5")
    projector = fields.raw("vision.projector_type", fields.raw("projector_type", ""))
    mean = _three(fields, "vision.image_mean", _HALVES)
    deviation = _three(fields, "vision.image_std", _HALVES, least=0)
    patch = fields.integer("vision.patch_size", most=_LARGEST_SIDE)
    settings: Settings
    if projector == "qwen3vl_merger":
        merge = fields.integer("vision.spatial_merge_size", 2, most=16)
        settings = QwenSettings(patch_size=patch, merge_size=merge, mean=mean, deviation=deviation)
    elif projector == "llama4":
        tile = fields.integer("vision.image_size", most=_LARGEST_SIDE)
        shrink = fields.integer("vision.projector.scale_factor", 2, most=16)
        settings = LlamaSettings(
            tile_size=tile, mean=mean, deviation=deviation, tile_tokens=_tile_tokens(fields, tile, patch, shrink)
        )
    else:
        raise fields.error("projector_type", projector, "only 'qwen3vl_merger' and 'llama4' are supported")
    fields.finish(_IGNORED_MMPROJ)
    return settings


def _qwen(fields: Fields) -> QwenSettings:
    published = QwenSettings()
    _same_for_all(fields, _BICUBIC)
    settings = replace(
        published,
        patch_size=fields.integer("patch_size", published.patch_size, most=_LARGEST_SIDE),
        merge_size=fields.integer("merge_size", published.merge_size, most=16),
        temporal_patch_size=_pair(fields),
        mean=_three(fields, "image_mean", published.mean),
        deviation=_three(fields, "image_std", published.deviation, least=0),
        picture_pixels=_pixels(fields, published.picture_pixels),
    )
    fields.finish(_IGNORED)
    return settings


def _qwen_video(fields: Fields, settings: QwenSettings) -> QwenSettings:
    """With the fields of the video processor. Those of patches have to be the picture processor's."""
    _same_for_all(fields, _BICUBIC)
    fields.expect("patch_size", settings.patch_size)
    fields.expect("merge_size", settings.merge_size)
    fields.expect("temporal_patch_size", settings.temporal_patch_size)
    fields.expect("image_mean", list(settings.mean))
    fields.expect("image_std", list(settings.deviation))
    fields.expect("do_sample_frames", True)
    if "num_frames" in fields:
        raise fields.error("num_frames", fields.raw("num_frames"), "only sampling by fps is supported")
    capped = fields.boolean("cap_pixels_per_frame", False)
    most_tokens = fields.integer("max_video_tokens", 768)
    settings = replace(
        settings,
        video_pixels=_pixels(fields, settings.video_pixels),
        fps=fields.number("fps", settings.fps),
        least_frames=fields.integer("min_frames", settings.least_frames, most=_MOST_FRAMES),
        most_frames=fields.integer("max_frames", settings.most_frames, most=_MOST_FRAMES),
        frame_tokens=most_tokens if capped else None,
    )
    fields.finish(_IGNORED)
    return settings


def _llama(fields: Fields, whole: Fields) -> LlamaSettings:
    published = LlamaSettings()
    _same_for_all(fields, _BILINEAR)
    size = fields.section("size", {"height": published.tile_size, "width": published.tile_size})
    tile = size.integer("height", most=_LARGEST_SIDE)
    size.expect("width", tile)
    size.finish()
    patch = whole.integer("patch_size", 14, most=_LARGEST_SIDE)
    ratio = whole.number("pixel_shuffle_ratio", 0.5)
    if not ratio <= 1 or 1 / ratio != round(1 / ratio):
        raise whole.error("pixel_shuffle_ratio", ratio, "one divided by a whole number is needed")
    settings = LlamaSettings(
        tile_size=tile,
        most_tiles=fields.integer("max_patches", published.most_tiles, most=_MOST_TILES),
        mean=_three(fields, "image_mean", published.mean),
        deviation=_three(fields, "image_std", published.deviation, least=0),
        fill_canvas=fields.boolean("resize_to_max_canvas", published.fill_canvas),
        tile_tokens=_tile_tokens(whole, tile, patch, round(1 / ratio)),
    )
    fields.finish(_IGNORED)
    whole.finish(_IGNORED)
    return settings


def _same_for_all(fields: Fields, resample: int) -> None:
    for key, value in _ALWAYS.items():
        fields.expect(key, value)
    for key in _NEVER:
        fields.expect(key, False)
    fields.expect("resample", resample)
    factor = fields.number("rescale_factor", 1 / 255)
    if abs(factor * 255 - 1) > 1e-6:
        raise fields.error("rescale_factor", factor, "only 1/255 is supported")


def _pixels(fields: Fields, published: tuple[int, int]) -> tuple[int, int]:
    """The least and most area: `size`, where older files have min_pixels and max_pixels, which win."""
    size = fields.section("size", {})
    least = fields.integer("min_pixels", size.integer("shortest_edge", published[0], most=_MOST_PIXELS))
    most = fields.integer("max_pixels", size.integer("longest_edge", published[1], most=_MOST_PIXELS))
    size.finish()
    if least > most:
        raise fields.error("size", [least, most], "the least area is larger than the most")
    return least, most


def _pair(fields: Fields) -> int:
    fields.expect("temporal_patch_size", 2)
    return 2


def _three(
    fields: Fields, key: str, published: tuple[float, float, float], least: float = -1e3
) -> tuple[float, float, float]:
    """A number for each of red, green and blue, above `least`."""
    value = fields.raw(key, list(published))
    usable = isinstance(value, list | tuple) and len(value) == 3
    if not usable or not all(type(v) in (int, float) and least < v < 1e3 for v in value):
        raise fields.error(key, value, f"three numbers above {least:g} are needed")
    return float(value[0]), float(value[1]), float(value[2])


def _tile_tokens(fields: Fields, tile: int, patch: int, shrink: int) -> int:
    side = tile // patch
    if side * patch != tile or side % shrink:
        raise CheckpointError(
            f"{fields.where}: tiles of {tile} pixels are no whole number of patches of {patch}, joined by {shrink}: "
            "the file is damaged"
        )
    return (side // shrink) ** 2
