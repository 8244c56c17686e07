"""Open a checkpoint: parse its config, bind its tensors, lay out its state. Reads headers only; no compiled code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.models.families import state_layout
from shoestring.models.layout import Layout
from shoestring.models.shapes import wanted_shapes
from shoestring.models.weights import loaded_bytes
from shoestring.models.workspace import workspace_bytes


@dataclass(frozen=True)
class Opened:
    """An opened checkpoint with its config and binding; nothing is loaded yet."""

    checkpoint: Checkpoint
    config: Config
    binding: Binding

    @property
    def layout(self) -> Layout:
        return Layout(state_layout(self.config))

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the weights once loaded."""
        return loaded_bytes(self.config, self.binding).total()

    def workspace_bytes(self, threads: int) -> int:
        """Bytes of the process beside weights and state."""
        return workspace_bytes(self.config, threads)


def open_model(path: str | os.PathLike[str]) -> Opened:
    """Open a file or folder and account for every tensor. Raises CheckpointError."""
    checkpoint = open_checkpoint(path)
    config = parse_config(checkpoint)
    return Opened(checkpoint, config, bind(config, checkpoint, wanted_shapes(config)))
