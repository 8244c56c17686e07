"""Resolve the MODEL of a command line to a path, and load it with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.cli.options import Loading
from shoestring.cli.progress import Progress
from shoestring.runtime import finding
from shoestring.runtime.scripted import DEMO_SCRIPTED

if TYPE_CHECKING:
    from shoestring.runtime.model import Model


def find(name: str) -> Path:
    """The file or folder of MODEL (runtime/finding.py). Raises CheckpointError."""
    with Progress(f"writing {name}") as progress:
        return finding.find(name, progress)


def load_model(name: str, *, loading: Loading) -> Model:
    """Load MODEL for a command. Raises the errors of `find` and `shoestring.load`."""
    from shoestring.runtime.loading import checked_threads, load

    if loading.threads is not None:
        checked_threads(loading.threads)
    path = name if name == DEMO_SCRIPTED else find(name)
    guard_mapped_files()
    with Progress(f"loading {name if isinstance(path, str) else path.name}") as progress:
        return load(path, loading.threads, loading.kv, loading.context, progress, memory=loading.memory)


def guard_mapped_files() -> None:
    """If a mapped file is truncated, exit with one line instead of a core dump."""
    from shoestring import ops

    ops.install_sigbus_handler()
