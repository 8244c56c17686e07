"""Find a MODEL by any of its names: embedded, a path, pulled or in a store, a short name of the catalogue."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from shoestring.errors import CheckpointError
from shoestring.files import named_path
from shoestring.runtime.scripted import DEMO_SCRIPTED

#: organisation/repository, optionally followed by a colon and a quantization
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def find(model: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None) -> Path:
    """The file or folder of a MODEL: embedded, a path, a Hub name or a store's own, a short name, in this order.

    progress: called while an embedded model is written for the first time, with bytes done and in all. Raises
    CheckpointError, which says what to do, if there is none; RequestError if a name matches several.
    """
    from shoestring.samples.embedded import EMBEDDED

    if isinstance(model, bool) or not isinstance(model, str | os.PathLike):
        raise TypeError(f"the model is {model!r}: give a path or a name")
    name = os.fspath(model)
    if not isinstance(model, str):
        return named_path(name, CheckpointError)
    if name in EMBEDDED:
        return EMBEDDED[name](progress)
    if name == DEMO_SCRIPTED:
        raise CheckpointError(f"{name} is a script without a file: run, chat, serve, batch and shoestring.load take it")
    path = named_path(name, CheckpointError)
    if name and path.exists():
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
    embedded = " or ".join([*EMBEDDED, DEMO_SCRIPTED])
    raise CheckpointError(f"{name or repr(name)} does not exist: give a .gguf file, a folder, a Hub name, {embedded}")
