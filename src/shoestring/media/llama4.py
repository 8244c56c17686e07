"""Llama 4's processor: the choice of tiles, their pixels and their tokens, equal to `transformers`' processor.

A picture is fitted into a canvas of 336 × 336 tiles without losing its shape. Where that takes more than one tile, the
whole picture comes once more, squeezed into a tile of its own, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoestring.media.pieces import Piece, marker
from shoestring.media.resize import UInt8, resized
from shoestring.media.settings import LlamaSettings

Float32 = npt.NDArray[np.float32]

_START, _END = marker("<|image_start|>"), marker("<|image_end|>")
_PICTURE = marker("<|image|>")
_BESIDE, _BELOW = marker("<|tile_x_separator|>"), marker("<|tile_y_separator|>")
ROW = "<|patch|>"


@dataclass(frozen=True)
class Tiling:
    """rows, columns: of tiles. height, width: of the picture inside them, from the upper left corner."""

    rows: int
    columns: int
    height: int
    width: int

    @property
    def tiles(self) -> int:
        """With the tile of the whole picture."""
        return self.rows * self.columns + (self.rows * self.columns > 1)


@dataclass(frozen=True)
class LlamaPicture:
    """What the tower reads of a picture. tiles: uint8 [tiles, 3, 336, 336], row by row, then the whole picture."""

    tiles: UInt8
    tiling: Tiling

    def values(self, settings: LlamaSettings) -> Float32:
        """The tiles as the tower reads them: normalised in bfloat16, as float32 [tiles, 3, 336, 336]."""
        normed = _normed(settings)
        values = np.empty(self.tiles.shape, np.float32)
        for channel in range(3):
            values[:, channel] = normed[channel][self.tiles[:, channel]]
        return values


def tiling(height: int, width: int, settings: LlamaSettings) -> Tiling:
    """The canvas of a picture of this size, and the picture's size in it."""
    tile = settings.tile_size
    most = settings.most_tiles
    rows, columns = _canvas(height, width, tile, most, settings.fill_canvas)
    target_height, target_width = rows * tile, columns * tile
    # The reference's canvas is an integer tensor. A scale that comes from it is a float32, any other a float64.
    single_height = single_width = True
    if not settings.fill_canvas:
        single_height, single_width = target_height < max(height, tile), target_width < max(width, tile)
        target_height, target_width = min(max(height, tile), target_height), min(max(width, tile), target_width)
    scale_width = np.float32(target_width) / np.float32(width) if single_width else target_width / width
    scale_height = np.float32(target_height) / np.float32(height) if single_height else target_height / height
    if single_width or single_height:
        narrower = bool(np.float32(scale_width) < np.float32(scale_height))
    else:
        narrower = scale_width < scale_height
    if narrower:
        target_height = min(_scaled(height, scale_width), target_height)
    else:
        target_width = min(_scaled(width, scale_height), target_width)
    return Tiling(rows, columns, max(target_height, 1), max(target_width, 1))


def _scaled(side: int, scale: float | np.float32) -> int:
    product = np.float32(side) * scale if isinstance(scale, np.float32) else side * scale
    return math.floor(product)


def _canvas(height: int, width: int, tile: int, most: int, largest: bool) -> tuple[int, int]:
    """Rows and columns of the best canvas: the least enlargement, else the least reduction; then the least area."""
    canvases = [(rows, columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]
    sides = np.array(canvases, np.float32) * np.float32(tile)
    scales = np.minimum(sides[:, 0] / np.float32(height), sides[:, 1] / np.float32(width))
    enlarging = scales[scales >= 1]
    if len(enlarging):
        chosen = enlarging.max() if largest else enlarging.min()
    else:
        chosen = scales.max()
    best = [canvas for canvas, scale in zip(canvases, scales, strict=True) if scale == chosen]
    return min(best, key=lambda canvas: canvas[0] * canvas[1])


# --- tokens ----------------------------------------------------------------------------------------------------------


def picture_pieces(tiling: Tiling, settings: LlamaSettings) -> tuple[Piece, ...]:
    """Rows of tiles with a separator between columns and one behind each row; then the whole picture."""
    tile = Piece("rows", ROW, settings.tile_tokens)
    pieces = [_START]
    if tiling.rows * tiling.columns > 1:
        for _ in range(tiling.rows):
            for column in range(tiling.columns):
                pieces += [tile] if column == 0 else [_BESIDE, tile]
            pieces.append(_BELOW)
    return *pieces, _PICTURE, tile, _END


# --- pixels ----------------------------------------------------------------------------------------------------------


def sizes(fitted: Tiling, settings: LlamaSettings) -> list[tuple[int, int]]:
    """Heights and widths of the picture that its tiles are made of: fitted, and squeezed where there are several."""
    squeezed = [(settings.tile_size, settings.tile_size)] if fitted.tiles > 1 else []
    return [(fitted.height, fitted.width), *squeezed]


def cut(resized: Sequence[UInt8], fitted: Tiling, settings: LlamaSettings) -> LlamaPicture:
    """The tiles of a picture. resized: it in `sizes`, each [3, height, width]."""
    tile = settings.tile_size
    canvas = np.zeros((3, fitted.rows * tile, fitted.columns * tile), np.uint8)
    canvas[:, : fitted.height, : fitted.width] = resized[0]
    parts = canvas.reshape(3, fitted.rows, tile, fitted.columns, tile).transpose(1, 3, 0, 2, 4)
    tiles = [parts.reshape(-1, 3, tile, tile), *(squeezed[None] for squeezed in resized[1:])]
    return LlamaPicture(np.concatenate(tiles), fitted)


def llama_picture(picture: UInt8, settings: LlamaSettings) -> LlamaPicture:
    """The tiles of a picture [3, rows, columns]."""
    fitted = tiling(picture.shape[1], picture.shape[2], settings)
    return cut([resized(picture, *size, "bilinear") for size in sizes(fitted, settings)], fitted, settings)


def _normed(settings: LlamaSettings) -> Float32:
    """The value of each level of each channel [3, 256]: (x / 255 − mean) / std, each step rounded to bfloat16."""
    levels = _bfloat16(np.arange(256, dtype=np.float32) * np.float32(1 / 255))
    mean = _bfloat16(np.array(settings.mean, np.float32))[:, None]
    deviation = _bfloat16(np.array(settings.deviation, np.float32))[:, None]
    return _bfloat16(_bfloat16(levels - mean) / deviation)


def _bfloat16(values: Float32) -> Float32:
    """Rounded to bfloat16, half to even. Finite values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    result: Float32 = (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    return result
