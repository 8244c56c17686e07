"""Open a checkpoint: parse its config, bind its tensors, lay out its state. Reads headers only; no compiled code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

from shoestring.admission import streaming_workspace
from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, Source, bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.models.experts import ExpertLayer
from shoestring.models.families import expert_layers, state_layout
from shoestring.models.layout import Layout
from shoestring.models.shapes import wanted_shapes
from shoestring.models.weights import loaded_bytes
from shoestring.models.workspace import workspace_bytes
from shoestring.streaming.embedding import packed_bytes, recent_bytes, stored_source
from shoestring.streaming.sources import LayerSources, expert_sources
from shoestring.streaming.store import reader_bytes


@dataclass(frozen=True)
class Opened:
    """An opened checkpoint with its config and binding; nothing is loaded yet."""

    checkpoint: Checkpoint
    config: Config
    binding: Binding

    @cached_property
    def expert_layers(self) -> tuple[ExpertLayer, ...]:
        """The layers with routed experts; none in a dense model."""
        return expert_layers(self.config)

    @cached_property
    def expert_sources(self) -> tuple[LayerSources, ...]:
        """Where the experts are. Raises CheckpointError for experts that cannot stay on disk."""
        return expert_sources(self.config, self.binding)

    @cached_property
    def stored_embedding(self) -> Source | None:
        """The embedding, if its rows can stay on disk where the experts do."""
        return stored_source(self.config, self.binding)

    @property
    def layout(self) -> Layout:
        return Layout(state_layout(self.config))

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the weights once loaded."""
        return loaded_bytes(self.config, self.binding).total()

    @cached_property
    def resident_bytes(self) -> int:
        """Bytes of the weights in memory once loaded, if experts and embedding stay on disk."""
        parts = loaded_bytes(self.config, self.binding)
        resident = parts.total() - parts["routed_experts"]
        embedding = self.stored_embedding
        if embedding is not None:
            resident += recent_bytes(embedding) - packed_bytes(embedding)
        return resident

    @cached_property
    def reader_bytes(self) -> int:
        """Bytes of the buffers of the threads that read experts."""
        return reader_bytes(self.expert_sources)

    def streaming_bytes(self, threads: int, rows: int) -> int:
        """Bytes of the process beside weights and state, if experts stay on disk: with passes of `rows` rows."""
        return streaming_workspace(self.config, threads, rows, self.stored_embedding is not None)

    def workspace_bytes(self, threads: int) -> int:
        """Bytes of the process beside weights and state."""
        return workspace_bytes(self.config, threads)


def open_model(path: str | os.PathLike[str]) -> Opened:
    """Open a file or folder and account for every tensor. Raises CheckpointError."""
    checkpoint = open_checkpoint(path)
    config = parse_config(checkpoint)
    return Opened(checkpoint, config, bind(config, checkpoint, wanted_shapes(config)))
