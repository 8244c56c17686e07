"""Map a file for reading: its bytes as a numpy view, and its identity (device, inode, size, mtime) at that time.

The map stays valid after the file is unlinked.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoestring.errors import CheckpointError
from shoestring.files import open_regular

#: Bytes around a page that Linux may map together with it: the largest folio.
FAULT_AROUND = 2 << 20
Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of change in nanoseconds."""


@dataclass(frozen=True)
class MappedFile:
    """`data`: [size] uint8, read-only; keeps the map alive."""

    path: Path
    data: npt.NDArray[np.uint8]
    identity: Identity

    def head(self, size: int) -> bytes:
        """A copy of the first `size` bytes, or of all if the file is shorter. Reads them without the map."""
        try:
            with open_regular(self.path, CheckpointError) as file:
                if identity(os.fstat(file.fileno())) != self.identity:
                    raise CheckpointError(f"{self.path} changed while it was being opened: load it again")
                return file.read(min(size, len(self.data)))
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read ({error.strerror})") from None


def map_file(path: Path) -> MappedFile:
    """Map a whole regular file. Raises CheckpointError if it is missing, empty or not readable."""
    try:
        with open_regular(path, CheckpointError) as file:
            status = os.fstat(file.fileno())
            if status.st_size == 0:
                raise CheckpointError(f"{path} is empty: download it again")
            mapped = mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    return MappedFile(path, np.frombuffer(mapped, np.uint8), identity(status))


def mapping_of(data: npt.NDArray[np.uint8]) -> mmap.mmap | None:
    """The map of which the bytes are a read-only view, or None."""
    owner: object = data
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return None if data.flags.writeable else owner


def release_pages(data: npt.NDArray[np.uint8], start: int, end: int) -> None:
    """Ask the kernel to unmap the pages of bytes `start` to `end` of a mapped tensor from this process.

    Includes the neighbouring pages that the kernel maps together with these. Later reads map them again from the page
    cache.
    """
    mapping = mapping_of(data)
    if mapping is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    base = np.frombuffer(mapping, dtype=np.uint8)
    begin = data.ctypes.data - base.ctypes.data
    first = max(0, begin + start - FAULT_AROUND) // mmap.PAGESIZE * mmap.PAGESIZE
    mapping.madvise(mmap.MADV_DONTNEED, first, min(begin + end + FAULT_AROUND, len(mapping)) - first)


def drop_pages(path: Path, data: npt.NDArray[np.uint8]) -> None:
    """Drop a mapped file from this process's memory and from the page cache. `data`: any mapped bytes of it.

    Nothing is lost: later reads read the file again. Pages that another process has mapped stay.
    """
    mapping = mapping_of(data)
    if mapping is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    mapping.madvise(mmap.MADV_DONTNEED)
    with suppress(OSError, CheckpointError):  # it may be gone by now
        drop_cached(path)


def drop_cached(path: Path) -> None:
    """Drop a file's pages from the page cache, but for those that a process has mapped. Raises OSError and
    CheckpointError if it cannot be opened."""
    if hasattr(os, "posix_fadvise"):
        with open_regular(path, CheckpointError) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
