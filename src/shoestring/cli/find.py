"""From the MODEL of a command line to a path, and to a loaded model with a progress bar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shoestring.cli.options import KVType
from shoestring.cli.progress import Progress
from shoestring.errors import CheckpointError

if TYPE_CHECKING:
    from shoestring.runtime.model import Model

#: organisation/repository, perhaps with the name of a quantization behind a colon
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def find(name: str) -> Path:
    """The file or folder that MODEL means. Raises CheckpointError when there is none, naming what to do.

    An embedded model, a path, a Hub name, a store's own name, or a short name of the catalogue, in this order.
    """
    from shoestring.samples.embedded import EMBEDDED

    if name in EMBEDDED:
        with Progress(f"writing {name}") as progress:
            return EMBEDDED[name](progress)
    path = Path(name).expanduser()
    if path.exists():
        return path
    if not name.startswith(("/", ".", "~")):
        from shoestring.planning.candidates.candidates import hub_names
        from shoestring.stores import find_checkpoint

        short = hub_names(name)
        for candidate in (name, *short):
            found = find_checkpoint(candidate)
            if found is not None:
                return found
        missing = f"{name} is neither a local path nor a downloaded model: run `shoestring pull {name}`"
        if short:
            raise CheckpointError(f"{missing} to download {short[0]}")
        if _HUB_NAME.fullmatch(name):
            raise CheckpointError(missing)
    raise CheckpointError(
        f"{name or repr(name)} does not exist: give a .gguf file, a folder, a Hub name, {' or '.join(EMBEDDED)}"
    )


def load_model(name: str, *, threads: int | None, kv_type: KVType, context: int | None) -> Model:
    """Load MODEL for a command. Raises as `find` and `shoestring.load` do."""
    from shoestring.runtime.loading import checked_threads, load

    if threads is not None:
        checked_threads(threads)
    path = find(name)
    guard_mapped_files()
    with Progress(f"loading {path.name}") as progress:
        return load(path, threads, kind(kv_type), context, progress)


def kind(kv_type: KVType) -> Literal["f16", "f32"]:
    return "f16" if kv_type is KVType.f16 else "f32"


def guard_mapped_files() -> None:
    """A file that is truncated while it is mapped ends the program with one line, not with a core dump."""
    from shoestring import ops

    ops.install_sigbus_handler()
