"""Resolve the MODEL of a command line to a path, and load it with a progress bar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.cli.options import Loading
from shoestring.cli.progress import Progress
from shoestring.errors import CheckpointError
from shoestring.files import named_path

if TYPE_CHECKING:
    from shoestring.runtime.model import Model

#: organisation/repository, optionally followed by a colon and a quantization
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def find(name: str) -> Path:
    """The file or folder of MODEL. Raises CheckpointError, which says what to do, if there is none.

    Looks for an embedded model, a path, a Hub name or a name in a store, and a short name of the catalogue, in this
    order.
    """
    from shoestring.samples.embedded import EMBEDDED

    if name in EMBEDDED:
        with Progress(f"writing {name}") as progress:
            return EMBEDDED[name](progress)
    path = named_path(name, CheckpointError)
    if path.exists():
        return path
    if not name.startswith(("/", ".", "~")):
        from shoestring.planning.candidates.candidates import hub_names
        from shoestring.stores import find_checkpoint

        short = hub_names(name)
        for candidate in (name, *short):
            checkpoint = find_checkpoint(candidate)
            if checkpoint is not None:
                return checkpoint
        missing = f"{name} is neither a local path nor a downloaded model: run `shoestring pull {name}`"
        if short:
            raise CheckpointError(f"{missing} to download {short[0]}")
        if _HUB_NAME.fullmatch(name):
            raise CheckpointError(missing)
    raise CheckpointError(
        f"{name or repr(name)} does not exist: give a .gguf file, a folder, a Hub name, {' or '.join(EMBEDDED)}"
    )


def load_model(name: str, *, loading: Loading) -> Model:
    """Load MODEL for a command. Raises the errors of `find` and `shoestring.load`."""
    from shoestring.runtime.loading import checked_threads, load

    if loading.threads is not None:
        checked_threads(loading.threads)
    path = find(name)
    guard_mapped_files()
    with Progress(f"loading {path.name}") as progress:
        return load(path, loading.threads, loading.kv, loading.context, progress)


def guard_mapped_files() -> None:
    """If a mapped file is truncated, exit with one line instead of a core dump."""
    from shoestring import ops

    ops.install_sigbus_handler()
