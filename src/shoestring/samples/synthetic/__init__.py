"""Write random models with the shapes of a config, as GGUF files that llama.cpp also loads.

For benchmarks without a download, and for tests against peers. Deterministic: config, types and seed decide
every byte. The weights mean nothing; their scales keep activations near 1 and logits' deviation near 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config, Llama4Config
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, Progress, write_gguf
from shoestring.checkpoint.formats.json_file import read_json
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError, RequestError
from shoestring.samples.synthetic import fill
from shoestring.samples.synthetic.layout import NAME, Slot, layout, metadata
from shoestring.samples.synthetic.mixes import FILE_TYPES, mix_name, tensor_type
from shoestring.spelling import option

__all__ = ["is_synthetic", "read_config", "synthetic_bytes", "with_layers", "write_synthetic"]


def read_config(path: Path) -> Config:
    """Read a Hugging Face config.json (or a folder with one) of either family, without weights.

    Raises CheckpointError if it is unreadable or of another family.
    """
    file = path / "config.json" if path.is_dir() else path
    checkpoint = Checkpoint(path=file.parent, format="safetensors", tensors={}, metadata=read_json(file), files=(file,))
    try:
        return parse_config(checkpoint)
    except CheckpointError as error:  # the parser expects a config.json in a folder
        raise CheckpointError(str(error).replace(str(file.parent / "config.json"), str(file))) from error


def write_synthetic(
    config: Config,
    path: Path,
    mix: str,
    *,
    seed: int = 0,
    gains: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a random model with `config`'s shapes to `path` (GGUF, atomically).

    mix: a type (F32 … Q6_K) or a mixture (Q4_K_M, Q5_K_M), assigned to tensors as llama-quantize does.
    gains: factors on the deviation of matrices by the last part of their name (`{"ffn_down_exps": 0.5}`).

    Raises RequestError for an unknown mix, CapacityError for a full disk.
    """
    pools: dict[tuple[str, float], fill.Pool] = {}
    tensors = [_outgoing(slot, kind, seed, gains or {}, pools) for slot, kind in _typed_slots(config, mix)]
    write_gguf(path, {**metadata(config), "general.file_type": FILE_TYPES[mix_name(mix)]}, tensors, progress)


def is_synthetic(checkpoint: Checkpoint) -> bool:
    """Whether `write_synthetic` wrote a GGUF file."""
    return str(checkpoint.metadata.get("general.name")).startswith(NAME)


def synthetic_bytes(config: Config, mix: str) -> int:
    """Bytes of all tensors that `write_synthetic` writes."""
    return sum(OutgoingTensor(slot.name, kind, slot.shape, tuple).nbytes for slot, kind in _typed_slots(config, mix))


def with_layers(config: Config, layers: int) -> Config:
    """The first `layers` layers of a config.

    Raises RequestError when it has fewer.
    """
    if not 1 <= layers <= config.num_hidden_layers:
        raise RequestError(f"{option('layers')} {layers} is not between 1 and the config's {config.num_hidden_layers}")
    if isinstance(config, Llama4Config):
        return replace(
            config,
            num_hidden_layers=layers,
            rope_layers=config.rope_layers[:layers],
            chunked_layers=config.chunked_layers[:layers],
            moe_layers=config.moe_layers[:layers],
        )
    return replace(config, num_hidden_layers=layers, layer_types=config.layer_types[:layers], mtp_num_hidden_layers=0)


def _typed_slots(config: Config, mix: str) -> list[tuple[Slot, str]]:
    experts = config.num_local_experts if isinstance(config, Llama4Config) else config.num_experts
    return [
        (
            slot,
            tensor_type(
                mix, slot.name, slot.shape,
                layers=config.num_hidden_layers, experts=experts, tied=config.tie_word_embeddings,
            ),
        )
        for slot in layout(config)
    ]  # fmt: skip


def _outgoing(
    slot: Slot, kind: str, seed: int, gains: Mapping[str, float], pools: dict[tuple[str, float], fill.Pool]
) -> OutgoingTensor:
    gain = slot.gain * gains.get(slot.name.removesuffix(".weight").rpartition(".")[2], 1.0)

    def chunks() -> Iterable[Any]:
        if slot.fill != "matrix":
            return [fill.vector(slot, seed)]
        deviation = gain / slot.shape[-1] ** 0.5
        key = (kind, deviation)
        if key not in pools:
            pools[key] = fill.pool(kind, deviation, seed)
        return fill.tiled(pools[key], slot, kind, seed)

    return OutgoingTensor(slot.name, kind, slot.shape, chunks)
