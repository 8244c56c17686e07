"""Maps a file for reading: its bytes as a numpy view, and who it was when it was mapped.

Owns opening and mapping, nothing of what is inside. The map stays valid when the file is unlinked.
"""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoestring.errors import CheckpointError

Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of change in nanoseconds."""


@dataclass(frozen=True)
class MappedFile:
    """`data` [size] uint8, read-only; it keeps the map alive."""

    path: Path
    data: npt.NDArray[np.uint8]
    identity: Identity

    def head(self, size: int) -> bytes:
        """A copy of the first `size` bytes, read and not mapped; shorter where the file is."""
        size = min(size, len(self.data))
        try:
            with self.path.open("rb") as file:
                if identity(os.fstat(file.fileno())) != self.identity:
                    raise CheckpointError(f"{self.path} was changed while it was opened: load it again")
                return file.read(size)
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read ({error.strerror})") from error


def map_file(path: Path) -> MappedFile:
    """Map a whole regular file. Raises CheckpointError when it is missing, empty or not readable."""
    try:
        # Opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointError(f"{path} is not a file")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size == 0:
                raise CheckpointError(f"{path} is empty: download it again")
            mapped = mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    return MappedFile(path, np.frombuffer(mapped, np.uint8), identity(status))


def identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
