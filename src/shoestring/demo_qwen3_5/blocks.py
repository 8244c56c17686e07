"""Numbers to Q8_0 and Q5_0 blocks and back, in elementwise numpy: the same bytes on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_BLOCK = 32


def to_q8_0(values: Float32) -> Bytes:
    """Blocks of 32 of a row: the largest magnitude is 127 steps."""
    blocks = values.reshape(-1, _BLOCK)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)).astype(np.float16)
    codes = np.rint(_divided(blocks, scale)).clip(-127, 127).astype(np.int8)
    return np.concatenate([scale.view(np.uint8), codes.view(np.uint8)], axis=1)


def to_q5_0(values: Float32) -> Bytes:
    """Blocks of 32 of a row: 32 steps, of the scales around the widest the one with the least squared error."""
    blocks = values.reshape(-1, _BLOCK)
    widest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    best_scale, best_codes, best_error = _rounded(blocks, widest, -16.0)
    for steps in np.linspace(-19.0, -13.0, 13):
        scale, codes, error = _rounded(blocks, widest, float(steps))
        better = error < best_error
        best_scale, best_codes = np.where(better, scale, best_scale), np.where(better, codes, best_codes)
        best_error = np.where(better, error, best_error)
    q = (best_codes + 16).astype(np.uint8)  # [blocks, 32]
    fifth = np.packbits(q >> 4, axis=1, bitorder="little")
    low = q & 15
    return np.concatenate([best_scale.view(np.uint8), fifth, low[:, :16] | low[:, 16:] << 4], axis=1)


def _rounded(blocks: Float32, widest: Float32, steps: float) -> tuple[npt.NDArray[np.float16], Float32, Float32]:
    """Scales that make the widest number `steps` steps, codes −16 … 15, and the squared error of each block."""
    scale = (widest / np.float32(steps)).astype(np.float16)
    codes = np.rint(_divided(blocks, scale)).clip(-16, 15)
    return scale, codes, np.square(codes * scale.astype(np.float32) - blocks).sum(axis=1, keepdims=True)


def _divided(blocks: Float32, scale: npt.NDArray[np.float16]) -> Float32:
    """A block of zeros has scale 0 and stays zeros."""
    wide = scale.astype(np.float32)
    return np.asarray(np.divide(blocks, wide, out=np.zeros_like(blocks), where=wide != 0))


def doubled_q4_1(blocks: Bytes) -> Bytes:
    """Q4_1 blocks [..., 20] of twice the numbers: exact, both halves are powers of two apart."""
    out = blocks.copy()
    head = np.ascontiguousarray(out[..., :4]).view(np.float16) * np.float16(2)
    out[..., :4] = head.view(np.uint8)
    return np.asarray(out)
