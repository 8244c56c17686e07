"""Write log lines in a thread, so that a paused terminal, a full pipe or a full disk stops nothing else.

Lines wait in a bounded queue; what does not fit or cannot be written is counted in the next line. Every line is
printable.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable

from shoestring.files import reason
from shoestring.printable import printable
from shoestring.server.http.logs.lines import Style
from shoestring.server.http.record import CURRENT

#: Lines that wait.
_MOST_LINES = 1000


class LogWriter:
    """Writes lines to a file descriptor. Any thread may call it; a call never waits.

    descriptor: or a function that returns it, called in the thread before each line. style: of lines about lost lines.
    """

    def __init__(self, descriptor: int | Callable[[], int], style: Style = Style()) -> None:  # noqa: B008
        self._descriptor = descriptor
        self._style = style
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
                dropped = f"{self._dropped} log lines were dropped because nothing read them"
                self._lines.append(self._style.message(dropped))
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
        unwritten = 0
        why = ""
        torn = False
        while True:
            with self._changed:
                while not self._lines and not self._closing:
                    self._changed.wait()
                if not self._lines:
                    return
                line = self._lines.popleft()
            lines = [line]
            if unwritten:
                lines.insert(0, self._style.message(f"{unwritten} log lines could not be written ({why})"))
            text = "".join(f"{line}\n" for line in lines)
            data = (f"\n{text}" if torn else text).encode("utf-8", "replace")
            size = len(data)
            try:
                # Not sys.stderr: a thread that ends inside of its lock would stop the interpreter's end.
                descriptor = self._descriptor if isinstance(self._descriptor, int) else self._descriptor()
                while data:
                    data = data[os.write(descriptor, data) :]
            except OSError as problem:  # a full disk, or nobody reads any more
                unwritten += 1
                why = reason(problem)
            else:
                unwritten = 0
            torn = bool(data) and (len(data) < size or torn)


class LogHandler(logging.Handler):
    """Sends the messages of libraries, and tracebacks, to a LogWriter: one printable, shortened line each.

    The first line has the id of the request that its task or thread works on.
    """

    def __init__(self, writer: LogWriter, style: Style = Style()) -> None:  # noqa: B008
        super().__init__(logging.INFO)  # libraries' loggers stop at warnings, ours do not
        self.setFormatter(logging.Formatter("%(message)s"))
        self._writer = writer
        self._style = style

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # a message whose arguments do not fit
            text = str(record.msg)
        # Only a traceback has several lines.
        first, *more = printable(text, lines=True).split("\n") if record.exc_info else [text]
        entry = CURRENT.get()
        id = "" if entry is None else entry.request_id
        self._writer(self._style.message(first, record.levelname, record.name, id))
        for line in more:
            self._writer(self._style.message(line))


def stderr_descriptor() -> int:
    """The descriptor of this process's standard error."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # none, or one that a program has replaced
        return 2
