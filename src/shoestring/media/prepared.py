"""Prepare a picture or video for a model: from its header, the tokens and rows that it takes; later, its pixels.

The tower reads it in parts, each alone: a picture of Qwen 3.5, a pair of frames of a video, or a tile of Llama 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from shoestring.errors import RequestError
from shoestring.media import llama4, qwen3_5
from shoestring.media.headers import probe_picture
from shoestring.media.limits import LIMITS, Limits
from shoestring.media.llama4 import LlamaPicture, Tiling
from shoestring.media.picture import resized_picture
from shoestring.media.pieces import Piece
from shoestring.media.qwen3_5 import QwenPicture, VideoPlan
from shoestring.media.settings import LlamaSettings, QwenSettings, Settings
from shoestring.media.source import Source
from shoestring.media.video import VideoInfo, decode_video, probe_video

Float32 = npt.NDArray[np.float32]

#: Most tokens of a picture of detail "low" with Qwen 3.5, markers included: 512 × 512 pixels. Llama 4: one tile.
LOW_TOKENS = 258


@dataclass(frozen=True)
class Part:
    """What the tower reads alone. key: of content, size, frame or tile, and the processor's settings; 32 bytes.

    rows, columns: of the tokens that it becomes. patches: rows and columns of patches.
    """

    key: bytes
    rows: int
    columns: int
    patches: tuple[int, int]

    @property
    def count(self) -> int:
        """Rows that the tower gives."""
        return self.rows * self.columns

    def row_ids(self) -> list[int]:
        """A negative id of 63 bits for each row, which no other row has: what a prompt's cache compares."""
        bits = np.frombuffer(hashlib.shake_256(self.key).digest(8 * self.count), "<u8") >> np.uint64(1)
        return [-1 - number for number in bits.tolist()]


@dataclass(frozen=True)
class Prepared:
    """A picture or video as one model reads it, from its header.

    pieces: what stands in the prompt; each one of kind "rows" is one of `parts`, in order. flat: a row's rotary
    position is one number, as a text's; else its row and column count (Qwen 3.5). detail: the detail that was obeyed.
    """

    source: Source
    settings: Settings
    pieces: tuple[Piece, ...]
    parts: tuple[Part, ...]
    flat: bool
    limits: Limits = LIMITS
    video: tuple[VideoInfo, VideoPlan] | None = field(default=None, repr=False)
    tiling: Tiling | None = None

    def pixels(self) -> Iterator[Pixels]:
        """What the tower reads of each part, in order. Raises RequestError for data that cannot be decoded."""
        source, settings = self.source, self.settings
        if isinstance(settings, LlamaSettings):
            assert self.tiling is not None
            wanted = llama4.sizes(self.tiling, settings)
            read = resized_picture(source.data, wanted, "bilinear", source.name, self.limits)
            tiles = llama4.cut(read, self.tiling, settings)
            for number in range(tiles.tiling.tiles):
                yield Pixels(replace(tiles, tiles=tiles.tiles[number : number + 1]), settings)
        elif self.video is None:
            rows, columns = self.parts[0].patches
            size = (rows * settings.patch_size, columns * settings.patch_size)
            (picture,) = resized_picture(source.data, [size], "bicubic", source.name, self.limits)
            yield Pixels(QwenPicture(picture[None], qwen3_5.Grid(1, rows, columns)), settings)
        else:
            info, plan = self.video
            frames = decode_video(source.data, info, plan.indices, source.name, self.limits)
            for pair in qwen3_5.qwen_video(frames, plan, settings):
                yield Pixels(pair, settings)


@dataclass(frozen=True)
class Pixels:
    """The resized pixels of a part, 8 bits each."""

    read: QwenPicture | LlamaPicture
    settings: Settings

    def values(self) -> Float32:
        """As the tower reads it: patches [rows × columns, 1536] of Qwen 3.5, a tile [3, 336, 336] of Llama 4."""
        if isinstance(self.read, QwenPicture):
            assert isinstance(self.settings, QwenSettings)
            return self.read.patches(self.settings)
        assert isinstance(self.settings, LlamaSettings)
        tile: Float32 = self.read.values(self.settings)[0]
        return tile


def prepare(source: Source, settings: Settings, limits: Limits = LIMITS) -> Prepared:
    """From headers; a video's packets are counted. Raises RequestError for what cannot be read, or is too large."""
    if source.detail == "low":
        settings = _low(settings)
    if source.kind == "image":
        return _picture(source, settings, limits)
    if isinstance(settings, LlamaSettings):
        raise RequestError(f"{source.name} is a video and Llama 4 reads none: give some of its frames as pictures")
    info = probe_video(source.data, source.name, limits)
    plan = qwen3_5.plan_video(info.height, info.width, info.frames, info.fps, settings)
    keys = _keys(source, settings, (plan.indices, plan.grid), plan.grid.pairs)
    parts = _qwen_parts(keys, plan.grid, settings)
    return Prepared(source, settings, qwen3_5.video_pieces(plan, settings), parts, False, limits, (info, plan))


def _picture(source: Source, settings: Settings, limits: Limits) -> Prepared:
    info = probe_picture(source.data, source.name, limits)
    if isinstance(settings, LlamaSettings):
        tiling = llama4.tiling(info.height, info.width, settings)
        side = int(settings.tile_tokens**0.5)
        patches = (settings.tile_size, settings.tile_size)
        parts = tuple(Part(key, side, side, patches) for key in _keys(source, settings, tiling, tiling.tiles))
        return Prepared(source, settings, llama4.picture_pieces(tiling, settings), parts, True, limits, tiling=tiling)
    grid = qwen3_5.picture_grid(info.height, info.width, settings)
    parts = _qwen_parts(_keys(source, settings, grid, 1), grid, settings)
    return Prepared(source, settings, qwen3_5.picture_pieces(grid, settings), parts, False, limits)


def _qwen_parts(keys: list[bytes], grid: qwen3_5.Grid, settings: QwenSettings) -> tuple[Part, ...]:
    merge = settings.merge_size
    return tuple(Part(key, grid.rows // merge, grid.columns // merge, (grid.rows, grid.columns)) for key in keys)


def _keys(source: Source, settings: Settings, size: object, parts: int) -> list[bytes]:
    """A key for each part: nothing that decides a row may be missing from it."""
    whole = hashlib.sha256(source.digest + repr((source.kind, settings, size)).encode()).digest()
    return [hashlib.sha256(whole + number.to_bytes(8, "little")).digest() for number in range(parts)]


def _low(settings: Settings) -> Settings:
    """The settings of a picture of detail "low". A narrow one may take more tokens."""
    if isinstance(settings, LlamaSettings):
        return replace(settings, most_tiles=1)
    return replace(settings.within(LOW_TOKENS), picture_rows=settings.picture_rows)
