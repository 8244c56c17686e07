"""The one door for foreign names and layouts: foreign tensor → (our field, slice, fold).

Owns the check that every tensor of a file is used with the right type and shape, or listed with the reason why
not. The tables of foreign names are in `tables`; our names and their shapes are those of `build_weights` in the
model files, handed in by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shoestring.checkpoint.config.rotary import ROPE_FREQUENCIES
from shoestring.checkpoint.config.types import Config, Qwen3_5Config
from shoestring.checkpoint.names.parts import Part, part_of
from shoestring.checkpoint.names.tables import (
    FUSED_ROWS,
    GGUF_EXPERTS,
    GGUF_FUSED_QKV,
    HEAD,
    HUGGING_FACE_IGNORED,
    HUGGING_FACE_PREFIXES,
    LLAMA_EXPERTS,
    LLAMA_MODEL,
    QWEN_EXPERTS,
    QWEN_MODEL,
    ExpertNames,
    Fold,
    Row,
    layer_rows,
)
from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES, Checkpoint, Tensor
from shoestring.errors import CheckpointError

FLOAT_TYPES = ("F32", "F16", "BF16")
FP8_BLOCK = 128
SCALE_SUFFIX = "_scale_inv"

#: Faults that one error spells out; more are counted.
_FAULTS_SHOWN = 12
#: A config of another size than the file: no use in going on.
_MOST_FAULTS = 10_000


@dataclass(frozen=True)
class WeightShape:
    """A weight as a model wants it: `count` matrices [rows, columns], or a vector, which is never quantized.

    A vector has one row; the weights of a convolution are a vector a channel, [channels, width].
    """

    rows: int
    columns: int
    is_matrix: bool = True
    count: int = 1


@dataclass(frozen=True)
class Source:
    """Where one of our matrices or vectors lies: a (possibly strided, for float types) region of a tensor.

    Element (r, c) of the region starts at `tensor.data[offset + r * row_stride + c * column_stride]`
    (float types); a block type has contiguous rows, `column_stride` is 0 and row r starts at
    `offset + r * row_stride`. A vector is a matrix of one row.
    `scale`: FP8 only: `weight_scale_inv` (F32, BF16 or F16), one number a 128 × 128 block, edge blocks short.
    `fold`: "add_one" (norms stored as w, meant as 1 + w), "negative_exp" (A_log → −exp(A_log)).
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
    """All of our names with their sources, and what a file holds that nothing uses: (tensor name, reason)."""

    sources: dict[str, Source]
    ignored: tuple[tuple[str, str], ...]


def bind(config: Config, checkpoint: Checkpoint, shapes: Mapping[str, WeightShape]) -> Binding:
    """Find the tensor of each of our names, and account for every tensor of the file.

    shapes: what the model wants (`models/shapes.py`); "layers.N.experts.gate" stands for the gates of all experts.
    Raises one CheckpointError with all that is missing, left over, of a wrong shape or a type that we do not compute
    with.
    """
    binder = _Binder(config, checkpoint, shapes)
    if checkpoint.format == "gguf":
        prefix, head = "", HEAD.gguf
    else:
        prefix, head_prefix = _prefixes(config, checkpoint)
        head = head_prefix + HEAD.hugging_face
    for row in QWEN_MODEL if isinstance(config, Qwen3_5Config) else LLAMA_MODEL:
        binder.row(row.ours, prefix + binder.foreign(row), row.fold)
    if not config.tie_word_embeddings:
        binder.row(HEAD.ours, head)
    elif head in checkpoint.tensors:
        binder.ignore(head, "the head is tied to the embedding")
    for layer in range(config.num_hidden_layers):
        block = f"blk.{layer}." if checkpoint.format == "gguf" else f"{prefix}layers.{layer}."
        binder.layer(layer, block)
    binder.account_for_the_rest()
    binder.raise_faults()
    return Binding(binder.sources, tuple(binder.ignored.items()))


def _prefixes(config: Config, checkpoint: Checkpoint) -> tuple[str, str]:
    """Multimodal or text-only: whichever has the embedding."""
    candidates = HUGGING_FACE_PREFIXES[config.family]
    for model_prefix, head_prefix in candidates:
        if model_prefix + "embed_tokens.weight" in checkpoint.tensors:
            return model_prefix, head_prefix
    tried = " or ".join(prefix + "embed_tokens.weight" for prefix, _ in candidates)
    raise CheckpointError(f"{checkpoint.path}: there is no tensor {tried}: the checkpoint is incomplete")


@dataclass
class _Binder:
    """What is bound so far, what is ignored, and every fault that was met."""

    config: Config
    checkpoint: Checkpoint
    shapes: Mapping[str, WeightShape]
    sources: dict[str, Source] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_gguf = self.checkpoint.format == "gguf"

    def foreign(self, row: Row) -> str:
        return row.gguf if self.is_gguf else row.hugging_face

    def ignore(self, name: str, reason: str) -> None:
        self.ignored[name] = reason

    def layer(self, layer: int, block: str) -> None:
        fused = self.is_gguf and block + GGUF_FUSED_QKV in self.checkpoint.tensors
        rows = layer_rows(self.config, layer)
        together = [row for row in rows if row.ours in FUSED_ROWS] if fused else []
        if together:
            self.stacked_rows(together, f"layers.{layer}.", block + GGUF_FUSED_QKV)
        for row in rows:
            if row not in together:
                self.row(f"layers.{layer}.{row.ours}", block + self.foreign(row), row.fold)
        if f"layers.{layer}.experts.gate" in self.shapes:
            self.experts(f"layers.{layer}.experts.", block)

    def row(self, ours: str, foreign: str, fold: Fold = "none") -> None:
        """A matrix or vector that is a whole tensor; `fold`: of the values in Hugging Face checkpoints."""
        self.whole(ours, foreign, self.shapes[ours], "none" if self.is_gguf else fold)

    def whole(self, ours: str, foreign: str, shape: WeightShape, fold: Fold = "none") -> None:
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

    def stacked_rows(self, rows: Iterable[Row], ours: str, foreign: str) -> None:
        """Matrices of one width whose rows follow each other in one tensor."""
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
        """Routed experts as a file has them: one by one, gate over up in one stack, or a stack each."""
        names = self.expert_names()
        gate = self.shapes[ours + "gate"]
        e, h, m = gate.count, gate.columns, gate.rows
        if names.single is not None and block + names.single[0].format(e=0) in self.checkpoint.tensors:
            for expert in range(e):
                for which, name in zip(("gate", "up", "down"), names.single, strict=True):
                    self.whole(f"{ours}{expert}.{which}", block + name.format(e=expert), self.shapes[ours + which])
            return
        if block + names.gate_up in self.checkpoint.tensors:
            gate_up = self.stack(block + names.gate_up, e, 2 * m, h, names.transposed)
            for expert in range(e if gate_up else 0):
                self.expert(ours, expert, "gate", gate_up, 2 * m, h, names.transposed, (0, m))
                self.expert(ours, expert, "up", gate_up, 2 * m, h, names.transposed, (m, 2 * m))
        else:
            for which, name in (("gate", names.gate), ("up", names.up)):
                stack = self.stack(block + name, e, m, h, names.transposed)
                for expert in range(e if stack else 0):
                    self.expert(ours, expert, which, stack, m, h, names.transposed, (0, m))
        down = self.stack(block + names.down, e, h, m, names.transposed)
        for expert in range(e if down else 0):
            self.expert(ours, expert, "down", down, h, m, names.transposed, (0, h))

    def expert_names(self) -> ExpertNames:
        if self.is_gguf:
            return GGUF_EXPERTS
        return QWEN_EXPERTS if isinstance(self.config, Qwen3_5Config) else LLAMA_EXPERTS

    def stack(self, foreign: str, count: int, rows: int, columns: int, transposed: bool) -> Tensor | None:
        """A tensor of `count` matrices [rows, columns], each stored as [columns, rows] where transposed."""
        tensor = self.tensor(foreign, (count, columns, rows) if transposed else (count, rows, columns))
        return tensor if tensor is not None and self.type_fits(tensor, transposed) else None

    def expert(
        self,
        ours: str,
        expert: int,
        which: str,
        stack: Tensor | None,
        rows: int,
        columns: int,
        transposed: bool,
        span: tuple[int, int],
    ) -> None:
        """Rows `span` of one matrix [rows, columns] of a stack."""
        assert stack is not None
        first, end = span
        name = f"{ours}{expert}.{which}"
        if transposed:
            size = TENSOR_TYPES[stack.type].block_bytes
            offset = (expert * columns * rows + first) * size
            self.sources[name] = Source(stack, end - first, columns, offset, size, rows * size, "routed_experts")
        else:
            self.sources[name] = _region(stack, end - first, columns, "routed_experts", first_row=expert * rows + first)

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor | None:
        """The tensor of that name if it has that shape; otherwise a fault is noted."""
        tensor = self.checkpoint.tensors.get(name)
        if tensor is None:
            self.fault(f"{name} is missing")
            return None
        self.used.add(name)
        # ggml drops outer dimensions of 1: a row of one matrix, the stack of one expert.
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
        """The block scales of an FP8 matrix; at the edges blocks are short."""
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
                    self.ignore(name, reason)

    def reason_to_ignore(self, name: str) -> str | None:
        if not self.is_gguf:
            prefixes = HUGGING_FACE_IGNORED[self.config.family]
            return next((reason for start, reason in prefixes.items() if name.startswith(start)), None)
        if isinstance(self.config, Qwen3_5Config):
            blocks = range(
                self.config.num_hidden_layers, self.config.num_hidden_layers + self.config.mtp_num_hidden_layers
            )
            return "multi-token prediction: not used yet" if _block(name) in blocks else None
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
    """Contiguous rows of a tensor whose rows have `columns` elements."""
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
