"""Binds our names to the tensors of a file: our name → (tensor, region, fold). Only this module knows foreign layouts.

Every tensor of a file is used with the right type and shape, or listed with the reason why it is not used. `tables` has
the foreign names. Our names and their shapes come from the caller: they are those of the model's `build_weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shoestring.checkpoint.config.rotary import ROPE_FREQUENCIES
from shoestring.checkpoint.config.types import Config, Qwen3_5Config
from shoestring.checkpoint.names import tables
from shoestring.checkpoint.names.regions import Binding as Binding
from shoestring.checkpoint.names.regions import Regions, region_of
from shoestring.checkpoint.names.regions import Source as Source
from shoestring.checkpoint.names.regions import WeightShape as WeightShape
from shoestring.checkpoint.names.tables import Fold, Row
from shoestring.checkpoint.tensors import TENSOR_TYPES, Checkpoint
from shoestring.errors import CheckpointError


def bind(config: Config, checkpoint: Checkpoint, shapes: Mapping[str, WeightShape]) -> Binding:
    """Find the tensor of each of our names, and account for every tensor of the file.

    shapes: what the model wants (`models/shapes.py`); "layers.N.experts.gate" stands for the gates of all experts.
    Raises one CheckpointError that lists all tensors that are missing, unknown, or of a wrong shape or type.
    """
    binder = _Binder(checkpoint, shapes, config=config)
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
class _Binder(Regions):
    """Collects sources, ignored tensors and faults."""

    config: Config = field(kw_only=True)

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
                source = region_of(tensor, shape.rows, columns, "routed_experts", first_row=expert * rows + first)
                if transposed:
                    offset = (expert * columns * rows + first) * size
                    source = replace(source, offset=offset, row_stride=size, column_stride=rows * size)
                self.sources[f"{ours}{expert}.{role}"] = source
                first += shape.rows

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


def _block(name: str) -> int:
    """The number of a GGUF tensor's block, or −1."""
    parts = name.split(".", 2)
    return int(parts[1]) if len(parts) == 3 and parts[0] == "blk" and parts[1].isdecimal() and len(parts[1]) < 6 else -1
