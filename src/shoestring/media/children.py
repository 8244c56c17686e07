"""Run child.py, which decodes AVIF and video: foreign decoders of great size, in a process with little memory and time.

The data reach the child as an open file without a name, the request through its stdin. Its answer comes through a pipe:
lines of JSON, and bytes whose number the caller knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from shoestring.errors import RequestError
from shoestring.printable import shortened

_CHILD = Path(__file__).with_name("child.py")
#: Seconds of wall time for each second of the processor that a child may take: other work slows it.
_PATIENCE = 10
_LONGEST_LINE = 1 << 20


class Child:
    """A running child. `answer` first, then `read` as often as it sends."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        assert process.stdout is not None
        self._process = process
        self._output: IO[bytes] = process.stdout
        self._name = name

    def answer(self) -> dict[str, Any]:
        """The next line. Raises RequestError if the child refused the file, or ended beyond its limits."""
        try:
            answer = json.loads(self._output.readline(_LONGEST_LINE))
        except ValueError:
            raise self._ended() from None
        if answer.get("problem"):
            raise RequestError(f"{self._name} cannot be decoded: {shortened(answer['problem'], 200)}")
        return dict(answer)

    def read(self, size: int) -> bytes:
        data = self._output.read(size)
        if len(data) != size:
            raise self._ended()
        return data

    def _ended(self) -> RequestError:
        return RequestError(
            f"{self._name} cannot be decoded within its limits of memory and time: make it smaller or shorter, or "
            "save it again"
        )


@contextlib.contextmanager
def run_child(data: bytes, request: Mapping[str, Any], name: str) -> Iterator[Child]:
    """A child that works on `data`, ended with the block. request: do, memory (bytes), cpu_seconds, and more."""
    with _as_file(data) as file:
        process = subprocess.Popen(
            [sys.executable, str(_CHILD), str(file.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[file.fileno()],
        )
        watch = threading.Timer(_PATIENCE * request["cpu_seconds"], process.kill)
        watch.daemon = True
        watch.start()
        try:
            assert process.stdin is not None
            with contextlib.suppress(OSError), process.stdin:  # it may have ended; then so does its answer
                process.stdin.write(json.dumps(dict(request)).encode())
            yield Child(process, name)
        finally:
            watch.cancel()
            process.kill()
            assert process.stdout is not None
            process.stdout.close()
            process.wait()


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[IO[bytes]]:
    """An open file without a name that contains the data: in memory where the system has that."""
    in_memory = hasattr(os, "memfd_create")
    with os.fdopen(os.memfd_create("media"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        yield file
