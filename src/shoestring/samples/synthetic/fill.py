"""Generate random bytes that are valid weights of each type: blocks with sane scales, tiled to any size.

Owns the block layouts seen from the writing side (ggml's `ggml-common.h`). Counter-based generator and IEEE
arithmetic only: the same bytes on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.tensors import TENSOR_TYPES
from shoestring.samples.synthetic.layout import Slot

Bytes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: [blocks, block_bytes]; a matrix is a run of blocks from some start, wrapping around as often as needed.
Pool = Bytes

#: Blocks in a pool by block size: about 8 M elements, and prime, so that rows of a longer matrix still differ.
_POOL_BLOCKS = {1: 8_388_593, 32: 262_139, 256: 32_749}
#: Standard deviations of uniform integers 0…15, 0…31, 0…63, ±127, and the root mean square of 40…63.
_DEVIATION_4, _DEVIATION_5, _DEVIATION_6, _DEVIATION_8, _RMS_SUBSCALE = 4.61, 9.23, 18.47, 73.6, 52.0


def vector(slot: Slot, seed: int) -> Float32:
    """The numbers of a tensor that is not a weight matrix, [*shape] float32."""
    if slot.fill == "values":
        return np.asarray(slot.values, dtype=np.float32)
    low, high = {"norm": (0.75, 1.25), "decay": (-4.0, -0.25), "dt_bias": (-4.0, 0.0), "convolution": (-0.8, 0.8)}[
        slot.fill
    ]
    return low + (high - low) * _unit(random_bits(slot.name, seed), slot.shape)


def tiled(pool: Pool, slot: Slot, kind: str, seed: int) -> Iterator[Bytes]:
    """The blocks of a matrix: a run of the pool from a start chosen by name and seed."""
    elements = int(np.prod(slot.shape, dtype=np.int64))
    left = elements // TENSOR_TYPES[kind].block_size
    place = int(random_bits(slot.name, seed).random_raw()) % len(pool)
    while left:
        run = pool[place : place + left]
        yield run
        left -= len(run)
        place = 0


def pool(kind: str, deviation: float, seed: int) -> Pool:
    """Random blocks of a type; the elements have mean 0 and about this standard deviation."""
    return random_blocks(kind, deviation, _POOL_BLOCKS[TENSOR_TYPES[kind].block_size], random_bits(kind, seed))


def mask(kind: str, bits: np.random.Philox) -> Bytes:
    """Random changes of a block's quants (of floats, their low bits), for `masked`, [block_bytes]."""
    free = np.frombuffer(_free_bits(kind), np.uint8)
    return _raw(bits, len(free)) & free


def masked(run: Pool, kind: str, mask: Bytes) -> Bytes:
    """Blocks with every quant changed by the same exclusive or, which leaves uniform quants uniform and is fast."""
    changed = run ^ mask
    if kind == "Q8_0":
        quants = changed[:, 2:].view(np.int8)
        np.maximum(quants, -127, out=quants)
    return changed


def _free_bits(kind: str) -> bytes:
    """The bits of a block that may change without changing its deviation, set."""
    match kind:
        case "F32":
            return b"\xff\xff\x00\x00"
        case "F16":
            return b"\xff\x00"
        case "BF16":
            return b"\x0f\x00"
        case "Q6_K":
            return b"\xff" * 192 + bytes(18)
    scales = {"Q8_0": 2, "Q4_0": 2, "Q5_0": 2, "Q4_1": 4, "Q4_K": 16, "Q5_K": 16}[kind]
    return bytes(scales) + b"\xff" * (TENSOR_TYPES[kind].block_bytes - scales)


def random_blocks(kind: str, deviation: float, count: int, bits: np.random.Philox, *, spread: float = 1.0) -> Bytes:
    """`count` random blocks of a type, [count, block_bytes]; the elements have mean 0 and about this deviation.

    spread: the scales of blocks lie between 1 - spread / 2 and 1 + spread / 2 times what the deviation needs.
    """
    size = TENSOR_TYPES[kind]
    if size.block_size == 1:
        values = (2 * 3**0.5 * deviation) * (_unit(bits, (count,)) - np.float32(0.5))
        return _float_bytes(kind, values.astype(np.float32)).reshape(count, size.block_bytes)
    blocks = _raw(bits, count * size.block_bytes).reshape(count, size.block_bytes)
    scales = np.float32(1) + np.float32(spread) * (_unit(bits, (count,)) - np.float32(0.5))
    match kind:
        case "Q8_0":
            _put(blocks, 0, scales * (deviation / _DEVIATION_8))
            quants = blocks[:, 2:].view(np.int8)
            np.maximum(quants, -127, out=quants)
        case "Q4_0" | "Q5_0":
            # 0 … 15 means −8 … 7: scales of either sign cancel the mean of −½.
            sign = np.where(_raw(bits, count) & 1, np.float32(1), np.float32(-1))
            _put(blocks, 0, sign * scales * (deviation / (_DEVIATION_4 if kind == "Q4_0" else _DEVIATION_5)))
        case "Q4_1":
            scale = scales * (deviation / _DEVIATION_4)
            _put(blocks, 0, scale)
            _put(blocks, 2, -7.5 * scale)
        case "Q4_K" | "Q5_K":
            steps, middle = (_DEVIATION_4, 7.5) if kind == "Q4_K" else (_DEVIATION_5, 15.5)
            scale = scales * (deviation / (steps * _RMS_SUBSCALE))
            _put(blocks, 0, scale)
            _put(blocks, 2, middle * scale)
            _put_subscales(blocks, _raw(bits, count * 8).reshape(count, 8))
        case "Q6_K":
            subscales = 40 + _raw(bits, count * 16).reshape(count, 16) % 24
            signs = np.where(_raw(bits, count * 16).reshape(count, 16) & 1, 1, -1)
            blocks[:, 192:208] = (subscales.astype(np.int8) * signs.astype(np.int8)).view(np.uint8)
            _put(blocks, 208, scales * (deviation / (_DEVIATION_6 * _RMS_SUBSCALE)))
    return blocks


def _put(blocks: Bytes, at: int, values: npt.NDArray[np.floating]) -> None:
    """Write a float16 at byte `at` of each block."""
    blocks[:, at : at + 2] = values.astype("<f2").view(np.uint8).reshape(-1, 2)


def _put_subscales(blocks: Bytes, random: Bytes) -> None:
    """Write eight 6-bit scales of 40 … 63 and eight 6-bit mins that cancel the quants' mean, in bytes 4 to 15."""
    scale = 40 + random % 24
    low, high = scale[:, :4], scale[:, 4:]
    blocks[:, 4:8] = low | (high >> 4) << 6
    blocks[:, 8:12] = low | (high >> 4) << 6
    blocks[:, 12:16] = (high & 15) | (high & 15) << 4


def _float_bytes(kind: str, values: Float32) -> Bytes:
    match kind:
        case "F32":
            return values.astype("<f4").view(np.uint8)
        case "F16":
            return values.astype("<f2").view(np.uint8)
        case _:  # bfloat16 is the upper half of a float32, truncated here instead of rounded
            upper: npt.NDArray[np.uint16] = (values.view(np.uint32) >> np.uint32(16)).astype("<u2")
            return upper.view(np.uint8)


def random_bits(name: str, seed: int) -> np.random.Philox:
    """The generator of what has this name."""
    return np.random.Philox(key=[seed, zlib.crc32(name.encode())])


def _raw(bits: np.random.Philox, count: int) -> Bytes:
    words: npt.NDArray[np.uint64] = bits.random_raw(-(-count // 8)).astype("<u8")
    data: Bytes = words.view(np.uint8)[:count].copy()
    return data


def _unit(bits: np.random.Philox, shape: tuple[int, ...]) -> Float32:
    """Uniform in [0, 1), multiples of 2⁻²⁴."""
    count = int(np.prod(shape, dtype=np.int64))
    whole = _raw(bits, 4 * count).view("<u4") >> np.uint32(8)
    values: Float32 = whole.astype(np.float32) * np.float32(2.0**-24)
    return values.reshape(shape)
