"""The processors' settings from a checkpoint's files: what they say, what they leave out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shoestring.errors import CheckpointError
from shoestring.media.settings import LlamaSettings, QwenSettings, mmproj_settings, read_settings

HALVES = [0.5, 0.5, 0.5]
#: as published with Qwen3.5 and Llama 4
QWEN = {
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": HALVES,
    "image_std": HALVES,
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}
VIDEO = {
    "size": {"longest_edge": 25165824, "shortest_edge": 4096},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": HALVES,
    "image_std": HALVES,
    "processor_class": "Qwen3VLProcessor",
    "video_processor_type": "Qwen3VLVideoProcessor",
}
LLAMA = {
    "crop_size": None,
    "data_format": "channels_first",
    "default_to_square": True,
    "device": None,
    "do_center_crop": None,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": HALVES,
    "image_processor_type": "Llama4ImageProcessorFast",
    "image_std": HALVES,
    "input_data_format": None,
    "max_patches": 16,
    "processor_class": "Llama4Processor",
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "resize_to_max_canvas": False,
    "return_tensors": None,
    "size": {"height": 336, "width": 336},
}
LLAMA_WHOLE = {
    "fake_image_token": "<|image|>",
    "image_token": "<|image|>",
    "patch_size": 14,
    "pixel_shuffle_ratio": 0.5,
    "processor_class": "Llama4Processor",
    "start_of_image_token": "<|image_start|>",
}


def folder(path: Path, **files: dict[str, Any]) -> Path:
    for name, values in files.items():
        (path / f"{name}.json").write_text(json.dumps(values))
    return path


def test_published_files_say_the_published_settings(tmp_path: Path) -> None:
    qwen = folder(tmp_path, preprocessor_config=QWEN, video_preprocessor_config=VIDEO)
    assert read_settings(qwen, "qwen3_5") == QwenSettings()
    llama = folder(tmp_path, preprocessor_config=LLAMA, processor_config=LLAMA_WHOLE)
    assert read_settings(llama, "llama4") == LlamaSettings()


def test_a_folder_without_them_has_the_published_settings(tmp_path: Path) -> None:
    assert read_settings(tmp_path, "qwen3_5") == QwenSettings()
    assert read_settings(tmp_path, "llama4") == LlamaSettings()


def test_one_file_with_all_of_them(tmp_path: Path) -> None:
    """As transformers 5 saves them."""
    whole = {"image_processor": QWEN | {"patch_size": 14}, "video_processor": VIDEO | {"patch_size": 14, "fps": 4}}
    settings = read_settings(folder(tmp_path, processor_config=whole), "qwen3_5")
    assert isinstance(settings, QwenSettings)
    assert (settings.patch_size, settings.fps) == (14, 4.0)
    whole = {"image_processor": LLAMA | {"max_patches": 4}, **LLAMA_WHOLE}
    assert read_settings(folder(tmp_path, processor_config=whole), "llama4") == LlamaSettings(most_tiles=4)


def test_values_of_a_file_are_used(tmp_path: Path) -> None:
    pictures = QWEN | {"min_pixels": 1024, "max_pixels": 2048, "merge_size": 4, "image_mean": [0.1, 0.2, 0.3]}
    video = VIDEO | {"merge_size": 4, "image_mean": [0.1, 0.2, 0.3], "fps": 1.5, "min_frames": 2, "max_frames": 9}
    video |= {"cap_pixels_per_frame": True, "max_video_tokens": 700, "size": {"longest_edge": 99, "shortest_edge": 9}}
    settings = read_settings(folder(tmp_path, preprocessor_config=pictures, video_preprocessor_config=video), "qwen3_5")
    assert settings == QwenSettings(
        merge_size=4, mean=(0.1, 0.2, 0.3), picture_pixels=(1024, 2048), video_pixels=(9, 99), fps=1.5,
        least_frames=2, most_frames=9, frame_tokens=700,
    )  # fmt: skip
    llama = folder(
        tmp_path,
        preprocessor_config=LLAMA | {"size": {"height": 448, "width": 448}, "resize_to_max_canvas": True},
        processor_config=LLAMA_WHOLE,
    )
    assert read_settings(llama, "llama4") == LlamaSettings(tile_size=448, fill_canvas=True, tile_tokens=256)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("preprocessor_config", {"sharpen": 3}, "unknown fields could change the answer: sharpen"),
        ("preprocessor_config", {"do_resize": False}, "only True is supported"),
        ("preprocessor_config", {"do_center_crop": True}, "only False is supported"),
        ("preprocessor_config", {"resample": 2}, "only 3 is supported"),
        ("preprocessor_config", {"rescale_factor": 0.01}, "only 1/255 is supported"),
        ("preprocessor_config", {"image_std": [0.5, 0, 0.5]}, "three numbers above 0"),
        ("preprocessor_config", {"image_mean": "0.5"}, "three numbers"),
        ("preprocessor_config", {"patch_size": 10**9}, "an integer from 1 to 4096"),
        ("preprocessor_config", {"temporal_patch_size": 3}, "only 2 is supported"),
        ("preprocessor_config", {"size": {"longest_edge": 1, "shortest_edge": 2}}, "larger than the most"),
        ("preprocessor_config", {"size": {"height": 1, "width": 2}}, "unknown fields"),
        ("video_preprocessor_config", {"patch_size": 14}, "only 16 is supported"),
        ("video_preprocessor_config", {"fps": 0}, "a number above 0"),
        ("video_preprocessor_config", {"num_frames": 5}, "num_frames is 5, only sampling by fps"),
        ("video_preprocessor_config", {"max_frames": 10**7}, "max_frames"),
        ("processor_config", {"image_processor": []}, "an object is needed"),
        ("processor_config", {"blur": 1}, "unknown fields could change the answer: blur"),
    ],
)  # fmt: skip
def test_what_would_change_pixels_is_refused(tmp_path: Path, file: str, change: dict[str, Any], said: str) -> None:
    files = {"preprocessor_config": QWEN, "video_preprocessor_config": VIDEO, "processor_config": {}}
    files[file] = files[file] | change
    with pytest.raises(CheckpointError, match=said) as caught:
        read_settings(folder(tmp_path, **files), "qwen3_5")
    assert f"{file}.json" in str(caught.value)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("preprocessor_config", {"size": {"height": 336, "width": 448}}, "only 336 is supported"),
        ("preprocessor_config", {"resample": 3}, "only 2 is supported"),
        ("preprocessor_config", {"max_patches": 1000}, "an integer from 1 to 64"),
        ("processor_config", {"pixel_shuffle_ratio": 0.7}, "one divided by a whole number"),
        ("processor_config", {"patch_size": 15}, "no whole number of patches"),
    ],
)
def test_what_would_change_tiles_is_refused(tmp_path: Path, file: str, change: dict[str, Any], said: str) -> None:
    files = {"preprocessor_config": LLAMA, "processor_config": LLAMA_WHOLE}
    files[file] = files[file] | change
    with pytest.raises(CheckpointError, match=said):
        read_settings(folder(tmp_path, **files), "llama4")


MMPROJ = {
    "general.type": "mmproj",
    "general.architecture": "clip",
    "clip.has_vision_encoder": True,
    "clip.vision.image_size": 768,
    "clip.vision.patch_size": 16,
    "clip.vision.image_mean": HALVES,
    "clip.vision.image_std": HALVES,
}


def test_mmproj_files_have_the_published_settings() -> None:
    qwen = MMPROJ | {"clip.projector_type": "qwen3vl_merger", "clip.vision.spatial_merge_size": 2}
    qwen |= {"clip.vision.is_deepstack_layers": [False] * 27, "clip.use_gelu": True, "clip.vision.block_count": 27}
    assert mmproj_settings(qwen, "m.gguf") == QwenSettings()
    llama = MMPROJ | {"clip.vision.image_size": 336, "clip.vision.patch_size": 14}
    llama |= {"clip.vision.projector_type": "llama4", "clip.vision.projector.scale_factor": 2}
    assert mmproj_settings(llama, "m.gguf") == LlamaSettings()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clip.projector_type": "gemma3"}, "only 'qwen3vl_merger' and 'llama4'"),
        ({"clip.projector_type": "qwen3vl_merger", "clip.vision.patch_size": None}, "patch_size is missing"),
        ({"clip.projector_type": "qwen3vl_merger", "clip.vision.image_std": [1, 2]}, "three numbers"),
        ({"clip.projector_type": "llama4"}, "no whole number of|joined"),
        ({"clip.projector_type": "qwen3vl_merger", "clip.vision.is_deepstack_layers": [False, True]}, "Qwen3-VL"),
        (
            {"clip.projector_type": "qwen3vl_merger", "clip.vision.sharpen": 2},
            "unknown fields could .*: clip.vision.sh",
        ),
    ],
)
def test_other_mmproj_files_are_refused(change: dict[str, Any], said: str) -> None:
    if change.get("clip.projector_type") == "llama4":
        change = change | {"clip.vision.image_size": 350, "clip.vision.patch_size": 14}
    with pytest.raises(CheckpointError, match=said):
        mmproj_settings(MMPROJ | change, "m.gguf")
