"""Binds the names of a vision tower: its foreign names in GGUF (mmproj files) and Hugging Face folders, side by side.

Every vision tensor of a file is used with the right type and shape, or is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from shoestring.checkpoint.config.vision_types import Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.names.regions import Binding, Regions, WeightShape, region_of
from shoestring.checkpoint.names.tables import Row
from shoestring.checkpoint.tensors import Checkpoint

# A row's names have a weight, and a bias where the model has one.
_QWEN = (
    Row("merger_norm", "v.post_ln", "merger.norm"),
    Row("merger_up", "mm.0", "merger.linear_fc1"),
    Row("merger_down", "mm.2", "merger.linear_fc2"),
)
_QWEN_LAYER = (
    Row("input_norm", "ln1", "norm1"),
    Row("output", "attn_out", "attn.proj"),
    Row("post_norm", "ln2", "norm2"),
    Row("up", "ffn_up", "mlp.linear_fc1"),
    Row("down", "ffn_down", "mlp.linear_fc2"),
)
_LLAMA = (
    Row("first_norm", "v.pre_ln", "vision_model.layernorm_pre"),
    Row("last_norm", "v.post_ln", "vision_model.layernorm_post"),
    Row("adapter_up", "mm.model.mlp.1", "vision_model.vision_adapter.mlp.fc1"),
    Row("adapter_down", "mm.model.mlp.2", "vision_model.vision_adapter.mlp.fc2"),
    Row("projector", "mm.model.fc", "multi_modal_projector.linear_1"),
)
_LLAMA_LAYER = (
    Row("input_norm", "ln1", "input_layernorm"),
    Row("query", "attn_q", "self_attn.q_proj"),
    Row("key", "attn_k", "self_attn.k_proj"),
    Row("value", "attn_v", "self_attn.v_proj"),
    Row("output", "attn_out", "self_attn.o_proj"),
    Row("post_norm", "ln2", "post_attention_layernorm"),
    Row("up", "ffn_up", "mlp.fc1"),
    Row("down", "ffn_down", "mlp.fc2"),
)
# Tensors of which there is one.
_QWEN_SINGLE = (
    Row("patch.weight", "v.patch_embd.weight", "patch_embed.proj.weight"),
    Row("patch.bias", "v.patch_embd.bias", "patch_embed.proj.bias"),
    Row("positions", "v.position_embd.weight", "pos_embed.weight"),
)
_LLAMA_SINGLE = (
    Row("patch.weight", "v.patch_embd.weight", "vision_model.patch_embedding.linear.weight"),
    Row("class_row", "v.class_embd", "vision_model.class_embedding"),
    Row("positions", "v.position_embd.weight", "vision_model.positional_embedding_vlm"),
)
_ENDS = (".weight", ".bias")
#: Qwen's attention has these matrices in one tensor, in this order.
FUSED = ("query", "key", "value")
#: Our name for a GGUF file's patch kernels of the second frame.
SECOND_FRAME = "patch.weight.second"
#: Tables by family.
MODEL_ROWS = {"qwen3_5": _QWEN, "llama4": _LLAMA}
LAYER_ROWS = {"qwen3_5": _QWEN_LAYER, "llama4": _LLAMA_LAYER}
#: Prefixes of a tower's tensors in Hugging Face folders: as published, and as vendors' older files have them.
_QWEN_PREFIXES = ("model.visual.", "visual.")
_LLAMA_PREFIXES = ("vision_model.", "multi_modal_projector.")
#: Beginnings of an mmproj file's tensors that belong to no tower.
_SOUND = {"a.": "sound is not heard", "mm.a.": "sound is not heard"}


def has_vision_tensors(checkpoint: Checkpoint) -> bool:
    """Whether a Hugging Face folder has a tower of either family."""
    return any(name.startswith((*_QWEN_PREFIXES, *_LLAMA_PREFIXES)) for name in checkpoint.tensors)


def bind_vision(config: VisionConfig, checkpoint: Checkpoint, shapes: Mapping[str, WeightShape]) -> Binding:
    """Find the tensor of each of our names, and account for every tensor of the tower.

    shapes: what the model wants (`models/towers.py`). A GGUF file's patch kernels of the second frame are
    SECOND_FRAME beside "patch.weight". Raises one CheckpointError that lists all tensors that are missing,
    unknown, or of a wrong shape or type.
    """
    binder = _Binder(checkpoint, shapes, part="vision")
    if isinstance(config, Qwen3_5VisionConfig):
        binder.qwen(config)
    else:
        binder.llama(config.num_hidden_layers)
    for name in checkpoint.tensors:
        if name in binder.used:
            continue
        reason = next((why for start, why in _SOUND.items() if name.startswith(start)), None)
        if binder.is_gguf and reason is not None:
            binder.ignored[name] = reason
        elif binder.is_gguf or name.startswith((*_QWEN_PREFIXES, *_LLAMA_PREFIXES)):
            binder.fault(f"{name} is not used by the tower")
    binder.raise_faults()
    return Binding(binder.sources, tuple(binder.ignored.items()))


def hugging_face_names(config: VisionConfig) -> dict[str, tuple[str, int | None]]:
    """Our name → the name as published, and which part of a fused tensor it is (None: the whole)."""
    names: dict[str, tuple[str, int | None]] = {}
    is_qwen = isinstance(config, Qwen3_5VisionConfig)
    prefix = _QWEN_PREFIXES[0] if is_qwen else ""
    block = f"{prefix}blocks." if is_qwen else "vision_model.model.layers."
    for row in MODEL_ROWS[config.family]:
        names |= {row.ours + end: (prefix + row.hugging_face + end, None) for end in _ENDS}
    for layer in range(config.num_hidden_layers):
        for row in LAYER_ROWS[config.family]:
            ours, theirs = f"layers.{layer}.{row.ours}", f"{block}{layer}.{row.hugging_face}"
            names |= {ours + end: (theirs + end, None) for end in _ENDS}
        if is_qwen:
            for piece, role in enumerate(FUSED):
                ours, theirs = f"layers.{layer}.{role}", f"{block}{layer}.attn.qkv"
                names |= {ours + end: (theirs + end, piece) for end in _ENDS}
    single = _QWEN_SINGLE if is_qwen else _LLAMA_SINGLE
    return names | {row.ours: (prefix + row.hugging_face, None) for row in single}


class _Binder(Regions):
    def qwen(self, config: Qwen3_5VisionConfig) -> None:
        names = (prefix + _QWEN_SINGLE[0].hugging_face for prefix in _QWEN_PREFIXES)
        first = next((name for name in names if name in self.checkpoint.tensors), "")
        prefix = "" if self.is_gguf else first.removesuffix(_QWEN_SINGLE[0].hugging_face) or _QWEN_PREFIXES[0]
        self.single(_QWEN_SINGLE, prefix, config.patch_values // 2 if self.is_gguf else config.patch_values)
        if self.is_gguf:
            self.patches(SECOND_FRAME, "v.patch_embd.weight.1", config.patch_values // 2)
        for row in _QWEN:
            self.weight_and_bias(row.ours, self.foreign(prefix, row))
        for layer in range(config.num_hidden_layers):
            ours = f"layers.{layer}."
            block = f"v.blk.{layer}." if self.is_gguf else f"{prefix}blocks.{layer}."
            for row in _QWEN_LAYER:
                self.weight_and_bias(ours + row.ours, self.foreign(block, row))
            fused = block + ("attn_qkv" if self.is_gguf else "attn.qkv")
            self.fused([Row(f"{role}.weight", "", "") for role in FUSED], ours, f"{fused}.weight")
            self.fused_bias([f"{ours}{role}.bias" for role in FUSED], f"{fused}.bias")

    def llama(self, layers: int) -> None:
        self.single(_LLAMA_SINGLE, "", self.shapes["patch.weight"].columns)
        for row in _LLAMA:
            self.weight_and_bias(row.ours, self.foreign("", row))
        for layer in range(layers):
            block = f"v.blk.{layer}." if self.is_gguf else f"vision_model.model.layers.{layer}."
            for row in _LLAMA_LAYER:
                self.weight_and_bias(f"layers.{layer}.{row.ours}", self.foreign(block, row))

    def foreign(self, prefix: str, row: Row) -> str:
        return prefix + (row.gguf if self.is_gguf else row.hugging_face)

    def single(self, rows: tuple[Row, ...], prefix: str, patch_values: int) -> None:
        for row in rows:
            if row.ours == "patch.weight":
                self.patches(row.ours, self.foreign(prefix, row), patch_values)
            else:
                self.vector(row.ours, self.foreign(prefix, row))

    def weight_and_bias(self, ours: str, foreign: str) -> None:
        for end in _ENDS:
            shape = self.shapes.get(ours + end)
            if shape is None:
                continue
            if shape.is_matrix:
                self.whole(ours + end, foreign + end, shape)
            else:
                self.vector(ours + end, foreign + end)

    def vector(self, ours: str, foreign: str) -> None:
        """A vector, or a table of them."""
        shape = self.shapes[ours]
        tensor = self.tensor(foreign, (shape.columns,) if shape.rows == 1 else (shape.rows, shape.columns))
        if tensor is not None and self.type_fits(tensor, floats_only=True):
            self.sources[ours] = region_of(tensor, shape.rows, shape.columns, "vision")

    def fused_bias(self, ours: list[str], foreign: str) -> None:
        """Vectors that are stacked in one tensor."""
        columns = self.shapes[ours[0]].columns
        tensor = self.tensor(foreign, (len(ours) * columns,))
        if tensor is None or not self.type_fits(tensor, floats_only=True):
            return
        for number, name in enumerate(ours):
            self.sources[name] = region_of(tensor, 1, columns, "vision", first_row=number)

    def patches(self, ours: str, foreign: str, columns: int) -> None:
        """The kernels of the patch embedding: each is a row of `columns` numbers, whatever axes the file gives it."""
        rows = self.shapes["patch.weight"].rows
        found = self.checkpoint.tensors.get(foreign)
        same = found is not None and found.shape[0] == rows and prod(found.shape[1:]) == columns
        tensor = self.tensor(foreign, found.shape if found is not None and same else (rows, columns))
        if tensor is not None and self.type_fits(tensor, floats_only=True):
            self.sources[ours] = region_of(tensor, rows, columns, "vision")
