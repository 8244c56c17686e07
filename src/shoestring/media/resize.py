"""Resize 8-bit pictures to the reference's pixels: torchvision's antialiased filters with 16-bit integer weights.

Columns first (each row becomes narrower or wider), then rows, rounded and clipped to 8 bits after each pass. Pillow
chooses the order by cost, and floats between the passes give other pixels too, so neither is used here.

The weights of an axis are integers of at most 15 bits and a sign, and the sums stay below 2^31. They are computed as
products of float64 matrices, which are exact below 2^53 in any order of summation: every BLAS gives the same pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]

Filter = Literal["bicubic", "bilinear"]

#: Input samples that reach an output sample when nothing is made smaller.
_TAPS = {"bicubic": 4, "bilinear": 2}
#: Most bits of the fraction of a weight, and the bits of a weight with its sign.
_MOST_FRACTION_BITS, _WEIGHT_BITS = 22, 16
#: Output samples a product: more waste work outside the band, fewer waste calls.
_BLOCK = 16
#: Bytes of the float64 copy of a block.
_BLOCK_BYTES = 4 << 20


class Weights(NamedTuple):
    """How each output sample of an axis is made: Σ over taps k of weights[i, k] × input[starts[i] + k] / 2^bits.

    starts: int64 [outputs]. weights: float64 with whole values [outputs, taps].
    """

    starts: npt.NDArray[np.int64]
    weights: Float64
    bits: int


def resized(picture: UInt8, height: int, width: int, kind: Filter) -> UInt8:
    """The picture in another size, by an antialiased filter. The same picture where the size does not change.

    picture: [channels, rows, columns]. Returns [channels, height, width].
    """
    resizer = Resizer(picture.shape[1:], (height, width), kind)
    resizer.add(picture)
    return resizer.result()


class Resizer:
    """Resizes a picture whose rows come in blocks, so that memory has none of its full width but a block.

    size, wanted: rows and columns of the picture, and of the result.
    """

    def __init__(self, size: tuple[int, ...], wanted: tuple[int, int], kind: Filter) -> None:
        self._rows, columns = size
        self._wanted, self._kind = wanted, kind
        self._narrow = None if columns == wanted[1] else axis_weights(columns, wanted[1], kind)
        self._bands = [] if self._narrow is None else _blocks(self._narrow, columns)
        self._passed: UInt8 | None = None
        self._at = 0

    def add(self, rows: UInt8) -> None:
        """The next rows, [channels, rows, columns]."""
        if self._narrow is not None:
            rows = _narrowed(np.ascontiguousarray(rows), self._narrow, self._bands)
        if self._passed is None and rows.shape[1] == self._rows:
            self._passed = rows
            return
        if self._passed is None:
            self._passed = np.empty((len(rows), self._rows, rows.shape[2]), np.uint8)
        self._passed[:, self._at : self._at + rows.shape[1]] = rows
        self._at += rows.shape[1]

    def result(self) -> UInt8:
        """[channels, height, width]."""
        picture, self._passed = self._passed, None
        assert picture is not None
        if self._rows != self._wanted[0]:
            picture = _shortened(picture, axis_weights(self._rows, self._wanted[0], self._kind))
        return picture


@lru_cache(maxsize=64)
def axis_weights(inputs: int, outputs: int, kind: Filter) -> Weights:
    """The weights of one axis, rounded as torch rounds them: half away from zero, the widest fraction of 16 bits."""
    scale = inputs / outputs
    support = _TAPS[kind] / 2 * max(scale, 1.0)
    taps = 2 * math.ceil(support) + 1
    centres = scale * (np.arange(outputs) + 0.5)
    starts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    sizes = np.clip(np.minimum((centres + support + 0.5).astype(np.int64), inputs) - starts, 0, taps)
    steps = np.arange(taps)
    distances = (steps + starts[:, None] - centres[:, None] + 0.5) * (1.0 / scale if scale >= 1.0 else 1.0)
    weights = np.where(steps < sizes[:, None], _filter(np.abs(distances), kind), 0.0)
    total = weights[:, :1].copy()
    for k in range(1, taps):  # in order: a pairwise sum rounds otherwise
        total += weights[:, k : k + 1]
    weights /= np.where(total == 0.0, 1.0, total)
    largest = float(weights.max())
    bits = 0
    while bits < _MOST_FRACTION_BITS and int(0.5 + largest * (1 << (bits + 1))) < 1 << (_WEIGHT_BITS - 1):
        bits += 1
    whole = np.trunc(weights * (1 << bits) + np.where(weights < 0, -0.5, 0.5))
    return Weights(starts, whole, bits)


def _filter(x: Float64, kind: Filter) -> Float64:
    """The filter at distances from its centre, none negative. Bicubic: Keys' kernel with a = −0.5."""
    if kind == "bilinear":
        return np.where(x < 1.0, 1.0 - x, 0.0)
    a = -0.5
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _blocks(axis: Weights, inputs: int) -> list[tuple[int, int, int, Float64]]:
    """Output samples in blocks: first output, first input, end of inputs, weights of those inputs [outputs, inputs]."""
    blocks = []
    taps = axis.weights.shape[1]
    for first in range(0, len(axis.starts), _BLOCK):
        starts, weights = axis.starts[first : first + _BLOCK], axis.weights[first : first + _BLOCK]
        begin, end = int(starts[0]), min(int(starts[-1]) + taps, inputs)
        band = np.zeros((len(starts), int(starts[-1]) + taps - begin))
        for row, start in enumerate(starts):
            band[row, start - begin : start - begin + taps] = weights[row]
        blocks.append((first, begin, end, band[:, : end - begin]))
    return blocks


def _rounded(sums: Float64, bits: int) -> UInt8:
    """sums / 2^bits, rounded half up and clipped to 8 bits. Overwrites the sums."""
    sums += 1 << bits >> 1
    sums *= 2.0**-bits
    np.floor(sums, out=sums)
    np.clip(sums, 0.0, 255.0, out=sums)
    return sums.astype(np.uint8)


def _narrowed(picture: UInt8, axis: Weights, bands: list[tuple[int, int, int, Float64]]) -> UInt8:
    """Apply the weights to columns. [channels, rows, columns] → [channels, rows, outputs]."""
    channels, rows, columns = picture.shape
    lines = picture.reshape(channels * rows, columns)
    result = np.empty((len(lines), len(axis.starts)), np.uint8)
    for first, begin, end, band in bands:
        step = max(1, _BLOCK_BYTES // (8 * (end - begin)))
        for top in range(0, len(lines), step):
            part = lines[top : top + step, begin:end].astype(np.float64)
            result[top : top + step, first : first + len(band)] = _rounded(part @ band.T, axis.bits)
    return result.reshape(channels, rows, -1)


def _shortened(picture: UInt8, axis: Weights) -> UInt8:
    """Apply the weights to rows. [channels, rows, columns] → [channels, outputs, columns]."""
    channels, rows, columns = picture.shape
    result = np.empty((channels, len(axis.starts), columns), np.uint8)
    for first, begin, end, band in _blocks(axis, rows):
        step = max(1, _BLOCK_BYTES // (8 * (end - begin)))
        for channel in range(channels):
            for left in range(0, columns, step):
                part = picture[channel, begin:end, left : left + step].astype(np.float64)
                result[channel, first : first + len(band), left : left + step] = _rounded(band @ part, axis.bits)
    return result
