"""Notices what happens to files that stay open for streaming, before wrong bytes become answers.

A file that is removed, renamed over or touched keeps its bytes under our descriptor: reading goes on, with one warning.
A file that is truncated or rewritten in place does not: what needs it fails, with file and reason. The kernel changes
the times of a file that is written, so one fstat shows whether the digest of its beginning and end has to be compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from shoestring.checkpoint.formats.mapping import identity
from shoestring.errors import CheckpointError
from shoestring.files import open_regular, reason

#: Bytes at both ends of a file that the digest covers: a header, or as much of it as tells two models apart.
_HEAD, _TAIL = 1 << 20, 4 << 10
#: A file that was written to so recently may still be growing: look twice, this many seconds apart.
_FRESH, _PAUSE = 5.0, 0.5


class WatchedFile:
    """An open file, with what it was when it was opened.

    Raises CheckpointError if it cannot be read, or is still being written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warned = False
        if path.with_name(path.name + ".aria2").exists():
            raise CheckpointError(
                f"{path} is still being downloaded ({path.name}.aria2 is beside it): wait for its end"
            )
        try:
            self._file = open_regular(path, CheckpointError)
        except FileNotFoundError:
            raise CheckpointError(f"{path} does not exist") from None
        try:
            _refuse_growing(path, self._file.fileno())
            self._status = os.fstat(self._file.fileno())
            self._digest = self._digest_now()
        except OSError as error:
            self._file.close()
            raise CheckpointError(f"{path} cannot be read ({reason(error)})") from None
        except CheckpointError:
            self._file.close()
            raise

    def check(self, warn: Callable[[str], None]) -> None:
        """Warn once if the name leads elsewhere or the file was touched.

        Raises CheckpointError if the file's size, beginning or end is another one than when it was opened.
        """
        try:
            now = os.fstat(self._file.fileno())
            if _times(now) == _times(self._status):  # of its links too: removing or replacing a name changes ctime
                return
            if now.st_size != self._status.st_size:
                raise CheckpointError(
                    f"{self.path} had {self._status.st_size} bytes when it was loaded and has {now.st_size} now: "
                    "restore the file, or load it again"
                )
            if self._digest_now() != self._digest:
                raise CheckpointError(f"{self.path} was rewritten since it was loaded: restore it, or load it again")
        except OSError as error:
            raise CheckpointError(f"{self.path} can no longer be read ({reason(error)}): load it again") from None
        touched = now.st_mtime_ns != self._status.st_mtime_ns
        self._status = now
        if touched or not self._has_its_name():
            self._warn_once(warn)

    def _warn_once(self, warn: Callable[[str], None]) -> None:
        if not self._warned:
            self._warned = True
            warn(f"{self.path} was removed, replaced or touched; the model goes on with the file that it loaded")

    def _has_its_name(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.stat(self.path), self._status)
        return False

    def _digest_now(self) -> bytes:
        descriptor, size = self._file.fileno(), self._status.st_size
        head = os.pread(descriptor, min(_HEAD, size), 0)
        tail = os.pread(descriptor, min(_TAIL, size), max(0, size - _TAIL))
        return hashlib.blake2b(head + tail, digest_size=16).digest()

    def close(self) -> None:
        self._file.close()


class Watch:
    """All files of a model. Only the engine's thread calls it. warn: called with a sentence, once a file."""

    def __init__(self, paths: Iterable[Path], warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._files: list[WatchedFile] = []
        try:
            for path in paths:
                self._files.append(WatchedFile(path))
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Look at every file, which takes microseconds. Raises CheckpointError as `WatchedFile.check`."""
        for file in self._files:
            file.check(self._warn)

    def close(self) -> None:
        for file in self._files:
            file.close()


def _times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _refuse_growing(path: Path, descriptor: int) -> None:
    before = os.fstat(descriptor)
    if abs(time.time() - before.st_mtime) < _FRESH:
        time.sleep(_PAUSE)
        if identity(os.fstat(descriptor)) != identity(before):
            raise CheckpointError(f"{path} is still being written: wait for the end of its download, then try again")
