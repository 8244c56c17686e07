"""Vision towers against transformers, with heads and rows of the real widths: rows of the text model, float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import towers as live

from shoestring import ops
from shoestring.media.qwen3_5 import Grid
from shoestring.models import towers
from shoestring.models.tower_weights import load_tower
from shoestring.reference import tower as reference
from shoestring.reference.vision_functions import VisionTraps

Float32 = npt.NDArray[np.float32]

#: Of the largest value. tanh for erf in GELU changes no more than 1e-4, so that 1e-4 would not show it.
BOUND = 2e-5
#: Pictures of a call, each rows × columns of patches: squares, strips, the table's own side, one token.
QWEN_CALLS = (
    ((16, 16),),
    ((2, 2), (4, 64)),
    ((48, 6),),
    ((30, 8), (8, 30), (10, 10)),
    ((64, 4), (6, 50), (14, 18), (2, 40), (22, 12)),
)
#: A video's pairs of frames, of 1, 2, 3, 5, 6 frames and of 9.
VIDEOS = ((1, 8, 10), (2, 12, 6), (3, 4, 22), (5, 6, 6))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("towers")


def values(*shape: int) -> Float32:
    return np.random.default_rng(shape).uniform(-1, 1, shape).astype(np.float32)


def relative(ours: npt.NDArray[Any], theirs: npt.NDArray[np.float64]) -> float:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.2
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def encoded(weights: towers.KernelWeights, pixels: Float32, rows: int, columns: int) -> Float32:
    with ops.Workspace() as ws:
        return towers.encode(weights, pixels, Grid(1, rows, columns), ws).copy()


@pytest.mark.parametrize(("name", "sizes"), [("72", live.QWEN_72), ("64", live.QWEN_64)])
def test_qwen(name: str, sizes: dict[str, int], folder: Any) -> None:
    """1 … 5 pictures in one call of theirs; each alone in ours."""
    tower = live.qwen(folder / name, tuple(sizes.items()))
    weights = load_tower(tower.config, tower.binding)
    for call in QWEN_CALLS:
        pictures = [values(rows * columns, 1536) for rows, columns in call]
        theirs = tower.theirs(np.concatenate(pictures), [[1, *grid] for grid in call])
        ours = [encoded(weights, p, *grid) for p, grid in zip(pictures, call, strict=True)]
        assert relative(np.concatenate(ours), theirs) < BOUND
    for pairs, rows, columns in VIDEOS:
        frames = values(pairs, rows * columns, 1536)
        theirs = tower.theirs(frames.reshape(-1, 1536), [[pairs, rows, columns]])
        assert relative(np.concatenate([encoded(weights, pair, rows, columns) for pair in frames]), theirs) < BOUND


def test_llama(folder: Any) -> None:
    """Tiles of pictures; a tile has one size, whatever the picture's is."""
    tower = live.llama(folder / "88", tuple(live.LLAMA_88.items()))
    weights = load_tower(tower.config, tower.binding)
    for tiles in (1, 3):
        pixels = values(tiles, 3, 336, 336)
        theirs = tower.theirs(pixels)
        ours = np.concatenate([encoded(weights, tile, 24, 24) for tile in pixels])
        assert relative(ours, theirs) < BOUND


_QWEN_TRAPS = (
    "tanh_everywhere", "half_pixel_positions", "merged_coordinates", "raster_order", "rotary_pairs_swapped",
    "axes_swapped", "norm_after_join",
)  # fmt: skip
_LLAMA_TRAPS = ("tanh_everywhere", "class_row_first", "rotary_pairs_swapped", "axes_swapped")


def test_the_float64_twins(folder: Any) -> None:
    """Far closer than the bound, and each known mistake is beyond it."""
    tower = live.qwen(folder / "72", tuple(live.QWEN_72.items()))
    weights = reference.load_tower(tower.config, tower.binding)
    pixels = values(8 * 10, 1536)
    theirs = tower.theirs(pixels, [[1, 8, 10]])
    assert relative(reference.encode(weights, pixels, 8, 10), theirs) < 2e-6
    for trap in _QWEN_TRAPS:
        wrong = reference.encode(weights, pixels, 8, 10, replace(VisionTraps(), **{trap: True}))
        assert relative(wrong, theirs) > 2 * BOUND, trap
    tower = live.llama(folder / "small", tuple((live.LLAMA_88 | {"image_size": 112}).items()))
    llama = reference.load_tower(tower.config, tower.binding)
    tile = values(3, 112, 112)
    theirs = tower.theirs(tile[None])
    assert relative(reference.encode(llama, tile, 8, 8), theirs) < 2e-6
    for trap in _LLAMA_TRAPS:
        assert (
            relative(reference.encode(llama, tile, 8, 8, replace(VisionTraps(), **{trap: True})), theirs) > 2 * BOUND
        ), trap
