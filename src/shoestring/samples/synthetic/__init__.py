"""Write random models with the shapes of a config, as GGUF files that llama.cpp also loads.

For benchmarks without a download, and for tests against peers. Deterministic: config, types and seed decide
every byte. The weights mean nothing; their scales keep activations near 1 and logits' deviation near 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from shoestring.samples.synthetic.layout import EMBEDDING, NAME, Slot, layout, metadata
from shoestring.samples.synthetic.mixes import FILE_TYPES, mix_name, tensor_type
from shoestring.samples.synthetic.routing import GAINS, Routing, embedding
from shoestring.samples.synthetic.vocabulary import with_words
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
    routing: Routing | None = None,
    vision: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a random model with `config`'s shapes to `path` (GGUF, atomically).

    mix: a type (F32 … Q6_K) or a mixture (Q4_K_M, Q5_K_M), assigned to tensors as llama-quantize does.
    gains: factors on the deviation of matrices by the last part of their name (`{"ffn_down_exps": 0.5}`).
    routing: for measuring experts that stream: tokens choose experts as it says (routing.py), and no two experts have
    the same bytes; every token is a word. Default: experts are runs of the same random blocks, which may repeat.
    vision: the vocabulary has the markers of pictures; the tower is a file of its own (vision.py).

    Raises RequestError for an unknown mix, CapacityError for a full disk.
    """
    pools: dict[tuple[str, float], fill.Pool] = {}
    gains = {**(GAINS if routing is not None else {}), **(gains or {})}
    tensors = [_outgoing(slot, kind, seed, gains, routing, pools) for slot, kind in _typed_slots(config, mix)]
    keys = metadata(config, vision=vision)
    keys = keys if routing is None else with_words(keys)
    write_gguf(path, {**keys, "general.file_type": FILE_TYPES[mix_name(mix)]}, tensors, progress)


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
    slot: Slot,
    kind: str,
    seed: int,
    gains: Mapping[str, float],
    routing: Routing | None,
    pools: dict[tuple[str, float], fill.Pool],
) -> OutgoingTensor:
    gain = slot.gain * gains.get(slot.name.removesuffix(".weight").rpartition(".")[2], 1.0)

    def chunks() -> Iterable[Any]:
        if slot.fill != "matrix":
            return [fill.vector(slot, seed)]
        deviation = gain / slot.shape[-1] ** 0.5
        if routing is not None and slot.name == EMBEDDING:
            return embedding(routing, slot, kind, deviation, seed)
        key = (kind, deviation)
        if key not in pools:
            pools[key] = fill.pool(kind, deviation, seed)
        if routing is not None and len(slot.shape) == 3:
            return _distinct_experts(pools[key], slot, kind, seed)
        return fill.tiled(pools[key], slot, kind, seed)

    return OutgoingTensor(slot.name, kind, slot.shape, chunks)


def _distinct_experts(pool: fill.Pool, slot: Slot, kind: str, seed: int) -> Iterator[Any]:
    """The blocks of stacked experts, each expert with bytes of its own."""
    for expert in range(slot.shape[0]):
        one = replace(slot, name=f"{slot.name} {expert}", shape=slot.shape[1:])
        mask = fill.mask(kind, fill.random_bits(f"{one.name} quants", seed))
        for run in fill.tiled(pool, one, kind, seed):
            yield fill.masked(run, kind, mask)
