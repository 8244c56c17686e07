"""Reading and packing weights: the numbers of every type, whatever the region, and what is refused."""

import mmap
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from matrix_cases import MatrixCase, blocks, numbers, pack, strides

from shoestring import _kernels, ops
from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES
from shoestring.errors import CheckpointError

FLOATS = ("F32", "F16", "BF16")
SHAPES = ((1, 256), (15, 512), (16, 256), (17, 768), (40, 1024))


@pytest.mark.parametrize("weight_type", WEIGHT_TYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numbers_are_those_of_gguf(weight_type: str, shape: tuple[int, int]) -> None:
    case = MatrixCase(weight_type, *shape)
    theirs = quants.dequantize(blocks(case), GGMLQuantizationType[weight_type])
    assert numbers(case).tobytes() == theirs.astype(np.float32).tobytes()


@pytest.mark.parametrize("weight_type", WEIGHT_TYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_packing_loses_nothing(weight_type: str, shape: tuple[int, int]) -> None:
    case = MatrixCase(weight_type, *shape)
    ids = np.arange(case.rows, dtype=np.int32)[::-1].copy()
    assert ops.embed(ops.Workspace(), pack(case), ids).tobytes() == numbers(case)[::-1].tobytes()


@pytest.mark.parametrize("weight_type", WEIGHT_TYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_packed_bytes_are_counted_without_packing(weight_type: str, shape: tuple[int, int]) -> None:
    case = MatrixCase(weight_type, *shape)
    assert ops.packed_bytes(weight_type, *shape) == pack(case).nbytes
    whole_groups = blocks(MatrixCase(weight_type, -(-case.rows // 16) * 16, case.columns)).nbytes
    assert whole_groups <= pack(case).nbytes <= 1.03 * whole_groups


@pytest.mark.parametrize("weight_type", FLOATS)
@pytest.mark.parametrize("columns", [1, 2, 63, 65])
def test_odd_columns_are_counted(weight_type: str, columns: int) -> None:
    assert ops.packed_bytes(weight_type, 21, columns) == pack(MatrixCase(weight_type, 21, columns)).nbytes


def test_the_table_of_types_is_the_kernels() -> None:
    ours = [TENSOR_TYPES[name] for name in WEIGHT_TYPES]
    assert _kernels.weight_formats() == [
        (t.name, t.block_size, t.block_bytes, t.packed_bytes, t.activation_block) for t in ours
    ]
    with pytest.raises(CheckpointError, match="F8_E4M3"):
        ops.packed_bytes("F8_E4M3", 16, 256)


@pytest.mark.parametrize("weight_type", FLOATS)
@pytest.mark.parametrize("columns", [1, 5, 63, 64, 65, 129])
def test_transposed_regions_and_odd_columns(weight_type: str, columns: int) -> None:
    case = MatrixCase(weight_type, 21, columns)
    item = TENSOR_TYPES[weight_type].block_bytes
    plain = numbers(case)
    elements = blocks(case).reshape(21, columns, item)
    data = np.concatenate([np.zeros(6 * item, np.uint8), elements.transpose(1, 0, 2).reshape(-1)])
    where = {"offset": 6 * item, "row_stride": item, "column_stride": 21 * item}
    assert ops.to_float32(data, weight_type, 21, columns, **where).tobytes() == plain.tobytes()
    matrix = ops.pack(data, weight_type, 21, columns, **where)
    ids = np.arange(21, dtype=np.int32)
    assert ops.embed(ops.Workspace(), matrix, ids).tobytes() == plain.tobytes()


def test_embedding_leaves_rows_without_a_token(tmp_path: Path) -> None:
    table, ws = pack(MatrixCase("Q8_0", 20, 64)), ops.Workspace()
    with ws:
        ws.floats(3, 64)[:] = 7
    rows = ops.embed(ws, table, np.array([3, -1, 19], np.int32))
    assert (rows[1] == 7).all()
    for wrong in (-2, 20):
        with pytest.raises(ValueError, match="token id"):
            ops.embed(ws, table, np.array([wrong], np.int32))


def test_fp8_is_widened_by_blocks_with_short_edges() -> None:
    random = np.random.default_rng(0)
    rows, columns = 200, 150
    data = np.arange(rows * columns).astype(np.uint8)
    scale = random.random((2, 2)).astype(np.float32)
    byte = data.reshape(rows, columns).astype(np.int64)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    value = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10.0))
    value = np.where(byte & 0x80, -value, value)
    value[(exponent == 15) & (mantissa == 7)] = np.nan
    expected = value.astype(np.float32) * np.repeat(np.repeat(scale, 128, 0), 128, 1)[:rows, :columns]
    ours = ops.widen_fp8(data, scale, rows, columns, offset=0, row_stride=columns, column_stride=1)
    np.testing.assert_array_equal(ours, expected)


def test_pages_of_a_file_are_dropped_and_come_back(tmp_path: Path) -> None:
    case = MatrixCase("Q4_0", 512, 4096)
    path = tmp_path / "weights"
    path.write_bytes(blocks(case).tobytes())
    with path.open("rb") as file:
        data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

    def resident() -> int:
        part, size = False, 0
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if "-" in line.split(" ")[0] and ":" not in line.split(" ")[0]:
                part = str(path) in line
            elif part and line.startswith("Rss:"):
                size += int(line.split()[1])
        return size

    total = int(data.sum(dtype=np.int64))
    before = resident()
    matrix = ops.pack(data, case.type, case.rows, case.columns, **strides(case))
    assert before > 1000
    assert resident() < 100
    assert matrix.rows == case.rows
    assert int(data.sum(dtype=np.int64)) == total


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tensor_type": "Q3_K"}, "Q3_K"),
        ({"columns": 100}, "not a multiple"),
        ({"rows": 5}, "inside the data"),
        ({"offset": 1}, "inside the data"),
        ({"row_stride": 2**62}, "strides"),
        ({"rows": 2**62}, "too big|at least"),
        ({"rows": 0}, "at least 1"),
        ({"offset": -1}, "not negative"),
    ],
)
def test_what_cannot_be_packed_is_refused(wrong: dict[str, object], message: str) -> None:
    case = MatrixCase("Q8_0", 4, 64)
    arguments: dict[str, object] = {"tensor_type": case.type, "rows": 4, "columns": 64, **strides(case), **wrong}
    for function in (ops.pack, ops.to_float32):
        with pytest.raises(CheckpointError, match=message):
            function(blocks(case).reshape(-1), **arguments)  # type: ignore[arg-type]
