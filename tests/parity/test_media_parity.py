"""Pictures and video against transformers' processors: pixels, sizes, frames and the text around them, `==`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import odd_pictures
import pytest
import test_resize
import torch
import transformers
from odd_pictures import noise, picture, shown
from PIL import Image
from torchvision.transforms.v2 import functional
from transformers.models.llama4.image_processing_llama4 import (
    Llama4ImageProcessor,
    find_supported_resolutions,
    get_best_fit,
    get_max_res_without_distortion,
)
from transformers.models.llama4.processing_llama4 import Llama4Processor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor, smart_resize
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as smart_video_resize
from transformers.video_utils import VideoMetadata

from shoestring.errors import RequestError
from shoestring.media import llama4, qwen3_5
from shoestring.media.picture import decode_picture
from shoestring.media.pieces import written
from shoestring.media.resize import resized
from shoestring.media.settings import LlamaSettings, QwenSettings, read_settings

UInt8 = npt.NDArray[np.uint8]

transformers.logging.set_verbosity_error()

HALVES = [0.5, 0.5, 0.5]
#: as published with Qwen3.5 and Llama 4
QWEN: dict[str, Any] = {
    "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": HALVES, "image_std": HALVES,
}  # fmt: skip
QWEN_PICTURE = Qwen2VLImageProcessor(size={"shortest_edge": 65536, "longest_edge": 16777216}, **QWEN)
QWEN_VIDEO = Qwen3VLVideoProcessor(
    size={"shortest_edge": 4096, "longest_edge": 25165824}, cap_pixels_per_frame=False, **QWEN
)
LLAMA = Llama4ImageProcessor()

OURS_QWEN, OURS_LLAMA = QwenSettings(), LlamaSettings()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def qwen_processor() -> Any:
    """The processor without a tokenizer: its text around pictures and videos needs none."""
    processor = Qwen3VLProcessor.__new__(Qwen3VLProcessor)
    processor.image_token, processor.video_token = "<|image_pad|>", "<|video_pad|>"
    processor.vision_start_token, processor.vision_end_token = "<|vision_start|>", "<|vision_end|>"
    processor.image_processor, processor.video_processor = QWEN_PICTURE, QWEN_VIDEO
    return processor


@pytest.mark.parametrize("name", odd_pictures.NAMES)
def test_qwen_reads_the_same_pixels(name: str) -> None:
    pixels = decode_picture(picture(name), name)
    theirs = QWEN_PICTURE(Image.fromarray(shown(picture(name))), return_tensors="pt")
    ours = qwen3_5.qwen_picture(pixels, OURS_QWEN)
    assert theirs["image_grid_thw"].tolist() == [[1, ours.grid.rows, ours.grid.columns]]
    assert (ours.patches(OURS_QWEN) == theirs["pixel_values"].numpy()).all()
    inner = qwen_processor().replace_image_token(theirs, 0)
    pieces = qwen3_5.picture_pieces(qwen3_5.picture_grid(*pixels.shape[1:], OURS_QWEN), OURS_QWEN)
    assert written(pieces) == f"<|vision_start|>{inner}<|vision_end|>"


@pytest.mark.parametrize("name", odd_pictures.NAMES)
def test_llama_reads_the_same_pixels(name: str) -> None:
    pixels = decode_picture(picture(name), name)
    theirs = LLAMA(Image.fromarray(shown(picture(name))), return_tensors="pt")
    ours = llama4.llama_picture(pixels, OURS_LLAMA)
    ratios = [ours.tiling.rows, ours.tiling.columns]
    assert theirs["aspect_ratios"].tolist() == [ratios]
    values = ours.values(OURS_LLAMA)
    assert theirs["pixel_values"].dtype == torch.bfloat16
    assert (values == theirs["pixel_values"].float().numpy().reshape(values.shape)).all()
    processor: Any = Llama4Processor.__new__(Llama4Processor)
    text = processor._prompt_split_image(ratios, 144)
    assert written(llama4.picture_pieces(llama4.tiling(*pixels.shape[1:], OURS_LLAMA), OURS_LLAMA)) == text


def test_resize_is_torchvision_s() -> None:
    random = np.random.default_rng(0)
    for number in range(150):
        rows, columns, height, width = (int(x) + 2 for x in np.exp(random.uniform(0, 6.2, 4)))
        ours = noise(rows, columns, 3, number).transpose(2, 0, 1)
        for kind in ("bicubic", "bilinear"):
            assert (resized(ours, height, width, kind) == torchvision_resized(ours, height, width, kind)).all()


def torchvision_resized(pixels: UInt8, height: int, width: int, kind: str) -> UInt8:
    tensor = torch.from_numpy(np.ascontiguousarray(pixels))
    interpolation = functional.InterpolationMode(kind)
    result: UInt8 = functional.resize(tensor, [height, width], interpolation=interpolation, antialias=True).numpy()
    return result


def test_the_frozen_hashes_are_torchvision_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_resize, "resized", torchvision_resized)
    for case in test_resize.TORCHVISION:
        test_resize.test_it_is_torchvision(case)


def sizes(count: int) -> Iterator[tuple[int, int]]:
    """Sizes over all magnitudes, and multiples of 16 and 84, where rounding decides."""
    random = np.random.default_rng(1)
    for number in range(count):
        step = (1, 16, 84)[number % 3]
        yield tuple(step * max(1, int(x / step)) for x in np.exp(random.uniform(0, 9.3, 2)))  # type: ignore[misc]


def test_qwen_s_sizes() -> None:
    for height, width in sizes(6000):
        for least, most in ((65536, 16777216), (1, 1 << 30), (4096, 300_000)):
            settings = replace(OURS_QWEN, picture_pixels=(least, most))
            try:
                theirs = smart_resize(height, width, 32, least, most)
            except ValueError:
                with pytest.raises(RequestError):
                    qwen3_5.picture_size(height, width, settings)
            else:
                assert qwen3_5.picture_size(height, width, settings) == theirs


@pytest.mark.parametrize("fill", [False, True])
def test_llama_s_tiles(fill: bool) -> None:
    square: Any = type("Square", (), {"height": 336, "width": 336})()
    canvases = torch.tensor(find_supported_resolutions(16, square))
    settings = replace(OURS_LLAMA, fill_canvas=fill)
    for height, width in sizes(6000):
        canvas = get_best_fit((height, width), canvases, resize_to_max_canvas=fill)
        target: Any = canvas
        if not fill:
            target = (min(max(height, 336), canvas[0]), min(max(width, 336), canvas[1]))
        inside = get_max_res_without_distortion((height, width), target)
        theirs = (int(canvas[0]) // 336, int(canvas[1]) // 336, max(int(inside[0]), 1), max(int(inside[1]), 1))
        ours = llama4.tiling(height, width, settings)
        assert (ours.rows, ours.columns, ours.height, ours.width) == theirs, (height, width)


RATES = (1.0, 5.0, 12.5, 24.0, 25.0, 30000 / 1001, 60.0)


@pytest.mark.parametrize("fps", [0.5, 2, 8])
def test_frames_and_sizes_of_videos(fps: float) -> None:
    random = np.random.default_rng(2)
    settings = replace(OURS_QWEN, fps=float(fps))
    for height, width in sizes(1500):
        frames, rate = int(random.integers(1, 2000)), float(random.choice(RATES))
        metadata = VideoMetadata(total_num_frames=frames, fps=rate)
        indices = QWEN_VIDEO.sample_frames(metadata, fps=fps)
        try:
            theirs = smart_video_resize(len(indices), height, width, 2, 32, 4096, 25165824)
        except ValueError:
            with pytest.raises(RequestError):
                qwen3_5.plan_video(height, width, frames, rate, settings)
            continue
        plan = qwen3_5.plan_video(height, width, frames, rate, settings)
        assert list(plan.indices) == indices.tolist()
        assert (plan.height, plan.width) == theirs
        assert plan.grid.pairs == (len(indices) + 1) // 2


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize(
    ("frames", "height", "width", "rate"),
    [(2, 70, 90, 2.0), (3, 48, 64, 2.0), (4, 20, 300, 2.0), (5, 120, 33, 2.0), (9, 64, 96, 3.0), (40, 100, 80, 12.5)],
)
def test_videos(frames: int, height: int, width: int, rate: float, capped: bool) -> None:
    clip = np.stack([noise(height, width, 3, seed).transpose(2, 0, 1) for seed in range(frames)])
    metadata = VideoMetadata(total_num_frames=frames, fps=rate)
    theirs = QWEN_VIDEO(
        [torch.from_numpy(clip)], video_metadata=[metadata], cap_pixels_per_frame=capped, return_metadata=True,
        return_tensors="pt",
    )  # fmt: skip
    settings = replace(OURS_QWEN, frame_tokens=768 if capped else None)
    plan = qwen3_5.plan_video(height, width, frames, rate, settings)
    pairs = [*qwen3_5.qwen_video((clip[index] for index in plan.indices), plan, settings)]
    assert theirs["video_grid_thw"].tolist() == [[plan.grid.pairs, plan.grid.rows, plan.grid.columns]]
    patches = np.concatenate([pair.patches(settings) for pair in pairs])
    assert (patches == theirs["pixel_values_videos"].numpy()).all()
    inner = qwen_processor().replace_video_token(theirs, 0)
    assert written(qwen3_5.video_pieces(plan, settings)) == f"<|vision_start|>{inner}<|vision_end|>"


def test_settings_that_transformers_saves(tmp_path: Path) -> None:
    for name, processor in (("picture", QWEN_PICTURE), ("video", QWEN_VIDEO), ("llama", LLAMA)):
        processor.save_pretrained(tmp_path / name)
    qwen = tmp_path / "picture"
    video = (tmp_path / "video" / "video_preprocessor_config.json").read_text()
    (qwen / "video_preprocessor_config.json").write_text(video)
    assert read_settings(qwen, "qwen3_5") == OURS_QWEN
    assert read_settings(tmp_path / "llama", "llama4") == OURS_LLAMA
    own = json.loads(video) | {"fps": 3, "max_frames": 40, "min_frames": 2}
    (qwen / "video_preprocessor_config.json").write_text(json.dumps(own))
    assert read_settings(qwen, "qwen3_5") == replace(OURS_QWEN, fps=3.0, most_frames=40, least_frames=2)
