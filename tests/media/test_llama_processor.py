"""Llama 4's tiles, pixels and tokens: values of transformers 5.24, and properties. Live in tests/parity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_pictures import noise

from shoestring.errors import RequestError
from shoestring.media.llama4 import Tiling, llama_picture, picture_pieces, tiling
from shoestring.media.pieces import row_count, token_count, written
from shoestring.media.resize import resized
from shoestring.media.settings import LlamaSettings

PUBLISHED = LlamaSettings()
sides = st.integers(1, 12_000)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (336, 336, Tiling(1, 1, 336, 336)),
        (100, 200, Tiling(1, 1, 168, 336)),
        (337, 336, Tiling(2, 1, 337, 336)),
        (1008, 1344, Tiling(3, 4, 1008, 1344)),
        (3000, 4000, Tiling(3, 4, 1008, 1344)),
        (1344, 1344, Tiling(4, 4, 1344, 1344)),
        (300, 6000, Tiling(1, 16, 268, 5376)),
        (9000, 100, Tiling(16, 1, 5376, 59)),
        (1, 60_000, Tiling(1, 16, 1, 5376)),
    ],
)
def test_tiles_of_the_reference(height: int, width: int, expected: Tiling) -> None:
    """Mistake 4: canvases of up to 16 tiles of any shape, 4 × 4 and 1 × 16 among them."""
    assert tiling(height, width, PUBLISHED) == expected


@given(height=sides, width=sides, fill=st.booleans())
def test_a_picture_lies_in_its_canvas_and_keeps_its_shape(height: int, width: int, fill: bool) -> None:
    found = tiling(height, width, replace(PUBLISHED, fill_canvas=fill))
    assert found.rows * found.columns <= 16
    assert 1 <= found.height <= found.rows * 336
    assert 1 <= found.width <= found.columns * 336
    if not fill:
        assert found.height <= max(height, 336)
        assert found.width <= max(width, 336)
    by_height, by_width = width * found.height / height, height * found.width / width
    assert min(abs(found.width - by_height), abs(found.height - by_width)) <= 1.001


@given(height=sides, width=sides)
def test_tokens_follow_from_the_tiles(height: int, width: int) -> None:
    found = tiling(height, width, PUBLISHED)
    pieces = picture_pieces(found, PUBLISHED)
    cut = found.rows * found.columns
    assert token_count(pieces, len) == (147 if cut == 1 else 144 * (cut + 1) + cut + 3)
    assert row_count(pieces) == 144 * found.tiles


def test_text_of_a_picture() -> None:
    """Mistakes 4 and 8: a separator between columns, another behind each row and none of the first kind there."""
    tile = "<|patch|>" * 144
    row = f"{tile}<|tile_x_separator|>{tile}<|tile_y_separator|>"
    whole = f"<|image|>{tile}<|image_end|>"
    assert written(picture_pieces(Tiling(2, 2, 1, 1), PUBLISHED)) == f"<|image_start|>{row}{row}{whole}"
    assert written(picture_pieces(Tiling(1, 1, 1, 1), PUBLISHED)) == f"<|image_start|>{whole}"


@given(height=sides, width=sides, tokens=st.integers(147, 3000))
def test_a_cap_of_tokens_holds(height: int, width: int, tokens: int) -> None:
    settings = replace(PUBLISHED, most_tiles=PUBLISHED.tiles_within(tokens))
    assert token_count(picture_pieces(tiling(height, width, settings), settings), len) <= tokens


def test_the_cap_of_the_largest_picture_changes_nothing() -> None:
    assert PUBLISHED.tiles_within(2467) == 16
    assert PUBLISHED.tiles_within(2466) == 15
    assert PUBLISHED.tiles_within(10**9) == 16
    with pytest.raises(RequestError, match="at least 147 tokens"):
        PUBLISHED.tiles_within(146)


def test_tiles_row_by_row_then_the_whole_picture_squeezed() -> None:
    picture = noise(500, 800, 3, 0).transpose(2, 0, 1)
    read = llama_picture(picture, PUBLISHED)
    fitted = read.tiling
    assert (fitted.rows, fitted.columns) == (2, 3)
    assert len(read.tiles) == fitted.tiles == 7
    canvas = np.concatenate([np.concatenate(list(read.tiles[3 * row : 3 * row + 3]), 2) for row in range(2)], 1)
    inside = resized(picture, fitted.height, fitted.width, "bilinear")
    assert (canvas[:, : fitted.height, : fitted.width] == inside).all()
    assert not canvas[:, fitted.height :].any()
    assert not canvas[:, :, fitted.width :].any()
    assert (read.tiles[6] == resized(picture, 336, 336, "bilinear")).all()


def test_values_are_rounded_to_bfloat16_at_each_step() -> None:
    """Values that torch computed: in float32 they would differ by up to 0.004."""
    levels = np.arange(256, dtype=np.uint8).repeat(3 * 441).reshape(256, 3, 441).transpose(1, 0, 2)
    picture = np.zeros((3, 336, 336), np.uint8)
    picture.reshape(3, -1)[:, : 256 * 441] = levels.reshape(3, -1)
    values = llama_picture(picture, PUBLISHED).values(PUBLISHED)[0, 0].reshape(-1)[: 256 * 441 : 441]
    assert (values.view(np.uint32) & 0xFFFF == 0).all()
    exact = np.arange(256) / 127.5 - 1
    assert 0.002 < np.abs(values - exact).max() < 0.005
    assert values[[0, 1, 2, 100, 127, 128, 254, 255]].tolist() == EXPECTED


#: of levels 0, 1, 2, 100, 127, 128, 254, 255
EXPECTED = [-1.0, -0.9921875, -0.984375, -0.21484375, -0.00390625, 0.0078125, 0.9921875, 1.0]
