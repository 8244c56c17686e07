"""Read and write files that a user or another program names: regular files only, bounded, written whole or not at all.

Opening a pipe waits for its writer, and a device has no end or no undo. So every reader and writer of a named file goes
through here. Readers follow links: the caches of the Hub consist of links.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shoestring.errors import CapacityError, RequestError, ShoestringError
from shoestring.sizes import human

try:
    import fcntl
except ImportError:  # no locks: nothing stale is removed, and two writers both write
    fcntl = None  # type: ignore[assignment]

#: Names of open descriptors: what a shell passes for `<(command)`, and stdin.
_DESCRIPTOR = re.compile(r"-|/dev/stdin|/(?:dev|proc/self)/fd/(\d{1,9})")
_BLOCK = 1 << 20
#: Longest part of a name that goes into the name of a temporary file; most file systems allow 255 bytes.
_NAME_CHARACTERS = 50


def named_path(text: str | os.PathLike[str], error: type[ShoestringError] = RequestError) -> Path:
    """The path that a user wrote, with a leading ~ replaced. Raises `error` for ~ of an unknown user, a zero byte."""
    path = Path(text)
    if "\0" in str(path):
        raise error(f"{str(path)!r} is not a path: it has a zero byte")
    try:
        return path.expanduser()
    except RuntimeError:
        raise error(f"{path} is not a path: its ~ names no user of this machine: write the whole path") from None


# --- reading -------------------------------------------------------------------------------------------------------


def open_regular(path: Path, error: type[ShoestringError] = RequestError) -> BinaryIO:
    """Open a regular file for reading. Never waits.

    Raises FileNotFoundError if it is missing, `error` if it is something else or cannot be read.
    """
    try:
        # A pipe opened without O_NONBLOCK waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as problem:  # ValueError: a null byte in the name
        raise error(f"{path} cannot be read ({reason(problem)})") from None
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
        return _all(path, file, limit, error)


def read_text(path: Path, limit: int, error: type[ShoestringError] = RequestError) -> str:
    """The UTF-8 text of a regular file of at most `limit` bytes. Raises as `read_bytes`, and for other encodings."""
    return _text(path, read_bytes(path, limit, error), error)


def read_input(path: Path, limit: int) -> bytes:
    """The bytes of a file that a user names: a regular file, or an open descriptor, which may be a pipe.

    Descriptors are "-", /dev/stdin, and /dev/fd/N, which a shell writes for `<(command)`. Raises RequestError if the
    file is missing, has more than `limit` bytes, is another kind of file, or cannot be read.
    """
    match = _DESCRIPTOR.fullmatch(str(path))
    if match is None:
        try:
            return read_bytes(path, limit)
        except FileNotFoundError:
            raise RequestError(f"{path} cannot be read (No such file or directory)") from None
    number = int(match[1] or 0)
    if number == 0:
        if sys.stdin is None:
            raise RequestError("stdin is closed: give a file")
        return _all(Path("stdin"), _readable("stdin", sys.stdin.buffer), limit, RequestError)
    try:
        file = os.fdopen(os.dup(number), "rb")
    except (OSError, OverflowError) as problem:
        raise RequestError(f"{path} cannot be read ({reason(problem)})") from None
    with file:
        return _all(path, _readable(str(path), file), limit, RequestError)


def read_input_text(path: Path, limit: int) -> str:
    """The UTF-8 text of `read_input`. Raises RequestError."""
    return _text(path, read_input(path, limit), RequestError)


def reason(problem: Exception) -> str:
    """What an operating system's error says, without the name of the file."""
    return problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)


def _readable(name: str, file: BinaryIO) -> BinaryIO:
    """An open descriptor that is a file, a pipe, a socket or a terminal. Raises RequestError for another kind."""
    try:
        descriptor = file.fileno()
    except OSError:  # in memory
        return file
    status = os.fstat(descriptor)
    is_null = status.st_rdev == os.stat(os.devnull).st_rdev
    endless = stat.S_ISCHR(status.st_mode) and not is_null and not os.isatty(descriptor)
    if endless or stat.S_ISBLK(status.st_mode):
        raise RequestError(f"{name} is {_kind(status.st_mode)}, not a file or a pipe")
    return file


def _all(path: Path, file: BinaryIO, limit: int, error: type[ShoestringError]) -> bytes:
    blocks, size = [], 0
    try:
        # The size first, so that a large file costs nothing; a pipe has none.
        size_known = os.fstat(file.fileno()).st_size if isinstance(file, io.FileIO | io.BufferedReader) else 0
        while size_known <= limit and (block := file.read(min(_BLOCK, limit + 1 - size))):
            blocks.append(block)
            size += len(block)
    except OSError as problem:
        raise error(f"{path} cannot be read ({reason(problem)})") from None
    if max(size, size_known) > limit:
        raise error(f"{path} has more than {limit:,} bytes, the most that such a file may have")
    return b"".join(blocks)


def _text(path: Path, data: bytes, error: type[ShoestringError]) -> str:
    name = "stdin" if str(path) == "-" else path
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{name} is not UTF-8 text (byte {problem.start}): convert it to UTF-8 first") from None


# --- writing -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def write_whole(path: Path, *, begins: bytes = b"", size: int = 0) -> Iterator[BinaryIO]:
    """A binary file that takes the name `path` when the block ends, and never exists half-written.

    Replaces only a regular file that is empty or begins with `begins`; refuses a link, device, pipe or folder. The new
    file has the permissions of the old one. size: bytes that the disk must have free. Removes the temporary files that
    ended processes left of the same target.

    Raises CapacityError if the disk is or becomes full, RequestError otherwise.
    """
    mode = check_writable(path, begins=begins)
    part: Path | None = None
    try:
        _remove_stale(path)
        check_space(path, size)
        part, descriptor = _create_part(path)
        with os.fdopen(descriptor, "wb", buffering=_BLOCK) as file:
            yield file
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            check_writable(path, begins=begins)  # again: a long conversion leaves time for a change
            os.replace(part, path)
    except OSError as problem:
        raise cannot_write(path, problem) from None
    finally:
        # Still there after a failure or Ctrl-C; renamed after success.
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)


@contextlib.contextmanager
def scratch_file(folder: Path, size: int) -> Iterator[BinaryIO]:
    """A regular file of `size` zero bytes on the disk of a folder, without a name: it goes with its last descriptor.

    Raises CapacityError if the disk has less than `size` bytes free, RequestError if it cannot be written.
    """
    try:
        check_space(folder / "file", size)
        with tempfile.TemporaryFile("w+b", dir=folder, buffering=0) as file:
            os.ftruncate(file.fileno(), size)
            yield file
    except (OSError, OverflowError) as problem:
        raise cannot_write(folder, problem) from None


def check_writable(path: Path, *, begins: bytes = b"") -> int | None:
    """The permissions of the file to replace; None for a new name.

    Raises RequestError unless `path` is a new name, or a writable regular file that is empty or begins with `begins`.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise cannot_write(path, problem) from None
    if not stat.S_ISREG(mode):
        raise RequestError(f"{path} is {_kind(mode)}: give the name of a file, or a new name")
    if not os.access(path, os.W_OK) or not mode & 0o222:
        raise RequestError(f"{path} is read-only: give another name, or make it writable")
    if begins:
        with open_regular(path) as file:
            beginning = file.read(len(begins))
        if beginning not in (b"", begins):
            raise RequestError(f"{path} exists and has other contents: give another name, or remove it first")
    return stat.S_IMODE(mode)


def open_append(path: Path) -> int:
    """A descriptor that reads `path` and appends to it, created if it is missing. Never waits.

    Raises RequestError unless `path` is a new name or a writable regular file, CapacityError for a full disk.
    """
    check_writable(path)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as problem:
        raise cannot_write(path, problem) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise RequestError(f"{path} is {_kind(mode)}: give the name of a file, or a new name")
    return descriptor


def check_space(path: Path, size: int) -> None:
    """Raise CapacityError if the disk of `path` has less than `size` bytes free."""
    missing = size - shutil.disk_usage(path.parent).free if size else 0
    if missing > 0:
        raise CapacityError(
            f"{path} needs {human(size, 'up')}: free {human(missing, 'up')} more on its disk, then try again"
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process or thread is inside this block for the same `path`.

    The lock is a file beside `path`, which the last one removes. Where the file system has no locks, nothing waits.
    """
    lock = path.with_name(f".{path.name[:_NAME_CHARACTERS]}.lock")
    descriptor = None
    with contextlib.suppress(OSError):
        descriptor = open_locked(lock)
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(lock)
            os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this descriptor unless another one has the lock. True also where no locks exist."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        return problem.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def open_locked(path: Path) -> int:
    """Open a regular file for reading and writing, created if it is missing; wait until no other descriptor locks it.

    Raises OSError. Where the file system has no locks, does not wait.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a file", str(path))
            _wait_for_lock(descriptor)
            if _same_file(path, descriptor):
                return descriptor  # else: the one before renamed or removed it while we waited
        except BaseException:  # Ctrl-C while waiting, too
            os.close(descriptor)
            raise
        os.close(descriptor)


def _wait_for_lock(descriptor: int) -> None:
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _create_part(path: Path) -> tuple[Path, int]:
    """A new temporary file beside `path`, locked as long as it is open."""
    while True:
        # A random name with O_EXCL: the kernel applies the umask, which only a whole process can ask for.
        part = path.with_name(f".{path.name[:_NAME_CHARACTERS]}.{secrets.token_hex(8)}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            _wait_for_lock(descriptor)
            if _same_file(part, descriptor):
                return part, descriptor  # else: another writer removed it before it was locked
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    """Remove the temporary files of `path` whose writers have ended, which leaves them unlocked."""
    name = re.compile(rf"\.{re.escape(path.name[:_NAME_CHARACTERS])}\.[0-9a-f]{{16}}\.part")
    try:
        entries = os.listdir(path.parent)
    except PermissionError:  # a folder to write in, not to list
        return
    for entry in entries:
        if name.fullmatch(entry) is None:
            continue
        remove_unlocked(path.with_name(entry))


def remove_unlocked(path: Path) -> None:
    """Remove a regular file unless an open descriptor has its lock. Does nothing where no locks exist."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
        finally:
            os.close(descriptor)


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


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


def cannot_write(path: Path, problem: Exception) -> ShoestringError:
    """The error for a file that could not be written: CapacityError for a full disk, else RequestError."""
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return CapacityError(f"cannot write {path}: its disk is full: free some space, then try again")
    return RequestError(f"cannot write {path} ({reason(problem)}): choose a writable folder")
