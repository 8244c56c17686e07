"""Resolve the MODEL of a command line to a path, and load it with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.cli.options import Loading
from shoestring.cli.progress import Progress
from shoestring.cli.say import say
from shoestring.cli.union import licence_line
from shoestring.runtime import finding
from shoestring.runtime.scripted import DEMO_SCRIPTED

if TYPE_CHECKING:
    from shoestring.runtime.loading import Prepared
    from shoestring.runtime.model import Model


def find(name: str) -> Path:
    """The file or folder of MODEL (runtime/finding.py). Raises CheckpointError."""
    with Progress(f"writing {name}") as progress:
        return finding.find(name, progress)


def load_model(name: str, *, loading: Loading) -> Model:
    """Load MODEL for a command. Raises the errors of `find` and `shoestring.load`."""
    from shoestring.runtime.loading import checked_threads, load, prepare

    if loading.threads is not None:
        checked_threads(loading.threads)
    options: dict[str, Any] = {
        "experts_per_token": loading.experts_per_token,
        "record_routes": loading.record_routes,
        **loading.pictures(),
    }
    if name == DEMO_SCRIPTED:
        return load(name, context=loading.context, **options)
    path = find(name)
    guard_mapped_files()
    prepared = prepare(path, loading.threads, loading.kv, loading.context, memory=loading.memory, **options)
    announce(prepared)
    line = licence_line(prepared.opened.config.family, name)
    if line is not None:
        say(line, err=True)
    with Progress(f"loading {path.name}") as progress:
        return prepared.load(progress)


def announce(prepared: Prepared) -> None:
    """Say on stderr what is unusual about a model before it is loaded: another model's answers, experts on disk."""
    from shoestring.runtime.streamed.lines import start_lines

    if prepared.changed_experts is not None:
        say(f"uses {prepared.changed_experts}: the answers are not those of the model as it was trained", err=True)
    if prepared.forecast is not None:
        for line in start_lines(prepared.plan, prepared.forecast):
            say(line, err=True)


def guard_mapped_files() -> None:
    """If a mapped file is truncated, exit with one line instead of a core dump."""
    from shoestring import ops

    ops.install_sigbus_handler()
