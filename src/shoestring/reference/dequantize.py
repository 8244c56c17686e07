"""Every weight type as numbers, in plain numpy.

The formats are those of ggml's `ggml-common.h`. Products and sums are rounded to float32 where ggml rounds them, so the
results are bit-equal to its dequantizers.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FP8_BLOCK = 128


def float16_at(blocks: Bytes, start: int) -> Float32:
    """The float16 at byte `start` of each block, [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view(np.float16).astype(np.float32)


def nibbles(packed: Bytes) -> Bytes:
    """[blocks, n] → [blocks, 2n]: all low halves, then all high halves."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def q4_0(blocks: Bytes) -> Float32:
    """32 numbers d · (q − 8)."""
    return float16_at(blocks, 0) * (nibbles(blocks[:, 2:18]).astype(np.float32) - 8)


def q4_1(blocks: Bytes) -> Float32:
    """32 numbers d · q + m."""
    return float16_at(blocks, 0) * nibbles(blocks[:, 4:20]).astype(np.float32) + float16_at(blocks, 2)


def q5_0(blocks: Bytes) -> Float32:
    """32 numbers d · (q − 16); the fifth bits of all numbers are stored together."""
    fifth = np.unpackbits(blocks[:, 2:6], axis=1, bitorder="little")  # [blocks, 32]
    q = nibbles(blocks[:, 6:22]) | fifth << 4
    return float16_at(blocks, 0) * (q.astype(np.float32) - 16)


def q8_0(blocks: Bytes) -> Float32:
    """32 numbers d · q."""
    return float16_at(blocks, 0) * blocks[:, 2:34].view(np.int8).astype(np.float32)


def scales_and_mins(blocks: Bytes) -> tuple[Float32, Float32]:
    """d · scale and dmin · min of the 8 sub-blocks of 32 of a Q4_K or Q5_K block, each [blocks, 8, 1].

    Twelve bytes hold eight scales and eight mins of 6 bits: those of the first four sub-blocks in the low bits
    of bytes 0–3 and 4–7, of the last four in the nibbles of bytes 8–11 and the top bits left over.
    """
    packed = blocks[:, 4:16]
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], axis=1)
    mins = np.concatenate([second & 63, (third >> 4) | (second >> 6) << 4], axis=1)
    d, dmin = float16_at(blocks, 0), float16_at(blocks, 2)
    return (d * scales.astype(np.float32))[:, :, None], (dmin * mins.astype(np.float32))[:, :, None]


def pair_nibbles(packed: Bytes) -> Bytes:
    """[blocks, 128] → [blocks, 8, 32]: 32 bytes hold two sub-blocks, one in each half."""
    quarters = packed.reshape(-1, 4, 1, 32)
    return np.concatenate([quarters & 15, quarters >> 4], axis=2).reshape(-1, 8, 32)


def q4_k(blocks: Bytes) -> Float32:
    """256 numbers d·scale · q − dmin·min."""
    scale, minimum = scales_and_mins(blocks)
    return (scale * pair_nibbles(blocks[:, 16:144]).astype(np.float32) - minimum).reshape(-1, 256)


def q5_k(blocks: Bytes) -> Float32:
    """256 numbers d·scale · q − dmin·min; bit j of the fifth bits' byte i belongs to number i of sub-block j."""
    scale, minimum = scales_and_mins(blocks)
    fifth = np.unpackbits(blocks[:, 16:48, None], axis=2, bitorder="little").transpose(0, 2, 1)  # [blocks, 8, 32]
    q = pair_nibbles(blocks[:, 48:176]) | fifth << 4
    return np.asarray((scale * q.astype(np.float32) - minimum).reshape(-1, 256))


def q6_k(blocks: Bytes) -> Float32:
    """256 numbers d·scale · (q − 32), scales signed, one a sub-block of 16; each half of 128 is packed alike."""
    low = blocks[:, 0:128].reshape(-1, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1) & 3
    q = (low | high << 4).astype(np.float32).reshape(-1, 16, 16) - 32
    scale = float16_at(blocks, 208) * blocks[:, 192:208].view(np.int8).astype(np.float32)  # [blocks, 16]
    return np.asarray((scale[:, :, None] * q).reshape(-1, 256))


#: Block type → bytes of a block, and its dequantizer.
BLOCKS: dict[str, tuple[int, Callable[[Bytes], Float32]]] = {
    "Q4_0": (18, q4_0),
    "Q4_1": (20, q4_1),
    "Q5_0": (22, q5_0),
    "Q8_0": (34, q8_0),
    "Q4_K": (144, q4_k),
    "Q5_K": (176, q5_k),
    "Q6_K": (210, q6_k),
}


def dequantize(rows: Bytes, tensor_type: str) -> Float32:
    """Rows of blocks, [rows, bytes of a row] → [rows, columns]."""
    block_bytes, numbers = BLOCKS[tensor_type]
    blocks = np.ascontiguousarray(rows).reshape(-1, block_bytes)
    return numbers(blocks).reshape(len(rows), -1)


def e4m3_numbers() -> Float32:
    """The 256 numbers of FP8 e4m3 (no infinities; 0x7f and 0xff are NaN)."""
    codes = np.arange(256)
    exponent, mantissa = codes >> 3 & 15, codes & 7
    magnitude = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))
    magnitude = np.where(codes & 127 == 127, np.nan, magnitude)
    return np.where(codes < 128, magnitude, -magnitude).astype(np.float32)


def widen_fp8(codes: Bytes, scale: Float32) -> Float32:
    """e4m3 [rows, columns] × the scale of its 128 × 128 block, rounded to float32; edge blocks are short."""
    rows, columns = codes.shape
    each = scale.repeat(FP8_BLOCK, axis=0)[:rows].repeat(FP8_BLOCK, axis=1)[:, :columns]
    return e4m3_numbers()[codes] * each
