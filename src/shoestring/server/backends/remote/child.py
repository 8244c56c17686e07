"""A server as a child process: started on a loopback port, its lines passed on, its end noticed at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import httpx2

from shoestring.errors import RequestError
from shoestring.printable import printable

#: How long it may take to end before it is killed.
_END_SECONDS = 10.0
_PROBE_SECONDS = 0.2
_KEPT_LINES = 5
_PDEATHSIG = 1


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A server process of our own. write: gets its lines. It is alone in its process group, so that Ctrl-C is ours."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, environment: Mapping[str, str], write: Callable[[str], None]
    ) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self._write = write
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._ended: Callable[[str], None] | None = None
        self._closing = False
        try:
            self._process = subprocess.Popen(
                list(command),
                env={**environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise RequestError(f"{name} cannot be started: {command[0]}: {error.strerror or error}") from None
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._reader.start()

    def wait_until_ready(self, path: str, headers: Mapping[str, str]) -> None:
        """Wait until it answers `path` with 200; its lines show how far it is. Raises RequestError if it ends first."""
        with httpx2.Client(base_url=self.url, headers=dict(headers), timeout=5.0, trust_env=False) as client:
            while self._process.poll() is None:
                with contextlib.suppress(httpx2.HTTPError):
                    if client.get(path).status_code == 200:
                        return
                time.sleep(_PROBE_SECONDS)
        self._reader.join(1)
        last = next((line for line in reversed(self._last) if line.strip()), "it said nothing")
        raise RequestError(f"{self._reason()} before it was ready: {last.strip()}")

    def when_ended(self, call: Callable[[str], None]) -> None:
        """Call with the reason when it ends without `close`."""
        self._ended = call
        if self._process.poll() is not None and not self._reader.is_alive():
            call(self._reason())

    def close(self) -> None:
        """End it and its own children. May be called twice."""
        self._closing = True
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._signal(signal.SIGKILL)  # its children, too
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = printable(line.rstrip())
            self._last.append(text)
            self._write(text)
        self._process.wait()
        if not self._closing and self._ended is not None:
            self._ended(self._reason())

    def _reason(self) -> str:
        return f"{self.name} ended with code {self._process.returncode}"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)


def new_key() -> str:
    """A key for this one child."""
    return secrets.token_urlsafe(24)
