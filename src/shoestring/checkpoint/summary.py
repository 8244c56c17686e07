"""Count the parameters of a bound checkpoint, and its bytes by part and type, without reading weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from shoestring.checkpoint.config.types import Config, Llama4Config
from shoestring.checkpoint.names.bind import Binding, Source
from shoestring.checkpoint.names.parts import Part
from shoestring.checkpoint.tensors import TENSOR_TYPES, Checkpoint

#: Bytes of an element that loading widens
_WIDENED_BYTES = 4


@dataclass(frozen=True)
class Summary:
    """What `inspect` prints and the planner adds up.

    parameters_active: parameters that one token uses: all except the experts that it is not routed to.
    source_bytes: bytes in the file, by (part, type); FP8 scales count with their matrix.
    ignored_bytes: bytes of the file's tensors that we do not use yet.
    widened_bytes: bytes of all FP8 matrices as float32.
    """

    parameters_total: int
    parameters_active: int
    source_bytes: dict[tuple[Part, str], int]
    ignored_bytes: int
    widened_bytes: int

    @property
    def total_bytes(self) -> int:
        return sum(self.source_bytes.values())


def summarize(config: Config, checkpoint: Checkpoint, binding: Binding) -> Summary:
    """Add up a binding of that checkpoint."""
    ignored_bytes = sum(checkpoint.tensors[name].nbytes for name, _ in binding.ignored)
    parameters: Counter[Part] = Counter()
    counted: Counter[tuple[Part, str]] = Counter()
    widened = 0
    for source in binding.sources.values():
        elements = source.rows * source.columns
        parameters[source.part] += elements
        counted[source.part, source.tensor.type] += source_bytes(source)
        if source.scale is not None:
            widened += elements * _WIDENED_BYTES
    total = sum(parameters.values())
    routed = parameters["routed_experts"]
    experts = config.num_local_experts if isinstance(config, Llama4Config) else config.num_experts
    idle = routed - routed * config.num_experts_per_tok // experts if experts else 0
    return Summary(total, total - idle, dict(counted), ignored_bytes, widened)


def source_bytes(source: Source) -> int:
    """Bytes of a source in its file, including its scales."""
    kind = TENSOR_TYPES[source.tensor.type]
    own = source.rows * (source.columns // kind.block_size) * kind.block_bytes
    return own + (source.scale.nbytes if source.scale is not None else 0)
