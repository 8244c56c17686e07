"""Find the regions of tensors that our names need: what the binders of text models and of towers share.

A region that does not fit is a fault. Faults are collected, so that one error tells of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shoestring.checkpoint.names.parts import Part, part_of
from shoestring.checkpoint.names.tables import Fold, Row
from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES, Checkpoint, Tensor
from shoestring.errors import CheckpointError

FLOAT_TYPES = ("F32", "F16", "BF16")
FP8_BLOCK = 128
SCALE_SUFFIX = "_scale_inv"

#: One error lists this many faults and counts the others.
_FAULTS_SHOWN = 12
#: Stop collecting here: the config is for a model of another size.
_MOST_FAULTS = 10_000


@dataclass(frozen=True)
class WeightShape:
    """Shape of a weight as the model wants it: `count` matrices [rows, columns], or a vector, which is never quantized.

    A vector has one row. The weights of a convolution are one vector per channel, [channels, width].
    """

    rows: int
    columns: int
    is_matrix: bool = True
    count: int = 1


@dataclass(frozen=True)
class Source:
    """The region of a tensor that one of our matrices or vectors is read from.

    Float types: element (r, c) is at `tensor.data[offset + r * row_stride + c * column_stride]`, in bytes.
    Block types: row r is contiguous and starts at `offset + r * row_stride`; `column_stride` is 0.
    A vector is a matrix with one row.
    `scale`: of FP8 matrices, the tensor `weight_scale_inv` (F32, BF16 or F16): one number per block of 128 × 128.
    """

    tensor: Tensor
    rows: int
    columns: int
    offset: int
    row_stride: int
    column_stride: int
    part: Part
    scale: Tensor | None = None
    fold: Fold = "none"


@dataclass(frozen=True)
class Binding:
    """All our names with their sources; `ignored`: (tensor name, reason) of tensors that nothing uses."""

    sources: dict[str, Source]
    ignored: tuple[tuple[str, str], ...]


@dataclass
class Regions:
    """Collects sources, ignored tensors and faults. part: of all sources; None: by our name for each."""

    checkpoint: Checkpoint
    shapes: Mapping[str, WeightShape]
    part: Part | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_gguf = self.checkpoint.format == "gguf"

    def whole(self, ours: str, foreign: str, shape: WeightShape, fold: Fold = "none") -> None:
        """Bind a matrix or vector that is a whole tensor."""
        rows, columns, is_matrix = shape.rows, shape.columns, shape.is_matrix
        in_file: tuple[int, ...] = (rows, columns)
        if not is_matrix:
            in_file = (columns,) if rows == 1 else (rows, columns) if self.is_gguf else (rows, 1, columns)
        tensor = self.tensor(foreign, in_file)
        if tensor is None:
            return
        scale = None
        if tensor.type == "F8_E4M3" and is_matrix and not self.is_gguf:
            scale = self.scale(tensor, rows, columns)
            if scale is None:
                return
        elif not self.type_fits(tensor, floats_only=not is_matrix):
            return
        self.sources[ours] = region_of(tensor, rows, columns, self.part or part_of(ours), scale=scale, fold=fold)

    def fused(self, rows: Iterable[Row], ours: str, foreign: str) -> None:
        """Bind matrices [rows, columns] that are stacked in one tensor."""
        shapes = {ours + row.ours: self.shapes[ours + row.ours] for row in rows}
        columns = next(iter(shapes.values())).columns
        tensor = self.tensor(foreign, (sum(shape.rows for shape in shapes.values()), columns))
        if tensor is None or not self.type_fits(tensor):
            return
        start = 0
        for name, shape in shapes.items():
            self.sources[name] = region_of(tensor, shape.rows, columns, self.part or part_of(name), first_row=start)
            start += shape.rows

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor | None:
        """The tensor of that name; None, with a fault added, if it is missing or has another shape."""
        tensor = self.checkpoint.tensors.get(name)
        if tensor is None:
            self.fault(f"{name} is missing")
            return None
        self.used.add(name)
        # ggml drops outer dimensions of 1: of a matrix with one row, of a stack with one expert.
        same = _without_ones(tensor.shape) == _without_ones(shape) if self.is_gguf else tensor.shape == shape
        if not same:
            self.fault(f"{name} has shape {list(tensor.shape)}, the config needs {list(shape)}")
            return None
        return tensor

    def type_fits(self, tensor: Tensor, floats_only: bool = False) -> bool:
        allowed = FLOAT_TYPES if floats_only else WEIGHT_TYPES
        if tensor.type in allowed:
            return True
        self.fault(f"{tensor.name} in {tensor.file.name} has type {tensor.type}, supported are {', '.join(allowed)}")
        return False

    def scale(self, tensor: Tensor, rows: int, columns: int) -> Tensor | None:
        """The block scales of an FP8 matrix [rows, columns]; blocks at the edges are smaller."""
        scale = self.tensor(tensor.name + SCALE_SUFFIX, (-(-rows // FP8_BLOCK), -(-columns // FP8_BLOCK)))
        return scale if scale is not None and self.type_fits(scale, floats_only=True) else None

    def fault(self, text: str) -> None:
        self.faults.append(text)
        if len(self.faults) >= _MOST_FAULTS:
            self.raise_faults()

    def raise_faults(self) -> None:
        if not self.faults:
            return
        more = len(self.faults) - _FAULTS_SHOWN
        shown = "; ".join(self.faults[:_FAULTS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise CheckpointError(f"{self.checkpoint.path}: tensors do not match the config: {shown}")


def region_of(
    tensor: Tensor,
    rows: int,
    columns: int,
    part: Part,
    first_row: int = 0,
    scale: Tensor | None = None,
    fold: Fold = "none",
) -> Source:
    """Consecutive rows of a tensor whose rows have `columns` elements."""
    kind = TENSOR_TYPES[tensor.type]
    row_bytes = columns // kind.block_size * kind.block_bytes
    column_stride = kind.block_bytes if kind.block_size == 1 else 0
    return Source(tensor, rows, columns, first_row * row_bytes, row_bytes, column_stride, part, scale, fold)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape from its first size that is not 1."""
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]
