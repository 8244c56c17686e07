"""Open the path that a user gives: a GGUF file or part of one, a Hugging Face folder, a folder with one GGUF file.

Also checks whether the files of an open checkpoint have changed, and drops them from the page cache.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.formats.mapping import drop_pages, identity
from shoestring.checkpoint.formats.safetensors import has_safetensors, open_safetensors
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError
from shoestring.files import named_path


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint: map its tensors and parse its metadata, without checking the model.

    Raises CheckpointError if there is no usable file, or more than one candidate.
    """
    path = named_path(path, CheckpointError)
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise CheckpointError(f"{path} does not exist: give a .gguf file or a folder with safetensors")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path} has no config: give its folder {path.parent}")
    return open_gguf(path)


def _open_folder(folder: Path) -> Checkpoint:
    ggufs = sorted(p for p in folder.glob("*.gguf") if not _is_later_part(p))
    if has_safetensors(folder):
        if ggufs:
            raise CheckpointError(
                f"{folder} contains both safetensors and {ggufs[0].name}: give the file, or move one of them"
            )
        return open_safetensors(folder)
    if len(ggufs) > 1:
        # The vision part of a model is a separate file beside it, with architecture clip.
        ggufs = [p for p in ggufs if open_gguf(p).metadata.get("general.architecture") != "clip"] or ggufs
    if len(ggufs) > 1:
        names = ", ".join(p.name for p in ggufs[:5])
        raise CheckpointError(f"{folder} contains {len(ggufs)} GGUF models ({names}…): give one file")
    if not ggufs:
        raise CheckpointError(f"{folder} contains neither a GGUF file nor safetensors: give another folder")
    return open_gguf(ggufs[0])


def _is_later_part(path: Path) -> bool:
    match = re.search(r"-(\d{5})-of-\d{5}\.gguf$", path.name)
    return match is not None and int(match[1]) > 1


def check_unchanged(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError if a file of the checkpoint was rewritten or replaced since it was opened.

    Accepts deleted files: the map keeps their contents.
    """
    for path, before in zip(checkpoint.files, checkpoint.identities, strict=True):
        try:
            now = identity(os.stat(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CheckpointError(f"{path} can no longer be read ({error.strerror})") from error
        if now != before:
            raise CheckpointError(f"{path} has changed since it was loaded: load it again")


def leave_page_cache(checkpoint: Checkpoint) -> None:
    """Drop the files of a loaded checkpoint from the page cache: what the kernel read ahead there counts as memory.

    Vectors and headers are read through the map, and each read brings up to `read_ahead_kb` with it.
    """
    for path, tensor in {tensor.file: tensor for tensor in checkpoint.tensors.values()}.items():
        drop_pages(path, tensor.data)
