"""The front door: what `serve` opens before it knows who answers, the same for every --on."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoestring.cli.say import say
from shoestring.errors import RequestError

if TYPE_CHECKING:
    from shoestring.server.backends.backend import Backend
    from shoestring.server.http.keys import Key
    from shoestring.server.http.logs.log_file import LogFile
    from shoestring.server.http.settings import Settings

#: Settings of a model in this process.
_OWN = (
    *("memory", "experts_per_token", "record_routes", "context", "parallel", "cache_memory", "share_cache", "threads"),
    *("kv_type", "mmproj", "max_image_tokens", "video_fps", "max_frames", "allow_remote_media"),
)


@dataclass(frozen=True)
class Door:
    """A bound port, and who may use it."""

    settings: Settings
    keys: Sequence[Key]
    tls: ssl.SSLContext | None
    log_file: LogFile | None
    listening: socket.socket

    def serve(self, backend: Backend, rows: Iterable[tuple[str, str]]) -> None:
        """Say what is served, rows of the start message, and serve it until a signal."""
        from shoestring.cli.serve.banner import ready
        from shoestring.server.http.exposure import access
        from shoestring.server.http.run import serve
        from shoestring.server.http.sockets import address_of

        address = address_of(self.listening, "http" if self.tls is None else "https")
        log = [] if self.settings.log_file is None else [("log", self.settings.log_file)]
        more = [("access", access(self.settings, self.keys)), *log, ("open", f"{address}   (API: {address}/v1)")]
        say(ready([*rows, *more]), err=True)
        serve(backend, self.settings, self.listening, keys=self.keys, tls=self.tls, log_file=self.log_file)


@contextmanager
def door(settings: Settings) -> Iterator[Door]:
    """Check who may use the server, and bind its port. Raises RequestError."""
    from shoestring.server.http.exposure import check_exposure
    from shoestring.server.http.keys import read_keys
    from shoestring.server.http.logs.log_file import open_log_file
    from shoestring.server.http.sockets import bind
    from shoestring.server.http.tls import server_context

    keys = read_keys(settings)
    check_exposure(settings, keys)
    tls = server_context(settings)
    log_file = open_log_file(settings)
    with bind(settings.host, settings.port) as listening:
        yield Door(settings, keys, tls, log_file, listening)


def refuse_settings(settings: Settings, names: Iterable[str], why: str) -> None:
    """Raise RequestError if one of these settings is given. why: follows its option, "--memory …"."""
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for name in names:
        if getattr(settings, name) != defaults[name]:
            raise RequestError(f"--{name.replace('_', '-')} {why}")


def refuse_own_settings(settings: Settings, but: Iterable[str] = ()) -> None:
    """Raise RequestError for settings of a model in this process; `but`: those that have a meaning elsewhere, too."""
    left = frozenset(but)
    why = f"is for a model in this process, and --on {settings.on} has none: set it there"
    refuse_settings(settings, [name for name in _OWN if name not in left], why)
