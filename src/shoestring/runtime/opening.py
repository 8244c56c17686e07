"""Open a checkpoint and understand it: config, names, state layout. Reads headers only, needs no compiled code."""

from __future__ import annotations

import os
from dataclasses import dataclass

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.engine.pools import Layout
from shoestring.models.families import state_layout
from shoestring.models.shapes import wanted_shapes


@dataclass(frozen=True)
class Opened:
    """A checkpoint that was understood; nothing is loaded yet."""

    checkpoint: Checkpoint
    config: Config
    binding: Binding

    @property
    def layout(self) -> Layout:
        return Layout(state_layout(self.config))


def open_model(path: str | os.PathLike[str]) -> Opened:
    """Open a file or folder and account for every tensor. Raises CheckpointError."""
    checkpoint = open_checkpoint(path)
    config = parse_config(checkpoint)
    return Opened(checkpoint, config, bind(config, checkpoint, wanted_shapes(config)))
