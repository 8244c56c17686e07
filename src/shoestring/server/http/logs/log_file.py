"""The file of --log-file: appended to, and followed by its name, so that any program may rotate it.

A tool that renames the file needs to tell nobody: the next line goes to a new file of the old name.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from shoestring.errors import RequestError, ShoestringError
from shoestring.files import check_writable, named_path, open_append, open_regular
from shoestring.server.http.logs.lines import Style
from shoestring.server.http.settings import Settings

#: How lines of ours begin in a file: with a date, or as JSON.
_OURS = re.compile(rb"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  |\{\"time\": \")", re.MULTILINE)
#: Bytes at the beginning of a file in which one of our lines has to begin.
_BEGINNING = 1 << 16


def open_log_file(settings: Settings) -> LogFile | None:
    """The settings' log file, if they name one. Raises RequestError, CapacityError."""
    if settings.log_file is None:
        return None
    return LogFile(_path(settings), Style(settings.json_log, dated=True))


def check_log_file(settings: Settings) -> str:
    """Whether the log file can be opened, without creating it: its path. Raises RequestError."""
    path = _path(settings)
    if check_writable(path) is not None:
        with open_regular(path) as file:
            _check_ours(path, file.read(_BEGINNING))
    elif not os.access(path.parent, os.W_OK):
        raise RequestError(f"cannot write {path}: choose a writable folder")
    return str(path)


class LogFile:
    """An open log file. `descriptor` is for one thread."""

    def __init__(self, path: Path, style: Style) -> None:
        """Raises RequestError if the file cannot be opened, or has other contents than a log of ours."""
        self.path = path
        self.style = style
        self._descriptor = _open(path)
        self._problem = ""

    def descriptor(self) -> int:
        """The descriptor to append to: of the file that has the name now, created if none has it."""
        if not self._is_current():
            try:
                descriptor = _open(self.path)
            except ShoestringError as error:
                self._report(str(error))
            else:
                os.close(self._descriptor)
                self._descriptor, self._problem = descriptor, ""
        return self._descriptor

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def _report(self, problem: str) -> None:
        """Say once, in the old file, why there is no new one."""
        if problem != self._problem:
            self._problem = problem
            os.write(self._descriptor, f"{self.style.message(problem, 'WARNING')}\n".encode("utf-8", "replace"))


def _path(settings: Settings) -> Path:
    return named_path(settings.log_file or "")


def _open(path: Path) -> int:
    descriptor = open_append(path)
    try:
        _check_ours(path, os.pread(descriptor, _BEGINNING, 0))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_ours(path: Path, beginning: bytes) -> None:
    if beginning.strip() and _OURS.search(beginning) is None:
        raise RequestError(f"{path} exists and is no log of `serve`: give another name, or remove it first")
