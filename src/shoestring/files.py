"""Read and write files that a user or another program names: regular files only, bounded, written whole or not at all.

Opening a pipe waits for its writer, and a device has no end or no undo. So every reader and writer of a named file goes
through here. Links are followed: the caches of the Hub consist of links.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shoestring.errors import CapacityError, RequestError, ShoestringError


def open_regular(path: Path, error: type[ShoestringError] = RequestError) -> BinaryIO:
    """Open a regular file for reading. Never waits.

    Raises FileNotFoundError if it is missing, `error` if it is something else or cannot be read.
    """
    try:
        # A pipe opened without O_NONBLOCK waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as problem:  # ValueError: a null byte in the name
        raise error(f"{path} cannot be read ({_reason(problem)})") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise error(f"{path} is {_kind(mode)}, not a file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, limit: int, error: type[ShoestringError] = RequestError) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises FileNotFoundError if it is missing, `error` if it is larger, not a regular file, or cannot be read.
    """
    with open_regular(path, error) as file:
        try:
            data = file.read(limit + 1)
        except OSError as problem:
            raise error(f"{path} cannot be read ({_reason(problem)})") from None
    if len(data) > limit:
        raise error(f"{path} has more than {limit:,} bytes, the most that such a file may have")
    return data


def read_text(path: Path, limit: int, error: type[ShoestringError] = RequestError) -> str:
    """The UTF-8 text of a regular file of at most `limit` bytes. Raises as `read_bytes`, and for other encodings."""
    try:
        return read_bytes(path, limit, error).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8 text ({problem.reason} at byte {problem.start})") from None


@contextlib.contextmanager
def write_whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name `path` when the block ends, and never exists half-written.

    Only a regular file is replaced; a link, device, pipe or folder is refused. The new file has the permissions of the
    old one. Raises CapacityError if the disk is full, RequestError otherwise.
    """
    mode = check_writable(path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    except OSError as problem:
        raise _cannot_write(path, problem) from None
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        check_writable(path)  # again: a long conversion leaves time for a change
        os.replace(name, path)
    except OSError as problem:
        raise _cannot_write(path, problem) from None
    finally:
        # Still there after a failure or Ctrl-C; renamed after success.
        with contextlib.suppress(OSError):
            os.unlink(name)


def check_writable(path: Path) -> int:
    """The mode of the file to write. Raises RequestError unless `path` is a new name or a writable regular file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
    except (OSError, ValueError) as problem:
        raise _cannot_write(path, problem) from None
    if not stat.S_ISREG(mode):
        raise RequestError(f"{path} is {_kind(mode)}: give the name of a file, or a new name")
    if not os.access(path, os.W_OK):
        raise RequestError(f"{path} is read-only: give another name, or make it writable")
    return stat.S_IMODE(mode)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _cannot_write(path: Path, problem: Exception) -> ShoestringError:
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return CapacityError(f"cannot write {path}: its disk is full: free some space, then try again")
    return RequestError(f"cannot write {path} ({_reason(problem)}): choose a writable folder")


def _reason(problem: Exception) -> str:
    return problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
