"""Write log lines in a thread, so that a paused terminal or a full pipe stops neither the event loop nor the engine.

Lines wait in a bounded queue; what does not fit is dropped and counted in the next line. Every line is printable.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque

from shoestring.printable import printable, shortened

#: Lines that wait, and characters of each.
_MOST_LINES = 1000
_MOST_CHARACTERS = 500


class LogWriter:
    """Writes lines to a file descriptor. Any thread may call it; a call never waits."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def __call__(self, line: str) -> None:
        """Write a line, or drop it if too many wait."""
        with self._changed:
            if len(self._lines) >= _MOST_LINES:
                self._dropped += 1
                return
            if self._dropped:
                self._lines.append(f"{self._dropped} log lines were dropped because nothing read them")
                self._dropped = 0
            self._lines.append(line)
            if self._thread is None:
                # A daemon: the process ends although a write may wait for ever.
                self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, timeout_seconds: float = 1.0) -> bool:
        """Write what waits. Returns False if that takes too long."""
        with self._changed:
            self._closing = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(timeout_seconds)
        return thread is None or not thread.is_alive()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not self._lines and not self._closing:
                    self._changed.wait()
                if not self._lines:
                    return
                line = self._lines.popleft()
            self._write((line + "\n").encode("utf-8", "replace"))

    def _write(self, data: bytes) -> None:
        # Not sys.stderr: a thread that ends inside of its lock would stop the interpreter's end.
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # nobody reads any more
            return


class LogHandler(logging.Handler):
    """Sends the messages of libraries, and tracebacks, to a LogWriter: one printable, shortened line each."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # a message whose arguments do not fit
            text = f"{record.levelname} {record.name}: {record.msg}"
        # Only a traceback has several lines.
        lines = printable(text, lines=True).split("\n") if record.exc_info else [text]
        for line in lines:
            self._writer(shortened(line, _MOST_CHARACTERS))


def stderr_writer() -> LogWriter:
    """A writer to this process's standard error."""
    try:
        return LogWriter(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # none, or one that a program has replaced
        return LogWriter(2)
