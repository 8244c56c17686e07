"""Qwen 3.5's sizes, frames, patches and tokens: values of transformers 5.24, and properties. Live in tests/parity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_pictures import noise

from shoestring.errors import RequestError
from shoestring.media.pieces import Piece, row_count, token_count, written
from shoestring.media.qwen3_5 import (
    Grid,
    picture_grid,
    picture_pieces,
    picture_size,
    plan_video,
    qwen_picture,
    qwen_video,
    video_pieces,
)
from shoestring.media.resize import resized
from shoestring.media.settings import QwenSettings

PUBLISHED = QwenSettings()
#: without a least area, so that rounding alone decides
FREE = replace(PUBLISHED, picture_pixels=(1, 1 << 30))

sides = st.integers(1, 6000)


@pytest.mark.parametrize(
    ("side", "rounded"), [(80, 64), (112, 128), (144, 128), (176, 192), (48, 64), (79, 64), (81, 96)]
)
def test_sides_are_rounded_half_to_even(side: int, rounded: int) -> None:
    """Mistake 1: half away from zero makes 96 of 80."""
    assert picture_size(side, 320, FREE) == (rounded, 320)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (1, 1, (256, 256)),
        (100, 150, (224, 320)),
        (61, 83, (224, 320)),
        (1080, 1920, (1088, 1920)),
        (3000, 4000, (3008, 4000)),
        (6000, 8000, (3520, 4704)),
        (16, 16, (256, 256)),
        (3, 500, (32, 3328)),
    ],
)
def test_sizes_of_the_reference(height: int, width: int, size: tuple[int, int]) -> None:
    assert picture_size(height, width, PUBLISHED) == size


@given(height=sides, width=sides)
def test_a_picture_takes_64_to_16384_tokens(height: int, width: int) -> None:
    """Mistake 2: other limits. A long and narrow picture may take a few more: its short side is a token at least."""
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(RequestError, match="200 to 1"):
            picture_size(height, width, PUBLISHED)
        return
    rows, columns = picture_size(height, width, PUBLISHED)
    assert rows % 32 == columns % 32 == 0
    assert 64 <= rows * columns // 1024 <= 16_384
    pieces = picture_pieces(picture_grid(height, width, PUBLISHED), PUBLISHED)
    assert row_count(pieces) == rows * columns // 1024
    assert token_count(pieces, len) == row_count(pieces) + 2


@given(height=sides, width=sides, tokens=st.integers(3, 3000))
def test_a_cap_of_tokens_holds(height: int, width: int, tokens: int) -> None:
    settings = PUBLISHED.within(tokens)
    if max(height, width) > 200 * min(height, width):
        return
    try:
        rows, columns = picture_size(height, width, settings)
    except RequestError:
        assert max(height, width) > (tokens - 2) * min(height, width)  # one token high, and still too long
    else:
        assert rows * columns // 1024 + 2 <= tokens


def test_a_cap_below_one_token_is_refused() -> None:
    with pytest.raises(RequestError, match="at least 3 tokens"):
        PUBLISHED.within(2)


def test_text_of_a_picture() -> None:
    pieces = picture_pieces(Grid(1, 4, 6), PUBLISHED)
    assert written(pieces) == "<|vision_start|>" + "<|image_pad|>" * 6 + "<|vision_end|>"
    assert [piece.kind for piece in pieces] == ["marker", "rows", "marker"]


# --- video -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "fps", "count"),
    [(1500, 25, 120), (10, 25, 4), (3, 25, 3), (2, 25, 2), (100_000, 25, 768), (1798, 30000 / 1001, 119)],
)
def test_frames_are_sampled_at_two_a_second(frames: int, fps: float, count: int) -> None:
    plan = plan_video(480, 640, frames, fps, PUBLISHED)
    assert len(plan.indices) == count
    assert plan.indices[0] == 0
    assert plan.indices[-1] == frames - 1
    assert plan.grid.pairs == (count + 1) // 2
    assert list(plan.indices) == sorted(set(plan.indices))


def test_indices_are_rounded_half_to_even() -> None:
    assert plan_video(64, 64, 8, 3.5, PUBLISHED).indices == (0, 2, 5, 7)
    assert plan_video(64, 64, 6, 24, replace(PUBLISHED, least_frames=3)).indices == (0, 2, 5)  # 2.5


def test_a_clip_of_a_minute_at_eight_frames_a_second() -> None:
    """The article's clip: 480 frames, at most 51 tokens a pair."""
    plan = plan_video(1080, 1920, 1800, 30, replace(PUBLISHED, fps=8.0))
    assert len(plan.indices) == 480
    assert plan.grid.pairs == 240
    rows = row_count(video_pieces(plan, PUBLISHED))
    assert rows // 240 <= 51
    assert rows == 240 * plan.height * plan.width // 1024


def test_an_odd_number_of_frames() -> None:
    """The area counts 5 frames as 4; three pairs are made, the last frame twice."""
    settings = replace(PUBLISHED, video_pixels=(4096, 4 * 64 * 64))
    plan = plan_video(64, 64, 5, 2.0, replace(settings, least_frames=5))
    assert (plan.height, plan.width) == (64, 64)
    assert plan.grid == Grid(3, 4, 4)
    assert plan.seconds == (0.25, 1.25, 2.0)


def test_text_of_a_video() -> None:
    """Mistakes 5 and 6: each pair behind its time and inside markers of its own, and markers around it all."""
    plan = plan_video(64, 96, 7, 10.0, replace(PUBLISHED, fps=5.0, video_pixels=(1, 1 << 30)))
    pieces = video_pieces(plan, PUBLISHED)
    pads = "<|vision_start|>" + "<|video_pad|>" * 6 + "<|vision_end|>"
    expected = f"<|vision_start|><0.1 seconds>{pads}<0.5 seconds>{pads}<|vision_end|>"
    assert written(pieces) == expected
    assert [piece.text for piece in pieces if piece.kind == "text"] == ["<0.1 seconds>", "<0.5 seconds>"]


@pytest.mark.parametrize(("pair", "fps", "said"), [(0, 2.0, "<0.2 seconds>"), (3, 10.0, "<0.6 seconds>")])
def test_times_are_rounded_as_binary_floats(pair: int, fps: float, said: str) -> None:
    """0.25, and (0.6 + 0.7) / 2, which is a little less than 0.65."""
    plan = plan_video(64, 64, 8, fps, replace(PUBLISHED, fps=fps))
    texts = [piece.text for piece in video_pieces(plan, PUBLISHED) if piece.kind == "text"]
    assert texts[pair] == said


def test_a_cap_of_each_frame_is_off_unless_asked_for() -> None:
    assert PUBLISHED.frame_tokens is None
    free = plan_video(2160, 3840, 100, 25, PUBLISHED)
    capped = plan_video(2160, 3840, 100, 25, replace(PUBLISHED, frame_tokens=768))
    assert capped.height * capped.width <= 768 * 1024 < free.height * free.width


@pytest.mark.parametrize("fps", [24.0, 1.0])
def test_a_clip_of_one_frame_is_refused(fps: float) -> None:
    with pytest.raises(RequestError, match="give it as a picture"):
        plan_video(64, 64, 1, fps, PUBLISHED)


# --- pixels ----------------------------------------------------------------------------------------------------------


def test_patches_are_ordered_by_merge_block_and_flattened_by_channel_frame_row_column() -> None:
    """Mistake 8: raster order."""
    picture = noise(256, 320, 3, 0).transpose(2, 0, 1)
    read = qwen_picture(picture, PUBLISHED)
    assert read.grid == Grid(1, 16, 20)
    assert (read.frames[0] == picture).all()
    values = read.patches(PUBLISHED)
    assert values.shape == (320, 1536)
    assert values.dtype == np.float32
    row = 0
    for block_row in range(8):
        for block_column in range(10):
            for y in (2 * block_row, 2 * block_row + 1):
                for x in (2 * block_column, 2 * block_column + 1):
                    patch = picture[:, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16].astype(np.float32)
                    patch = (patch - np.float32(127.5)) / np.float32(127.5)
                    twice = values[row].reshape(3, 2, 16, 16)
                    assert (twice[:, 0] == patch).all()
                    assert (twice[:, 1] == patch).all()
                    row += 1


def test_a_pair_of_frames_is_the_same_alone_and_in_a_video() -> None:
    """Mistake 11. The last frame of an odd number is read twice."""
    frames = [noise(70, 90, 3, seed).transpose(2, 0, 1) for seed in range(5)]
    plan = plan_video(70, 90, 5, 2.0, replace(PUBLISHED, least_frames=5))

    def once() -> Iterator[np.ndarray]:  # type: ignore[type-arg]
        yield from frames

    pairs = [*qwen_video(once(), plan, PUBLISHED)]
    assert len(pairs) == plan.grid.pairs == 3
    for pair, (a, b) in zip(pairs, ((0, 1), (2, 3), (4, 4)), strict=True):
        expected = [resized(frames[n], plan.height, plan.width, "bicubic") for n in (a, b)]
        assert (pair.frames == np.stack(expected)).all()
        values = pair.patches(PUBLISHED).reshape(-1, 3, 2, 16, 16)
        for half, frame in enumerate(expected):
            alone = qwen_picture(frame, replace(FREE, picture_pixels=(1, 1 << 30))).patches(PUBLISHED)
            assert (values[:, :, half] == alone.reshape(-1, 3, 2, 16, 16)[:, :, 0]).all()


def test_what_a_user_types_is_no_piece() -> None:
    """Mistake 10: a marker is a piece of its own kind, so the same letters in a text stay letters."""
    typed = Piece("text", "<|image_pad|>")
    assert row_count([typed]) == 0
    assert token_count([typed], len) == len("<|image_pad|>")
