"""Find a model's vision tower: inside its folder, or in an mmproj file beside it. Reads headers only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.config.vision import is_mmproj, parse_vision_config
from shoestring.checkpoint.config.vision_types import VisionConfig
from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.names.regions import Binding
from shoestring.checkpoint.names.vision import bind_vision, has_vision_tensors
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError, RequestError
from shoestring.files import named_path, open_regular
from shoestring.media.settings import LlamaSettings, QwenSettings, Settings, mmproj_settings, read_settings
from shoestring.models.tower_weights import load_tower, loaded_bytes
from shoestring.models.towers import KernelWeights, wanted_shapes
from shoestring.spelling import option

#: First bytes of a GGUF file, in which its architecture stands.
_HEAD_BYTES = 4096
#: Types of an mmproj file's matrices, best first: vendors publish BF16, and F32 holds the same numbers.
_BEST_TYPES = ("BF16", "F32", "F16", "Q8_0")


@dataclass(frozen=True)
class Tower:
    """A tower that is there. path: its file, or the model's folder. kind: the type of its attention matrices."""

    path: Path
    config: VisionConfig
    checkpoint: Checkpoint
    binding: Binding

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the weights once loaded."""
        return loaded_bytes(self.config, self.binding)

    @property
    def parameters(self) -> int:
        return sum(source.rows * source.columns for source in self.binding.sources.values())

    @cached_property
    def source_bytes(self) -> dict[str, int]:
        """Bytes in the file by type, most first."""
        sums: dict[str, int] = {}
        for name in {source.tensor.name for source in self.binding.sources.values()}:
            tensor = self.checkpoint.tensors[name]
            sums[tensor.type] = sums.get(tensor.type, 0) + tensor.nbytes
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    @property
    def kind(self) -> str:
        return self.binding.sources["layers.0.query.weight"].tensor.type

    def load(self, progress: Callable[[int, int], None] | None = None) -> KernelWeights:
        """The weights for the kernels. progress: called with bytes done and in all."""
        return load_tower(self.config, self.binding, progress)


@dataclass(frozen=True)
class Vision:
    """What a model sees with. tower: None if it is missing; `missing` then says why, and which file is needed.

    settings: of the processor. notes: what a user might not expect.
    """

    family: Literal["qwen3_5", "llama4"]
    settings: Settings
    tower: Tower | None
    missing: str = ""
    notes: tuple[str, ...] = ()

    def needed(self) -> Tower:
        """The tower. Raises RequestError, which names the missing file."""
        if self.tower is None:
            raise RequestError(self.missing)
        return self.tower


def open_vision(checkpoint: Checkpoint, config: Config, mmproj: str | os.PathLike[str] | None = None) -> Vision:
    """The tower of a model: the file `mmproj`; else the folder's own; else the best mmproj file beside the model that
    belongs to it by its metadata.

    A damaged file that was only found makes no error: the model then reads text, and `missing` says what is wrong.
    Raises CheckpointError for a file `mmproj` that does not fit.
    """
    if mmproj is not None:
        path = named_path(mmproj, CheckpointError)
        if not path.is_file():
            raise CheckpointError(f"{option('mmproj')} {path} does not exist: give the model's mmproj file")
        return _from_file(path, config)
    if checkpoint.format == "safetensors":
        return _from_folder(checkpoint, config)
    return _beside(checkpoint, config)


def _from_folder(checkpoint: Checkpoint, config: Config) -> Vision:
    folder = checkpoint.path
    published = _published(config)
    if not has_vision_tensors(checkpoint):
        what = f"{folder} has no vision tower, so it reads text alone: use the model's complete folder"
        return Vision(config.family, published, None, what)
    try:
        ours = parse_vision_config(checkpoint)
        if ours is None:
            raise CheckpointError(f"{folder / 'config.json'} has no vision_config: use the model's complete folder")
        tower = Tower(folder, ours, checkpoint, bind_vision(ours, checkpoint, wanted_shapes(ours)))
        return Vision(config.family, read_settings(folder, config.family), tower)
    except CheckpointError as error:
        return Vision(config.family, published, None, str(error))


def _from_file(path: Path, config: Config) -> Vision:
    checkpoint = open_gguf(path)
    if not is_mmproj(checkpoint):
        name = checkpoint.metadata.get("general.architecture")
        raise CheckpointError(f"{path} is no mmproj file, but a model ({name}): give the file with the vision tower")
    ours = parse_vision_config(checkpoint)
    assert ours is not None
    if ours.family != config.family or ours.out_hidden_size != config.hidden_size:
        raise CheckpointError(
            f"{path} is the vision tower of another model ({ours.family}, for {ours.out_hidden_size} numbers a token; "
            f"this model is {config.family}, with {config.hidden_size}): give the one that was published with it"
        )
    tower = Tower(path, ours, checkpoint, bind_vision(ours, checkpoint, wanted_shapes(ours)))
    return Vision(config.family, mmproj_settings(checkpoint.metadata, str(path)), tower)


def _beside(checkpoint: Checkpoint, config: Config) -> Vision:
    """The best of the mmproj files in the folder of a GGUF file, and of the repository if the Hub's cache has it in a
    subfolder."""
    folder = checkpoint.path.parent
    paths = sorted(folder.glob("*.gguf"))
    if folder.parent.parent.name == "snapshots":
        paths += sorted(folder.parent.glob("*.gguf"))
    fitting, problems = [], []
    for path in paths:
        if path in checkpoint.files or not _may_be_mmproj(path):
            continue
        try:
            fitting.append(_from_file(path, config))
        except CheckpointError as error:
            problems.append(str(error))
    towers = [(_BEST_TYPES.index(v.tower.kind) if v.tower.kind in _BEST_TYPES else 9, v) for v in fitting if v.tower]
    if towers:
        _, best = min(towers, key=lambda item: (item[0], str(item[1].tower and item[1].tower.path)))
        others = ", ".join(v.tower.path.name for _, v in towers if v is not best and v.tower is not None)
        note = () if not others else (f"{best.needed().path.name} is used, not {others}: {option('mmproj')} chooses",)
        return Vision(best.family, best.settings, best.tower, notes=note)
    missing = (
        f"{checkpoint.path.name} reads text alone: its vision tower is a file of its own, mmproj-….gguf, which is "
        f"published with the model: put it into {folder}, or give it with {option('mmproj')}"
    )
    return Vision(config.family, _published(config), None, "; ".join([missing, *problems]))


def _may_be_mmproj(path: Path) -> bool:
    """Whether a file may be an mmproj file, by its first bytes: a model's header can take a second to read."""
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, RequestError):
        return False
    return head.startswith(b"GGUF") and b"clip" in head


def _published(config: Config) -> Settings:
    return QwenSettings() if config.family == "qwen3_5" else LlamaSettings()
