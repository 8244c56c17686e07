"""Random matrices of every weight type as file bytes, and calls on them: for here and for other processes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring import _kernels, ops
from shoestring.checkpoint.tensors import TENSOR_TYPES

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

#: where the half-precision scales of a block stand
SCALES = {"Q8_0": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
#: where the quants of a type with mins begin: a block with zeros from there on stands for its mins
QUANTS_OF_MINS = {"Q4_1": 4, "Q4_K": 16, "Q5_K": 16}
EXTREMES = ("", "low", "high")


@dataclass(frozen=True)
class MatrixCase:
    """`extreme`: every quant and sub-scale has all bits clear or set; scales stay random."""

    type: str
    rows: int
    columns: int
    seed: int = 0
    extreme: str = ""


def blocks(case: MatrixCase) -> Bytes:
    """File bytes, [rows, bytes of a row]."""
    random = np.random.default_rng(case.seed)
    if case.type in ("F32", "F16", "BF16"):
        numbers = random.standard_normal((case.rows, case.columns)).astype(np.float32)
        if case.type == "BF16":
            return (numbers.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        return numbers.astype(np.float16 if case.type == "F16" else np.float32).view(np.uint8)
    kind = TENSOR_TYPES[case.type]
    shape = (case.rows, case.columns // kind.block_size, kind.block_bytes)
    data = random.integers(0, 256, shape, dtype=np.uint8)
    if case.extreme:
        data[:] = 0 if case.extreme == "low" else 255
        if case.type == "Q8_0":
            data[:] = 128 if case.extreme == "low" else 127
        if case.type == "Q6_K":
            data[:, :, 192:208] = 128 if case.extreme == "low" else 127
    for place in SCALES[case.type]:
        scales = (random.standard_normal(shape[:2]) * 0.05).astype(np.float16)
        data[:, :, place : place + 2] = scales[..., None].view(np.uint8)
    return data.reshape(case.rows, -1)


def strides(case: MatrixCase) -> dict[str, int]:
    kind = TENSOR_TYPES[case.type]
    return {
        "offset": 0,
        "row_stride": case.columns // kind.block_size * kind.block_bytes,
        "column_stride": kind.block_bytes if kind.block_size == 1 else 0,
    }


def pack(case: MatrixCase) -> _kernels.Matrix:
    return ops.pack(blocks(case).reshape(-1), case.type, case.rows, case.columns, **strides(case))


def numbers(case: MatrixCase, data: Bytes | None = None) -> Float32:
    source = blocks(case) if data is None else data
    return ops.to_float32(source.reshape(-1), case.type, case.rows, case.columns, **strides(case))


def magnitudes(case: MatrixCase) -> npt.NDArray[np.float64]:
    """|scale · quant| + |min| of every weight: what rounding errors of its product are relative to."""
    weights = numbers(case).astype(np.float64)
    if case.type not in QUANTS_OF_MINS:
        return np.abs(weights)
    kind = TENSOR_TYPES[case.type]
    data = blocks(case).reshape(case.rows, -1, kind.block_bytes)
    data[:, :, QUANTS_OF_MINS[case.type] :] = 0
    mins = numbers(case, data.reshape(case.rows, -1)).astype(np.float64)
    return np.abs(weights - mins) + np.abs(mins)


def activations(seed: int, tokens: int, columns: int, extreme: str = "") -> Float32:
    """Normal numbers, or only ± the largest, starting at any multiple of 4 bytes."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(tokens * columns + 16).astype(np.float32)
    if extreme == "signs":
        x = np.where(x < 0, np.float32(-3), np.float32(3))
    if extreme == "positive":
        x[:] = 3
    return x[seed % 16 :][: tokens * columns].reshape(tokens, columns)


def quantized(x: Float32, block: int) -> npt.NDArray[np.float64]:
    """What the integer dots see of x, by docs/numerics.md; IEEE single operations, so exact here too."""
    parts = x.reshape(x.shape[0], -1, block)
    amax = np.abs(parts).max(axis=-1, keepdims=True)
    quants = np.rint(parts * (np.float32(127) / amax))
    return (quants.astype(np.float64) * (amax / np.float32(127))).reshape(x.shape)


def product(case: MatrixCase, tokens: int, threads: int = 1, extreme: str = "") -> Float32:
    _kernels.set_num_threads(threads)
    x = activations(case.seed + 1, tokens, case.columns, extreme)
    return ops.matmul(ops.Workspace(), x, pack(case))


@dataclass(frozen=True)
class ExpertsCase:
    type: str
    num_experts: int
    slots: int
    hidden_size: int
    width: int
    tokens: int
    scale_input: bool = False
    down_type: str = ""

    def matrices(self, expert: int) -> tuple[MatrixCase, MatrixCase, MatrixCase]:
        seed = 3 * expert
        return (
            MatrixCase(self.type, self.width, self.hidden_size, seed),
            MatrixCase(self.type, self.width, self.hidden_size, seed + 1),
            MatrixCase(self.down_type or self.type, self.hidden_size, self.width, seed + 2),
        )

    def table(self) -> _kernels.ExpertTable:
        gate, up, down = zip(*[map(pack, self.matrices(e)) for e in range(self.num_experts)], strict=True)
        return ops.expert_table(gate, up, down)

    def types(self) -> tuple[str, str, str]:
        return self.type, self.type, self.down_type or self.type

    def parts(self, expert: int) -> list[Bytes]:
        """Packed bytes of gate, up and down."""
        parts = []
        for matrix in map(pack, self.matrices(expert)):
            parts.append(np.empty(matrix.nbytes, np.uint8))
            matrix.copy_packed(parts[-1])
        return parts

    def operands(self) -> tuple[Float32, Float32]:
        """x, and scores of the router."""
        random = np.random.default_rng(7)
        x = random.standard_normal((self.tokens, self.hidden_size)).astype(np.float32) / 8
        return x, random.standard_normal((self.tokens, self.num_experts)).astype(np.float32)


def mixture(case: ExpertsCase, threads: int = 1, chunk: int = 0) -> tuple[Array, Array, Array]:
    """Routed and computed in chunks of so many tokens (0: all) → y, ids, weights."""
    _kernels.set_num_threads(threads)
    x, scores = case.operands()
    table, ws = case.table(), ops.Workspace()
    route = ops.route_sigmoid if case.scale_input else ops.route_softmax
    parts = []
    for begin in range(0, case.tokens, chunk or case.tokens):
        rows = slice(begin, begin + (chunk or case.tokens))
        ids, weights = route(ws, scores[rows], case.slots)
        y = ops.experts(ws, x[rows], ids, weights, table, scale_input=case.scale_input)
        parts.append((y.copy(), ids.copy(), weights.copy()))
    y, ids, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return y, ids, weights
