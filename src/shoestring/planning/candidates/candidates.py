"""Candidates: catalogue models with their config and tensor shapes, without weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from shoestring.catalogue.load import FOLDER, builtin_catalogue
from shoestring.catalogue.schema import Catalogue, Model, Upload
from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.models.sizes import Parameters, parameters
from shoestring.planning.candidates.formats import UPLOADED_AS
from shoestring.planning.candidates.shapes import Shape, all_shapes
from shoestring.streaming.slots import ExpertBytes

#: the type that a short name downloads
USUAL_TYPE = "Q4_K_M"


@dataclass(frozen=True)
class OnDisk:
    """What of a local file can stay on disk: its experts, and the embedding's bytes, of which some stay in memory."""

    layers: tuple[ExpertBytes, ...]
    embedding_bytes: int = 0
    recent_bytes: int = 0


@dataclass(frozen=True)
class Candidate:
    """A model to plan for. `row` is None for a model outside the catalogue."""

    id: str
    name: str
    config: Config = field(repr=False)
    shapes: tuple[Shape, ...] = field(repr=False)
    text: Parameters
    row: Model | None = None
    #: where the weights are, for commands: a Hub name, a file or a folder
    location: str = ""
    #: whether the weights are on this machine
    local: bool = False
    #: published files of known size
    uploads: tuple[Upload, ...] = field(default=(), repr=False)
    #: bytes by part as stored in the file; empty without a file
    stored: tuple[tuple[str, int], ...] = ()
    #: the same as our engine loads it
    loaded: tuple[tuple[str, int], ...] = ()
    #: what may stay on disk; None: not a local file, or one whose experts must be in memory
    on_disk: OnDisk | None = None

    def upload(self, type_: str) -> Upload | None:
        """The published file of a type; None: its size is not known."""
        name = UPLOADED_AS.get(type_, type_)
        return next((upload for upload in self.uploads if upload.type == name), None)

    @cached_property
    def total(self) -> int:
        """Parameters, including vision and multi-token prediction."""
        return sum(shape.parameters for shape in self.shapes)


def resolve_row(name: str, catalogue: Catalogue) -> Model | None:
    """The catalogue's row for an id or alias, ignoring case; None if there is none."""
    folded = name.casefold()
    for row in catalogue.models.values():
        if folded in (row.id.casefold(), row.name.casefold(), *(alias.casefold() for alias in row.aliases)):
            return row
    return None


def hub_names(name: str) -> tuple[str, ...]:
    """Repositories that may have the model of a short name, the default first; () for any other name."""
    row = None if "/" in name else resolve_row(name, builtin_catalogue())
    if row is None:
        return ()
    return (f"{row.gguf}:{USUAL_TYPE}", row.repository, *(entry.split(" ", 1)[1] for entry in row.quantized))


def from_row(row: Model, catalogue: Catalogue | None = None) -> Candidate:
    """The candidate of a row, with the uploads of the user's catalogue, by default the package's."""
    config, text = _counted(row.config)
    known = (catalogue or builtin_catalogue()).uploads.values()
    uploads = tuple(u for u in known if u.model == row.id and u.repository == row.gguf)
    return Candidate(row.id, row.name, config, _shapes(row.config), text, row, row.repository, uploads=uploads)


@cache
def _counted(name: str) -> tuple[Config, Parameters]:
    config = config_of(read_config(name), name)
    return config, parameters(config)


@cache
def read_config(name: str) -> dict[str, Any]:
    """Read an official config.json of the package."""
    data: dict[str, Any] = json.loads((FOLDER / "configs" / name).read_text(encoding="utf-8"))
    return data


def published(name: str) -> tuple[Config, tuple[Shape, ...]]:
    """The config and shapes of a model of the catalogue, by the name of its config."""
    return _counted(name)[0], _shapes(name)


@cache
def _shapes(name: str) -> tuple[Shape, ...]:
    metadata = read_config(name)
    return all_shapes(config_of(metadata, name), metadata)


def config_of(metadata: dict[str, Any], where: str) -> Config:
    """Parse a config as loading a checkpoint does, without its quantization, which does not change shapes."""
    plain = {key: value for key, value in metadata.items() if key != "quantization_config"}
    return parse_config(Checkpoint(Path(where), "safetensors", {}, plain, ()))
