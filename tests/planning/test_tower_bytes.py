"""A GGUF's download counts the mmproj file that pull fetches with it, and memory counts the tower as it is loaded."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.catalogue.schema import Model
from shoestring.checkpoint.config.vision import parse_vision_config
from shoestring.checkpoint.config.vision_types import VisionConfig
from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.names.vision import bind_vision
from shoestring.checkpoint.tensors import TENSOR_TYPES, Checkpoint
from shoestring.hub import RemoteFile, tower_of
from shoestring.models.tower_weights import loaded_bytes
from shoestring.models.towers import wanted_shapes
from shoestring.planning.candidates.candidates import from_row, read_config
from shoestring.planning.candidates.formats import is_gguf, sizes
from shoestring.planning.candidates.shapes import vision_shapes
from shoestring.planning.memory import need
from shoestring.samples.synthetic.vision import TYPES, _type, slots, write_mmproj

CATALOGUE = builtin_catalogue()
SEEING = [row for row in CATALOGUE.models.values() if "vision_config" in read_config(row.config)]


def tower_config(metadata: dict) -> VisionConfig:  # type: ignore[type-arg]
    config = parse_vision_config(Checkpoint(Path("m"), "safetensors", {}, metadata, ()))
    assert config is not None
    return config


def file_bytes(config: VisionConfig, kind: str) -> int:
    """Bytes of all tensors of an mmproj file."""
    types = [(TENSOR_TYPES[_type(slot, kind)], prod(slot.shape)) for slot in slots(config)]
    return sum(count // t.block_size * t.block_bytes for t, count in types)


@pytest.mark.parametrize("row", SEEING, ids=lambda row: row.id)
def test_the_download_has_the_tower_that_pull_chooses(row: Model) -> None:
    config = tower_config(read_config(row.config))
    listed = [RemoteFile(f"mmproj-{kind}.gguf", file_bytes(config, kind)) for kind in TYPES]
    model = RemoteFile("m-Q4_K_M.gguf", 1)
    pulled = tower_of([model], [model, *listed])
    assert pulled is not None
    for quant in ("Q4_K_M", "Q8_0", "IQ1_M"):
        n = need(from_row(row), quant, 8192, 1)
        assert n.file.of("vision") == pulled.size
        assert n.download == pulled.size + (n.upload.bytes if n.upload else n.file.total - pulled.size)


def test_some_sizes_are_known_and_some_are_not() -> None:
    known = {u.model for u in CATALOGUE.uploads.values() if is_gguf(u.type)}
    assert known & {row.id for row in SEEING}
    assert {row.id for row in SEEING} - known


@pytest.mark.parametrize("family", ["qwen3_5", "llama4"])
def test_memory_counts_the_tower_as_it_is_loaded(family: str, tmp_path: Path) -> None:
    row = next(row for row in SEEING if row.family == family and row.id != "qwen3.5-0.8b")
    metadata = read_config(row.config)
    small = {"depth": 2, "num_hidden_layers": 2, "hidden_size": 352, "num_heads": 4, "num_attention_heads": 4,
             "intermediate_size": 704, "projector_input_dim": 512, "projector_output_dim": 512,
             "vision_output_dim": 512, "out_hidden_size": 256}  # fmt: skip
    vision = {key: small.get(key, value) for key, value in metadata["vision_config"].items()}
    metadata = metadata | {"vision_config": vision, "text_config": {"hidden_size": 256}}
    path = tmp_path / "mmproj-BF16.gguf"
    write_mmproj(tower_config(metadata), path, "BF16")
    checkpoint = open_gguf(path)
    config = parse_vision_config(checkpoint)
    assert config is not None
    shapes = vision_shapes(metadata)
    loaded = loaded_bytes(config, bind_vision(config, checkpoint, wanted_shapes(config)))
    assert sizes(shapes, "Q4_K_M", 1, loaded=True).of("vision") == loaded
    assert sizes(shapes, "BF16", 1, loaded=True).of("vision") == loaded
    stored = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    assert sizes(shapes, "Q4_K_M", 1).of("vision") == stored
