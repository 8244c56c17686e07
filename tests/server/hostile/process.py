"""The besieged server: `shoestring serve` as a process of its own, with a budget of memory and a log."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY_SECONDS = 120
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Besieged:
    """A running server. memory: its budget in bytes."""

    port: int
    pid: int
    memory: int
    log: Path

    @property
    def peak_bytes(self) -> int:
        """The largest resident size so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) << 10


@contextmanager
def besieged(model: Path, memory: int, *options: str, descriptors: int | None = None) -> Iterator[Besieged]:
    """The server with this budget; stopped after the block. Raises AssertionError if it does not stop with status 0.

    descriptors: the most file descriptors that it may have.
    """
    log = model.with_suffix(".log")
    command = [
        sys.executable,
        "-m",
        "shoestring",
        "serve",
        str(model),
        "--port",
        "0",
        "--memory",
        str(memory),
        *options,
    ]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SHOESTRING_")}

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=variables, preexec_fn=limit)
    try:
        port = _port(process, log)
        yield Besieged(port, process.pid, memory, log)
        assert process.poll() is None, f"the server ended with {process.returncode}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(_STOP_SECONDS) == 0, "the server did not stop well"
        assert b"leaked" not in log.read_bytes(), "the extension reports leaks"
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        found = re.search(rb"open +http://127\.0\.0\.1:(\d+)", log.read_bytes())
        if found is not None:
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
