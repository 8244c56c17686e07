"""Binds our names to the tensors of a file: our name → (tensor, region, fold). Only this module knows foreign layouts.

Every tensor of a file is used with the right type and shape, or listed with the reason why it is not used. `tables` has
the foreign names. Our names and their shapes come from the caller: they are those of the model's `build_weights`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from shoestring.checkpoint.config.rotary import ROPE_FREQUENCIES
from shoestring.checkpoint.config.types import Config, Qwen3_5Config
from shoestring.checkpoint.names import tables
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


def bind(config: Config, checkpoint: Checkpoint, shapes: Mapping[str, WeightShape]) -> Binding:
    """Find the tensor of each of our names, and account for every tensor of the file.

    shapes: what the model wants (`models/shapes.py`); "layers.N.experts.gate" stands for the gates of all experts.
    Raises one CheckpointError that lists all tensors that are missing, unknown, or of a wrong shape or type.
    """
    binder = _Binder(config, checkpoint, shapes)
    if checkpoint.format == "gguf":
        prefix, head = "", tables.HEAD.gguf
    else:
        prefix, head_prefix = _prefixes(config, checkpoint)
        head = head_prefix + tables.HEAD.hugging_face
    for row in tables.model_rows(config):
        binder.row(row.ours, binder.foreign(prefix, row), row.fold)
    if not config.tie_word_embeddings:
        binder.row(tables.HEAD.ours, head)
    elif head in checkpoint.tensors:
        binder.ignored[head] = "the head is tied to the embedding"
    for layer in range(config.num_hidden_layers):
        block = f"blk.{layer}." if checkpoint.format == "gguf" else f"{prefix}layers.{layer}."
        binder.layer(layer, block)
    binder.account_for_the_rest()
    binder.raise_faults()
    return Binding(binder.sources, tuple(binder.ignored.items()))


def _prefixes(config: Config, checkpoint: Checkpoint) -> tuple[str, str]:
    """Prefixes of the model and of the head: multimodal or text-only, depending on where the embedding is."""
    candidates = tables.HUGGING_FACE_PREFIXES[config.family]
    for model_prefix, head_prefix in candidates:
        if model_prefix + "embed_tokens.weight" in checkpoint.tensors:
            return model_prefix, head_prefix
    tried = " or ".join(prefix + "embed_tokens.weight" for prefix, _ in candidates)
    raise CheckpointError(f"{checkpoint.path}: there is no tensor {tried}: the checkpoint is incomplete")


@dataclass
class _Binder:
    """Collects sources, ignored tensors and faults."""

    config: Config
    checkpoint: Checkpoint
    shapes: Mapping[str, WeightShape]
    sources: dict[str, Source] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_gguf = self.checkpoint.format == "gguf"

    def foreign(self, block: str, row: Row) -> str:
        if not self.is_gguf:
            return block + row.hugging_face
        other = block + tables.GGUF_OTHER_NAMES.get(row.gguf, row.gguf)
        usual = block + row.gguf
        return other if other in self.checkpoint.tensors and usual not in self.checkpoint.tensors else usual

    def layer(self, layer: int, block: str) -> None:
        fused = self.is_gguf and block + tables.GGUF_FUSED_QKV in self.checkpoint.tensors
        rows = tables.layer_rows(self.config, layer)
        fused_rows = [row for row in rows if row.ours in tables.FUSED_ROWS] if fused else []
        if fused_rows:
            self.fused(fused_rows, f"layers.{layer}.", block + tables.GGUF_FUSED_QKV)
        for row in rows:
            if row not in fused_rows:
                self.row(f"layers.{layer}.{row.ours}", self.foreign(block, row), row.fold)
        if f"layers.{layer}.experts.gate" in self.shapes:
            self.experts(f"layers.{layer}.experts.", block)

    def row(self, ours: str, foreign: str, fold: Fold = "none") -> None:
        """Bind a whole tensor. Only Hugging Face values are folded: GGUF's already are."""
        self.whole(ours, foreign, self.shapes[ours], "none" if self.is_gguf else fold)

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
        self.sources[ours] = _region(tensor, rows, columns, part_of(ours), scale=scale, fold=fold)

    def fused(self, rows: Iterable[Row], ours: str, foreign: str) -> None:
        """Bind matrices [rows, columns] that are stacked in one tensor."""
        shapes = {ours + row.ours: self.shapes[ours + row.ours] for row in rows}
        columns = next(iter(shapes.values())).columns
        tensor = self.tensor(foreign, (sum(shape.rows for shape in shapes.values()), columns))
        if tensor is None or not self.type_fits(tensor):
            return
        start = 0
        for name, shape in shapes.items():
            self.sources[name] = _region(tensor, shape.rows, columns, part_of(name), first_row=start)
            start += shape.rows

    def experts(self, ours: str, block: str) -> None:
        """Bind routed experts: a tensor per matrix, or stacks of all experts, perhaps with gate and up in one."""
        names = tables.GGUF_EXPERTS if self.is_gguf else tables.HUGGING_FACE_EXPERTS[self.config.family]
        if names.single and block + names.single.format("gate", e=0) in self.checkpoint.tensors:
            for expert in range(self.shapes[ours + "gate"].count):
                for role in ("gate", "up", "down"):
                    name = block + names.single.format(role, e=expert)
                    self.whole(f"{ours}{expert}.{role}", name, self.shapes[ours + role])
            return
        is_fused = block + names.stacked.format("gate_up") in self.checkpoint.tensors
        stacks = {"gate_up": ("gate", "up")} if is_fused else {"gate": ("gate",), "up": ("up",)}
        for stack, roles in {**stacks, "down": ("down",)}.items():
            self.stack(block + names.stacked.format(stack), ours, roles, names.transposed)

    def stack(self, foreign: str, ours: str, roles: tuple[str, ...], transposed: bool) -> None:
        """Bind the matrices of all experts in a tensor [experts, rows of all roles, columns].

        transposed: the tensor is [experts, columns, rows of all roles].
        """
        shapes = [self.shapes[ours + role] for role in roles]
        count, columns, rows = shapes[0].count, shapes[0].columns, sum(shape.rows for shape in shapes)
        tensor = self.tensor(foreign, (count, columns, rows) if transposed else (count, rows, columns))
        if tensor is None or not self.type_fits(tensor, floats_only=transposed):
            return
        size = TENSOR_TYPES[tensor.type].block_bytes
        for expert in range(count):
            first = 0
            for role, shape in zip(roles, shapes, strict=True):
                source = _region(tensor, shape.rows, columns, "routed_experts", first_row=expert * rows + first)
                if transposed:
                    offset = (expert * columns * rows + first) * size
                    source = replace(source, offset=offset, row_stride=size, column_stride=rows * size)
                self.sources[f"{ours}{expert}.{role}"] = source
                first += shape.rows

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

    def account_for_the_rest(self) -> None:
        for name in self.checkpoint.tensors:
            if name not in self.used and name not in self.ignored:
                reason = self.reason_to_ignore(name)
                if reason is None:
                    self.fault(f"{name} is not used by the model")
                else:
                    self.ignored[name] = reason

    def reason_to_ignore(self, name: str) -> str | None:
        prefixes = tables.GGUF_IGNORED if self.is_gguf else tables.HUGGING_FACE_IGNORED[self.config.family]
        reason = next((reason for start, reason in prefixes.items() if name.startswith(start)), None)
        if reason is not None or not self.is_gguf:
            return reason
        if isinstance(self.config, Qwen3_5Config):
            layers = self.config.num_hidden_layers
            blocks = range(layers, layers + self.config.mtp_num_hidden_layers)
            return tables.MTP_UNUSED if _block(name) in blocks else None
        return "read into the rotary frequencies" if name == ROPE_FREQUENCIES else None

    def raise_faults(self) -> None:
        if not self.faults:
            return
        more = len(self.faults) - _FAULTS_SHOWN
        shown = "; ".join(self.faults[:_FAULTS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise CheckpointError(f"{self.checkpoint.path}: tensors do not match the config: {shown}")


def _region(
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


def _block(name: str) -> int:
    """The number of a GGUF tensor's block, or −1."""
    parts = name.split(".", 2)
    return int(parts[1]) if len(parts) == 3 and parts[0] == "blk" and parts[1].isdecimal() and len(parts[1]) < 6 else -1
