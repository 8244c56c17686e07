"""Show a progress bar on stderr for long operations; occasional lines if stderr is not a terminal."""

from __future__ import annotations

import sys
import time

from shoestring.printable import printable
from shoestring.sizes import human

#: Operations that finish sooner show nothing.
_SILENT_SECONDS = 1.5
_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 15.0
_WIDTH = 30


class Progress:
    """`with Progress("loading") as progress:` … `progress(done, total)`; done and total in any unit."""

    def __init__(self, what: str, unit: str = "bytes") -> None:
        self._what = printable(what)
        self._unit = unit
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (_SILENT_SECONDS if self._terminal else 2 * _SILENT_SECONDS)
        self._drawn = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._drawn and self._terminal:
            print("\r" + " " * self._drawn + "\r", end="", file=sys.stderr, flush=True)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        share = min(1.0, done / total) if total else 0.0
        amount = f"{human(done)} of {human(total)}" if self._unit == "bytes" else f"{done} of {total} {self._unit}"
        if self._terminal:
            bar = "#" * int(share * _WIDTH)
            line = f"{self._what} [{bar:-<{_WIDTH}}] {share:4.0%} {amount}"
            print("\r" + line.ljust(self._drawn), end="", file=sys.stderr, flush=True)
            self._drawn = len(line)
        else:
            print(f"{self._what}: {share:.0%}, {amount}", file=sys.stderr, flush=True)
        self._next = now + (_REDRAW_SECONDS if self._terminal else _LINE_SECONDS)
