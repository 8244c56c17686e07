"""The resize against loops over integers, and against pixels that torchvision computed once."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_pictures import noise

from shoestring.media.resize import Filter, axis_weights, resized

UInt8 = npt.NDArray[np.uint8]


def loops(line: list[int], outputs: int, kind: Filter) -> list[int]:
    """One line resized by plain loops, with 16-bit weights as torch rounds them."""
    scale = len(line) / outputs
    support = (2.0 if kind == "bicubic" else 1.0) * max(scale, 1.0)
    rows = []
    for i in range(outputs):
        centre = scale * (i + 0.5)
        begin = max(int(centre - support + 0.5), 0)
        end = min(int(centre + support + 0.5), len(line))
        raw = []
        for j in range(begin, end):
            x = abs((j - centre + 0.5) / max(scale, 1.0))
            near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * (x**3 - 5 * x**2 + 8 * x - 4)
            cubic = near if x < 1 else far if x < 2 else 0.0
            raw.append(cubic if kind == "bicubic" else max(1 - x, 0.0))
        rows.append((begin, [w / sum(raw) for w in raw]))
    largest = max(max(w) for _, w in rows)
    bits = next(b for b in range(22, -1, -1) if b == 0 or int(0.5 + largest * 2**b) < 2**15)
    result = []
    for begin, weights in rows:
        total = sum(int(math.copysign(0.5, w) + w * 2**bits) * line[begin + k] for k, w in enumerate(weights))
        result.append(min(max((total + 2**bits // 2) >> bits, 0), 255))
    return result


def plain(picture: UInt8, height: int, width: int, kind: Filter) -> UInt8:
    """Columns first, 8 bits between."""
    columns = [[loops(list(map(int, row)), width, kind) for row in channel] for channel in picture]
    turned = np.array(columns).transpose(0, 2, 1)
    rows = [[loops(list(map(int, column)), height, kind) for column in channel] for channel in turned]
    return np.array(rows, np.uint8).transpose(0, 2, 1)


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
@settings(max_examples=25, deadline=None)
@given(sides=st.tuples(*[st.integers(1, 40)] * 4), seed=st.integers(0, 9))
def test_it_is_the_plain_loops(kind: Filter, sides: tuple[int, int, int, int], seed: int) -> None:
    rows, columns, height, width = sides
    picture = noise(rows, columns, 3, seed).transpose(2, 0, 1)
    assert (resized(picture, height, width, kind) == plain(picture, height, width, kind)).all()


#: (rows, columns, height, width, filter) → the start of the SHA-256 of torchvision 0.28's pixels; see tests/parity
TORCHVISION = {
    (333, 517, 320, 512, "bicubic"): "84dae9d7af944819",
    (61, 83, 256, 352, "bicubic"): "e36b2ec2458d48f4",
    (700, 900, 45, 33, "bicubic"): "63069c8aab0bd793",
    (333, 517, 216, 336, "bilinear"): "aadacb45ffbf4a95",
    (900, 31, 336, 336, "bilinear"): "9a008548e45bc5e5",
}


@pytest.mark.parametrize("case", TORCHVISION, ids=str)
def test_it_is_torchvision(case: tuple[int, int, int, int, Filter]) -> None:
    rows, columns, height, width, kind = case
    pixels = resized(noise(rows, columns, 3, 0).transpose(2, 0, 1), height, width, kind)
    assert hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()[:16] == TORCHVISION[case]


def test_the_order_of_the_passes_and_the_bits_between_them_show() -> None:
    """Pillow's ways for this size: these pictures tell them from ours, so the tests above do."""
    picture = noise(333, 517, 3, 0).transpose(2, 0, 1)
    ours = resized(picture, 320, 512, "bicubic")
    rows_first = resized(resized(picture, 320, 517, "bicubic"), 320, 512, "bicubic")
    assert 0.005 < (ours != rows_first).mean() < 0.5


def test_a_size_that_stays_costs_no_pixels() -> None:
    picture = noise(50, 60, 3, 0).transpose(2, 0, 1)
    assert resized(picture, 50, 60, "bicubic") is picture
    assert (resized(picture, 50, 60, "bilinear") == picture).all()


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_one_colour_stays_one_colour(level: int) -> None:
    picture = np.full((3, 37, 91), level, np.uint8)
    for height, width in ((5, 200), (200, 7), (336, 336)):
        assert (resized(picture, height, width, "bicubic") == level).all()


def test_sums_are_exact_in_float64() -> None:
    """Weights are whole and small, so no order of summation rounds."""
    for inputs, outputs in ((65535, 1), (10_000, 3), (7, 5000), (100, 99)):
        weights = axis_weights(inputs, outputs, "bicubic").weights
        assert (weights == np.round(weights)).all()
        assert np.abs(weights).max() < 1 << 15
        assert np.abs(weights).sum(1).max() * 255 < 1 << 53


def test_large_and_small_blocks_are_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(120, 333, 3, 0).transpose(2, 0, 1)
    expected = resized(picture, 77, 401, "bicubic")
    monkeypatch.setattr("shoestring.media.resize._BLOCK_BYTES", 4096)
    monkeypatch.setattr("shoestring.media.resize._BLOCK", 3)
    assert (resized(picture, 77, 401, "bicubic") == expected).all()
