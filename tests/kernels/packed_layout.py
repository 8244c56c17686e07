"""The packed form of a matrix in plain numpy, from the drawings in kernels/types: the reference of all packing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.tensors import TENSOR_TYPES

Bytes = npt.NDArray[np.uint8]


def packed(weight_type: str, rows: Bytes, columns: int) -> Bytes:
    """rows: file bytes, [rows, bytes of a row] → the packed bytes."""
    kind = TENSOR_TYPES[weight_type]
    groups = -(-len(rows) // 16)
    padded = np.zeros((groups * 16, rows.shape[1]), np.uint8)
    padded[: len(rows)] = rows
    if kind.block_size == 1:
        item = kind.block_bytes
        elements = padded.reshape(groups, 16, columns, item)
        if weight_type == "BF16":
            elements = np.pad(elements, ((0, 0), (0, 0), (0, columns % 2), (0, 0)))
            elements = elements.reshape(groups, 16, -1, 2 * item)
        return elements.transpose(0, 2, 1, 3).reshape(-1)
    blocks = padded.reshape(groups, 16, columns // kind.block_size, kind.block_bytes)
    parts = [interleaved(part, piece) for part, piece in _parts(weight_type, blocks)]
    return np.concatenate(parts, axis=-1).reshape(-1)


def interleaved(part: Bytes, piece: int) -> Bytes:
    """[groups, 16, blocks, n · piece] → [groups, blocks, n · 16 · piece]: `piece` bytes of each row in turn."""
    groups, rows, blocks, size = part.shape
    pieces = part.reshape(groups, rows, blocks, size // piece, piece)
    return pieces.transpose(0, 2, 3, 1, 4).reshape(groups, blocks, -1)


def _parts(weight_type: str, b: Bytes) -> list[tuple[Bytes, int]]:
    """The parts of a packed block in order, each with the size of its pieces."""
    match weight_type:
        case "Q8_0" | "Q4_0":
            return [(b[..., :2], 2), (b[..., 2:], 4)]
        case "Q4_1":
            return [(b[..., :2], 2), (b[..., 2:4], 2), (b[..., 4:], 4)]
        case "Q5_0":
            return [(b[..., :2], 2), (_high_bits(b[..., 2:6]), 4), (b[..., 6:], 4)]
        case "Q4_K" | "Q5_K":
            scales, mins = _scales(b[..., 4:16])
            return [(b[..., :2], 2), (b[..., 2:4], 2), (scales, 2), (mins, 2), (b[..., 16:], 4)]
        case "Q6_K":
            return [(b[..., 208:], 2), (b[..., 192:208], 2), (b[..., :192], 4)]
    raise AssertionError(weight_type)


def _high_bits(words: Bytes) -> Bytes:
    """Bit 4v + b of the 32 bits → bit v of byte b."""
    bits: npt.NDArray[Any] = np.unpackbits(words, axis=-1, bitorder="little")
    turned = bits.reshape(*bits.shape[:-1], 8, 4).swapaxes(-1, -2).reshape(bits.shape)
    return np.packbits(turned, axis=-1, bitorder="little")


def _scales(q: Bytes) -> tuple[Bytes, Bytes]:
    """ggml's get_scale_min_k4 for all eight sub-blocks."""
    scales, mins = np.empty((*q.shape[:-1], 8), np.uint8), np.empty((*q.shape[:-1], 8), np.uint8)
    for j in range(8):
        if j < 4:
            scales[..., j], mins[..., j] = q[..., j] & 63, q[..., j + 4] & 63
        else:
            scales[..., j] = (q[..., j + 4] & 15) | (q[..., j - 4] >> 6 << 4)
            mins[..., j] = (q[..., j + 4] >> 4) | (q[..., j] >> 6 << 4)
    return scales, mins
