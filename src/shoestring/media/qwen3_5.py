"""Qwen 3.5's processor: sizes, patches, frames, timestamps and tokens, equal to `transformers`' Qwen3-VL processors.

A patch is 16 × 16 pixels of two frames; a picture is both frames. Each 2 × 2 patches become one token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoestring.errors import RequestError
from shoestring.media.pieces import Piece, marker
from shoestring.media.resize import UInt8, resized
from shoestring.media.settings import QwenSettings

Float32 = npt.NDArray[np.float32]

_START, _END = marker("<|vision_start|>"), marker("<|vision_end|>")
PICTURE_ROW, VIDEO_ROW = "<|image_pad|>", "<|video_pad|>"
#: A longer side may be so many times the shorter one.
_MOST_ASPECT = 200


@dataclass(frozen=True)
class Grid:
    """Patches of a picture or video: pairs of frames, rows, columns."""

    pairs: int
    rows: int
    columns: int


@dataclass(frozen=True)
class QwenPicture:
    """What the tower reads of a picture, or of one pair of frames. frames: uint8 [1 or 2, 3, height, width]."""

    frames: UInt8
    grid: Grid

    def patches(self, settings: QwenSettings) -> Float32:
        """The rows of the patch embedding: [rows × columns, 3 × 2 × patch × patch], by merge block."""
        return _patches(self.frames, self.grid, settings)


@dataclass(frozen=True)
class VideoPlan:
    """What is read of a video, decided from its size alone.

    indices: of the frames read. height, width: of the resized frames. seconds: one timestamp a pair.
    """

    indices: tuple[int, ...]
    height: int
    width: int
    grid: Grid
    seconds: tuple[float, ...]


# --- sizes -----------------------------------------------------------------------------------------------------------


def picture_size(height: int, width: int, settings: QwenSettings) -> tuple[int, int]:
    """Height and width after the resize. Raises RequestError for a picture that is too long and narrow."""
    rows, columns = _fitted(1, 1, height, width, settings.picture_pixels, settings)
    tokens = rows * columns // (settings.patch_size * settings.merge_size) ** 2
    if settings.picture_rows is not None and tokens > settings.picture_rows:
        raise RequestError(
            f"a picture of {width:,} × {height:,} pixels is narrow, so it takes {tokens + 2:,} tokens at least: "
            f"allow more than {settings.picture_rows + 2:,}, or cut it into parts"
        )
    return rows, columns


def picture_grid(height: int, width: int, settings: QwenSettings) -> Grid:
    """The patches of a picture of this size."""
    height, width = picture_size(height, width, settings)
    return Grid(1, height // settings.patch_size, width // settings.patch_size)


def _fitted(
    frames: int, even_frames: int, height: int, width: int, limits: tuple[int, int], settings: QwenSettings
) -> tuple[int, int]:
    """Sides that are multiples of a token's and whose area × frames lies within the limits.

    even_frames: the number of frames that is compared with the limits; the scale comes from `frames`.
    """
    _check_aspect(height, width)
    factor = settings.patch_size * settings.merge_size
    least, most = limits
    # Python rounds half to even, and so does the reference: 80 / 32 = 2.5 → 2.
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    if even_frames * rows * columns > most:
        scale = math.sqrt((frames * height * width) / most)
        rows = max(factor, math.floor(height / scale / factor) * factor)
        columns = max(factor, math.floor(width / scale / factor) * factor)
    elif even_frames * rows * columns < least:
        scale = math.sqrt(least / (frames * height * width))
        rows = math.ceil(height * scale / factor) * factor
        columns = math.ceil(width * scale / factor) * factor
    return rows, columns


def _check_aspect(height: int, width: int) -> None:
    if max(height, width) / min(height, width) > _MOST_ASPECT:
        raise RequestError(
            f"a picture of {width:,} × {height:,} pixels is too narrow: Qwen 3.5 sees sides of at most "
            f"{_MOST_ASPECT} to 1: cut it into parts"
        )


def plan_video(height: int, width: int, frames: int, fps: float, settings: QwenSettings) -> VideoPlan:
    """The frames, size and timestamps of a video of `frames` frames at `fps`. Raises RequestError if it has only one.

    The number of frames is a multiple of two after the last one is repeated. The limits of area count frames rounded
    half to even (5 frames as 4), although three pairs are made of them.
    """
    count = min(max(int(frames / fps * settings.fps), settings.least_frames), settings.most_frames, frames)
    pair = settings.temporal_patch_size
    if count < pair:
        raise RequestError("a video of one frame shows no motion: give it as a picture")
    indices = [int(index) for index in np.linspace(0, frames - 1, count).round()]
    factor = settings.patch_size * settings.merge_size
    least, most = settings.video_pixels
    if settings.frame_tokens is not None:
        most = count * max(min(settings.frame_tokens * factor * factor, most // count), int(least * 1.05))
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    height, width = _fitted(count, round(count / pair) * pair, height, width, (least, most), settings)
    padded = indices + indices[-1:] * (-count % pair)
    times = [index / fps for index in padded]
    seconds = tuple((times[at] + times[at + pair - 1]) / 2 for at in range(0, len(times), pair))
    grid = Grid(len(seconds), height // settings.patch_size, width // settings.patch_size)
    return VideoPlan(tuple(indices), height, width, grid, seconds)


# --- tokens ----------------------------------------------------------------------------------------------------------


def _rows(grid: Grid, settings: QwenSettings) -> int:
    """Tokens of a picture or of one pair of frames."""
    return grid.rows * grid.columns // settings.merge_size**2


def picture_pieces(grid: Grid, settings: QwenSettings) -> tuple[Piece, ...]:
    return _START, Piece("rows", PICTURE_ROW, _rows(grid, settings)), _END


def video_pieces(plan: VideoPlan, settings: QwenSettings) -> tuple[Piece, ...]:
    """Each pair of frames behind its timestamp, inside markers of its own, and markers around it all."""
    rows = Piece("rows", VIDEO_ROW, _rows(plan.grid, settings))
    pairs = [piece for at in plan.seconds for piece in (Piece("text", f"<{at:.1f} seconds>"), _START, rows, _END)]
    return _START, *pairs, _END


# --- pixels ----------------------------------------------------------------------------------------------------------


def qwen_picture(picture: UInt8, settings: QwenSettings) -> QwenPicture:
    """A picture [3, rows, columns], resized. Raises RequestError if it is too long and narrow."""
    height, width = picture_size(picture.shape[1], picture.shape[2], settings)
    grid = Grid(1, height // settings.patch_size, width // settings.patch_size)
    return QwenPicture(resized(picture, height, width, "bicubic")[None], grid)


def qwen_video(frames: Iterable[UInt8], plan: VideoPlan, settings: QwenSettings) -> Iterator[QwenPicture]:
    """The pairs of a video's planned frames, one after the other: memory holds two frames, resized as they come."""
    grid, size = Grid(1, plan.grid.rows, plan.grid.columns), settings.temporal_patch_size
    pair: list[UInt8] = []
    for frame in frames:
        pair.append(resized(frame, plan.height, plan.width, "bicubic"))
        if len(pair) == size:
            yield QwenPicture(np.stack(pair), grid)
            pair = []
    if pair:
        yield QwenPicture(np.stack(pair + pair[-1:] * (size - len(pair))), grid)


def _patches(frames: UInt8, grid: Grid, settings: QwenSettings) -> Float32:
    size, merge, pair = settings.patch_size, settings.merge_size, settings.temporal_patch_size
    blocks = frames.reshape(
        len(frames), 3, grid.rows // merge, merge, size, grid.columns // merge, merge, size
    )  # frame, channel, block row, row, y, block column, column, x
    ordered = blocks.transpose(2, 5, 3, 6, 1, 0, 4, 7)
    if len(frames) == 1:
        ordered = np.repeat(ordered, pair, axis=5)
    normed = _normed(settings)
    values = np.empty(ordered.shape, np.float32)
    for channel in range(3):
        values[:, :, :, :, channel] = normed[channel][ordered[:, :, :, :, channel]]
    return values.reshape(grid.rows * grid.columns, 3 * pair * size * size)


def _normed(settings: QwenSettings) -> Float32:
    """The value of each level of each channel [3, 256]: (x − 255 mean) / (255 std), each step in float32."""
    levels = np.arange(256, dtype=np.float32)
    mean = np.array(settings.mean, np.float32) * np.float32(255.0)
    deviation = np.array(settings.deviation, np.float32) * np.float32(255.0)
    normed: Float32 = (levels - mean[:, None]) / deviation[:, None]
    return normed
