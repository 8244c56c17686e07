"""Vision towers: equal to the float64 twins, to themselves in any company, and to no known mistake."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import vision_models
from other_variants import same_in_all_variants
from vision_models import FAMILIES, Family

from shoestring import ops
from shoestring.checkpoint.config.vision_types import Llama4VisionConfig, Qwen3_5VisionConfig
from shoestring.media.qwen3_5 import Grid
from shoestring.models import slices, towers
from shoestring.models.tower_weights import load_tower
from shoestring.reference import tower as reference
from shoestring.reference.vision_functions import VisionTraps
from shoestring.runtime.opening import open_model
from shoestring.runtime.vision.vision import Tower, open_vision
from shoestring.samples.synthetic.vision import small

Float32 = npt.NDArray[np.float32]

_GRIDS = ((12, 12), (2, 2), (4, 26), (20, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("towers")


def tower(folder: Path, family: Family) -> Tower:
    path = folder / family
    if not path.exists():
        vision = replace(small(family, 64), num_hidden_layers=2)
        if isinstance(vision, Llama4VisionConfig):
            vision = replace(vision, image_size=112)  # 8 × 8 patches
        vision_models.write_folder_model(path, family, vision=vision)
    opened = open_model(path)
    return open_vision(opened.checkpoint, opened.config).needed()


def parts(family: Family) -> list[tuple[Float32, Grid]]:
    """Pixels of parts of several sizes."""
    random = np.random.default_rng(22)
    if family == "llama4":
        return [(random.uniform(-1, 1, (3, 112, 112)).astype(np.float32), Grid(1, 8, 8)) for _ in range(2)]
    shapes = [(random.uniform(-1, 1, (rows * columns, 1536)), Grid(1, rows, columns)) for rows, columns in _GRIDS]
    return [(pixels.astype(np.float32), grid) for pixels, grid in shapes]


def encoded(weights: towers.KernelWeights, pixels: Float32, grid: Grid) -> Float32:
    with ops.Workspace() as ws:
        return towers.encode(weights, pixels, grid, ws).copy()


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_float64_twin(family: Family, folder: Path) -> None:
    found = tower(folder, family)
    ours, theirs = load_tower(found.config, found.binding), reference.load_tower(found.config, found.binding)
    for pixels, grid in parts(family):
        wanted = reference.encode(theirs, pixels, grid.rows, grid.columns)
        rows = encoded(ours, pixels, grid)
        assert rows.shape == wanted.shape == (towers.part_rows(found.config, grid), found.config.out_hidden_size)
        assert np.abs(rows - wanted).max() < 1e-5 * np.abs(wanted).max()


@cache
def right_rows(folder: Path, family: Family) -> tuple[reference.ReferenceTower, Any]:
    found = tower(folder, family)
    weights = reference.load_tower(found.config, found.binding)
    pixels, grid = parts(family)[-1]
    return weights, reference.encode(weights, pixels, grid.rows, grid.columns)


_QWEN_TRAPS = (
    "tanh_everywhere", "half_pixel_positions", "merged_coordinates", "raster_order", "rotary_pairs_swapped",
    "axes_swapped", "norm_after_join",
)  # fmt: skip
_LLAMA_TRAPS = ("tanh_everywhere", "class_row_first", "rotary_pairs_swapped", "axes_swapped")


@pytest.mark.parametrize(
    ("family", "trap"), [*(("qwen3_5", t) for t in _QWEN_TRAPS), *(("llama4", t) for t in _LLAMA_TRAPS)]
)
def test_a_known_mistake_would_show(family: Family, trap: str, folder: Path) -> None:
    """Each changes the twin's rows by ten times as much as the engine may differ from it."""
    weights, right = right_rows(folder, family)
    pixels, grid = parts(family)[-1]
    wrong = reference.encode(weights, pixels, grid.rows, grid.columns, replace(VisionTraps(), **{trap: True}))
    assert np.abs(wrong - right).max() > 1e-4 * np.abs(right).max()


def rows_of(folder: str, family: Family, which: int) -> Float32:
    """The rows of one part, for another variant."""
    found = tower(Path(folder), family)
    return encoded(load_tower(found.config, found.binding), *parts(family)[which])


@pytest.mark.parametrize("family", FAMILIES)
def test_one_answer(family: Family, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, between layers of another part, in other chunks of rows, with other threads: the same bits."""
    found = tower(folder, family)
    weights = load_tower(found.config, found.binding)
    alone = [encoded(weights, pixels, grid) for pixels, grid in parts(family)]
    spaces = [ops.Workspace() for _ in alone]
    runs = [towers.layers(weights, p, g, ws) for (p, g), ws in zip(parts(family), spaces, strict=True)]
    together: list[Any] = [None] * len(runs)
    for turn in range(found.config.num_hidden_layers):  # a layer of each in turn
        together = [next(run) for run in runs]
        assert turn == found.config.num_hidden_layers - 1 or together[0].shape[1] == found.config.hidden_size
    for rows, wanted in zip(together, alone, strict=True):
        assert np.array_equal(rows, wanted)
    monkeypatch.setattr(slices, "CHUNK_ROWS", 37)
    threads = ops.num_threads()
    try:
        for count in (1, 3):
            ops.set_num_threads(count)
            for (pixels, grid), wanted in zip(parts(family), alone, strict=True):
                assert np.array_equal(encoded(weights, pixels, grid), wanted)
    finally:
        ops.set_num_threads(threads)


@pytest.mark.parametrize(("family", "which"), [("qwen3_5", 2), ("llama4", 0)])
def test_one_answer_of_all_instruction_sets(family: Family, which: int, folder: Path) -> None:
    tower(folder, family)
    same_in_all_variants(rows_of, str(folder), family, which)


def test_a_still_picture_is_both_frames(folder: Path) -> None:
    """One order of sums for pictures and videos: a picture is a pair of equal frames."""
    found = tower(folder, "qwen3_5")
    assert isinstance(found.config, Qwen3_5VisionConfig)
    random = np.random.default_rng(1)
    frame = random.uniform(-1, 1, (16 * 16, 3, 1, 256)).astype(np.float32)
    pair = np.repeat(frame, 2, axis=2).reshape(256, 1536)
    changed = pair.reshape(256, 3, 2, 256).copy()
    changed[:, :, 1] *= -1
    weights = load_tower(found.config, found.binding)
    still = encoded(weights, pair, Grid(1, 16, 16))
    assert not np.array_equal(still, encoded(weights, changed.reshape(256, 1536), Grid(1, 16, 16)))
