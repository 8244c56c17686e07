"""Where the experts are in their files: from the `Binding` of a checkpoint to the parts that one read brings.

One read brings gate and up of an expert, another one down: a large expert is usable before all of it has arrived. In a
GGUF file an expert is contiguous in each of three merged tensors; in safetensors it has tensors of its own, or gate and
up are fused, or all are transposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, Source
from shoestring.errors import CheckpointError
from shoestring.models.families import expert_layers
from shoestring.models.weights import loaded_type, region, stored_bytes
from shoestring.ops.reading import File, Part, Target
from shoestring.streaming.slots import ExpertBytes, part_bytes

Types = tuple[str, str, str]
Expert = tuple[Source, Source, Source]
#: First byte in the file, the one behind the last, the source, and its byte in the arena
_Placed = tuple[int, int, Source, int]


@dataclass(frozen=True)
class LayerSources:
    """The experts of one layer, in the order of their numbers: gate, up and down of each. `types`: of these three."""

    layer: int
    hidden_size: int
    intermediate_size: int
    types: Types
    experts: tuple[Expert, ...]

    @property
    def part_offsets(self) -> tuple[int, int, int]:
        """Where gate, up and down begin in a slot."""
        gate, up, _ = part_bytes(self.types, self.hidden_size, self.intermediate_size)
        return 0, gate, gate + up

    @property
    def nbytes(self) -> ExpertBytes:
        slot = sum(part_bytes(self.types, self.hidden_size, self.intermediate_size))
        return ExpertBytes(self.layer, len(self.experts), slot, sum(map(stored_bytes, self.experts[0])))


def expert_sources(config: Config, binding: Binding) -> tuple[LayerSources, ...]:
    """The experts of every layer that has any; empty for a dense model.

    Raises CheckpointError, with the tensor's name, for experts that cannot be computed from the file's bytes alone.
    """
    layers = []
    for shape in expert_layers(config):
        names = [f"layers.{shape.layer}.experts.{e}" for e in range(shape.num_experts)]
        gates, ups, downs = ([binding.sources[f"{name}.{part}"] for name in names] for part in ("gate", "up", "down"))
        types = tuple(_type(sources) for sources in (gates, ups, downs))
        assert len(types) == 3
        layers.append(
            LayerSources(
                shape.layer,
                shape.hidden_size,
                shape.intermediate_size,
                types,
                tuple(zip(gates, ups, downs, strict=True)),
            )
        )
    return tuple(layers)


def _type(sources: list[Source]) -> str:
    """The common type of a part of all experts of a layer."""
    first = sources[0].tensor
    for source in sources:
        tensor = source.tensor
        if not is_packed_alone(source):
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} has type {tensor.type}, which is converted when it is loaded: these "
                "experts cannot stay on disk. Give --memory for all of them, or use a GGUF file"
            )
        if tensor.type != first.type:
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} has type {tensor.type}, {first.name} has {first.type}: experts of one "
                "layer can stay on disk only with one type. Give --memory for all of them, or convert the model again"
            )
    return first.type


def is_packed_alone(source: Source) -> bool:
    """Whether a source becomes a matrix by packing its own bytes: it has no scales and no fold, and keeps its type."""
    return source.scale is None and source.fold == "none" and loaded_type(source) == source.tensor.type


def files_of(layers: Iterable[LayerSources]) -> tuple[Path, ...]:
    """The files that contain experts, each once, in order of their names."""
    paths = {source.tensor.file for layer in layers for expert in layer.experts for source in expert}
    return tuple(sorted(paths))


def parts(files: Mapping[Path, File], wanted: Iterable[tuple[Source, int]]) -> tuple[Part, ...]:
    """What one read brings: each source, of at least one, with the byte of the arena where it is packed.

    Sources whose bytes overlap or touch become one part: fused gate and up, transposed or not.
    """
    placed = []
    for source, destination in wanted:
        begin, after = region(source)
        placed.append((source.tensor.offset + begin, source.tensor.offset + after, source, destination))
    if len(placed) > 1:
        placed.sort(key=_begin)
    result: list[Part] = []
    group: list[_Placed] = []
    end = 0
    for item in placed:
        if group and (item[2].tensor.file != group[0][2].tensor.file or item[0] > end):
            result.append(_part(files, group, end))
            group, end = [], 0
        end = max(end, item[1])
        group.append(item)
    result.append(_part(files, group, end))
    return tuple(result)


def _begin(item: _Placed) -> int:
    return item[0]


def _part(files: Mapping[Path, File], group: list[_Placed], end: int) -> Part:
    first = group[0][0]
    targets = tuple(
        Target(
            source.tensor.type,
            source.rows,
            source.columns,
            begin - first,
            source.row_stride,
            source.column_stride,
            destination,
        )
        for begin, _, source, destination in group
    )
    return Part(files[group[0][2].tensor.file], first, end, targets)
