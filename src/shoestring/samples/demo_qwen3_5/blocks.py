"""Convert numbers to Q8_0 and Q5_0 blocks and back, in elementwise numpy: the same bytes on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_BLOCK = 32


def to_q8_0(values: Float32) -> Bytes:
    """Quantize rows in blocks of 32: the largest magnitude becomes 127 steps."""
    blocks = values.reshape(-1, _BLOCK)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)).astype(np.float16)
    codes = np.rint(_divided(blocks, scale)).clip(-127, 127).astype(np.int8)
    return np.concatenate([scale.view(np.uint8), codes.view(np.uint8)], axis=1)


def to_q5_0(values: Float32) -> Bytes:
    """Quantize rows in blocks of 32: the largest magnitude becomes −16 steps, as in tools/train_demo/rounding.py."""
    blocks = values.reshape(-1, _BLOCK)
    largest, smallest = blocks.max(axis=1, keepdims=True), blocks.min(axis=1, keepdims=True)
    scale = (np.where(largest > -smallest, largest, smallest) / np.float32(-16)).astype(np.float16)
    q = (np.rint(_divided(blocks, scale)).clip(-16, 15) + 16).astype(np.uint8)  # [blocks, 32]
    fifth = np.packbits(q >> 4, axis=1, bitorder="little")
    low = q & 15
    return np.concatenate([scale.view(np.uint8), fifth, low[:, :16] | low[:, 16:] << 4], axis=1)


def _divided(blocks: Float32, scale: npt.NDArray[np.float16]) -> Float32:
    """Divide by the scale; a block of zeros has scale 0 and stays zero."""
    wide = scale.astype(np.float32)
    return np.asarray(np.divide(blocks, wide, out=np.zeros_like(blocks), where=wide != 0))


def doubled_q4_1(blocks: Bytes) -> Bytes:
    """Q4_1 blocks [..., 20] of twice the numbers: exact, since scale and minimum double."""
    out = blocks.copy()
    head = np.ascontiguousarray(out[..., :4]).view(np.float16) * np.float16(2)
    out[..., :4] = head.view(np.uint8)
    return np.asarray(out)
