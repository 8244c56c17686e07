"""Run the server: uvicorn on a socket that was bound before the model was loaded, and a graceful shutdown.

The first SIGTERM or Ctrl-C refuses new requests and lets running answers finish; the second stops at once.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import contextlib
import errno
import faulthandler
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from shoestring.server.backends.backend import Backend
from shoestring.server.http.app import create_app
from shoestring.server.http.keys import Key
from shoestring.server.http.logs.lines import Style
from shoestring.server.http.logs.log import RequestLog
from shoestring.server.http.logs.log_file import LogFile
from shoestring.server.http.logs.log_writer import LogHandler, LogWriter, stderr_descriptor
from shoestring.server.http.settings import Settings
from shoestring.server.workers import Workers

log = logging.getLogger("shoestring.server")

#: A connection that has not sent a complete request head by then is closed.
HEADER_SECONDS = 30.0
#: Most connections at once, if the process may open enough files.
_MOST_CONNECTIONS = 4096
#: The same with TLS, where each takes 60 KiB instead of 5, with asyncio's buffer of 256 KiB made as large as a record.
_MOST_ENCRYPTED = 512
_TLS_BUFFER = 16 << 10
#: TLS connections after which their garbage is collected: it is in cycles, and large for its number of objects.
_COLLECT_EVERY = 256
#: Connections that asyncio accepts before other work has a turn.
_ACCEPTED_AT_ONCE = 64
#: Connections that the system keeps until they are accepted.
_BACKLOG = 2048
#: Files that the process opens beside connections; asyncio may have accepted four times before one is closed.
_OTHER_FILES = 64 + 4 * _ACCEPTED_AT_ONCE
#: How long stopping the engine's thread, and sending the last answers, may take; and the whole end.
_STOP_SECONDS = 2.0
_END_SECONDS = 6.0
#: Seconds after which a thread with the interpreter lock gives it to another one. Python's 5 ms add up.
_SWITCH_SECONDS = 0.001


def serve(
    service: Backend,
    settings: Settings,
    listening: socket.socket,
    *,
    keys: Sequence[Key] | None = None,
    tls: ssl.SSLContext | None = None,
    log_file: LogFile | None = None,
) -> None:
    """Serve until a signal stops the server. Ends the process if a thread does not end.

    keys, tls, log_file: what the settings name, opened before the model was loaded.
    """
    style = Style(settings.json_log, dated=log_file is not None)
    writer = LogWriter(stderr_descriptor() if log_file is None else log_file.descriptor, style)
    if log_file is not None and not os.isatty(0):
        # Tools send it after they renamed the file, which the log notices itself; without a handler, it would stop us.
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    logging.getLogger().addHandler(LogHandler(writer, style))
    log.setLevel(logging.INFO)
    app = create_app(service, settings, RequestLog(write=writer, as_json=style.as_json, dated=style.dated), keys)
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=Patient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=_ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=int(_STOP_SECONDS),
    )
    config.load()
    config.ssl = tls
    Patient.limit = most_connections()
    if tls is not None:
        Patient.limit = min(Patient.limit, _MOST_ENCRYPTED)
        asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER  # type: ignore[attr-defined]
        listening = Handshakes(fileno=listening.detach())
    sys.setswitchinterval(_SWITCH_SECONDS)
    # The model's objects stay: collections need not visit them.
    gc.collect()
    gc.freeze()
    try:
        DrainingServer(config, service, settings.shutdown_timeout).run(sockets=[listening])
    finally:
        gc.unfreeze()  # or the extension reports the model's matrices as leaked at exit
    writer(style.message("stopped"))
    if not writer.close() or not service.idle or app.state.bodies.busy:
        # The interpreter's end would wait for what such a thread uses, or take it away.
        os._exit(0)


_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class DrainingServer(uvicorn.Server):
    """uvicorn's server that stays reachable while running answers finish, so that it can refuse new requests."""

    def __init__(self, config: uvicorn.Config, service: Backend, timeout_seconds: float) -> None:
        super().__init__(config)
        self._service = service
        self._timeout = timeout_seconds
        self._until: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_report)
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_BACKLOG)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._until is None:
            self._service.refuse_new()
            self._until = time.monotonic() + self._timeout
            # Ends the process from a thread of its own that needs no interpreter lock.
            faulthandler.dump_traceback_later(
                self._timeout + _END_SECONDS, exit=True, file=os.open(os.devnull, os.O_WRONLY)
            )
        else:
            self._until = 0.0

    async def on_tick(self, counter: int) -> bool:
        if self._until is not None:
            if not self._service.busy:
                return True
            if time.monotonic() >= self._until:
                closing = asyncio.ensure_future(Workers(1, "close").run(self._service.close))
                await asyncio.wait({closing}, timeout=_STOP_SECONDS)
                return True
        return await super().on_tick(counter)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's own errors. Before Python 3.12 asyncio reports a full table of files thousands of times."""
    error = context.get("exception")
    if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE) and "socket" in context):
        loop.default_exception_handler(context)


def most_connections() -> int:
    """Raise the limit of open files as far as the system lets us. Returns the connections that it allows."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        files = most
    return _MOST_CONNECTIONS if files < 0 else max(16, min(_MOST_CONNECTIONS, files - _OTHER_FILES))


class Handshakes(socket.socket):
    """A listening socket for TLS, that tells the protocol of connections whose handshake begins."""

    _accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        Patient.accepted(connection)
        self._accepted += 1
        if self._accepted % _COLLECT_EVERY == 0:
            gc.collect()
        return connection, address


class Patient(H11Protocol):
    """HTTP/1.1 that closes a connection which does not send a complete request head in time.

    Beyond the limit of connections, the one that waits longest for a head, or for the end of its TLS handshake, makes
    way; without one, new ones get 503.
    """

    _late: asyncio.TimerHandle | None = None
    #: connections that wait for a head, in the order of their beginnings
    _waiting: ClassVar[dict[Patient, None]] = {}
    #: when it began to wait
    _since = 0.0
    #: connections inside their TLS handshake by descriptor, with their beginnings, in that order
    _shaking: ClassVar[dict[int, tuple[float, socket.socket]]] = {}
    #: connections after it
    _made: ClassVar[int] = 0
    limit: ClassVar[int] = _MOST_CONNECTIONS

    @classmethod
    def accepted(cls, connection: socket.socket) -> None:
        """A TLS connection begins."""
        cls._shaking.pop(connection.fileno(), None)
        cls._shaking[connection.fileno()] = (time.monotonic(), connection)
        if cls._made + len(cls._shaking) <= cls.limit:
            return
        cls._shaking = {number: entry for number, entry in cls._shaking.items() if entry[1].fileno() == number}
        if cls._made + len(cls._shaking) > cls.limit:
            number, (began, oldest) = next(iter(cls._shaking.items()))
            head = next(iter(cls._waiting), None)
            if head is not None and head._since < began:
                head._give_up()
            elif oldest is not connection:
                del cls._shaking[number]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # asyncio sees its end

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        type(self)._made += 1
        if self._shaking:
            self._shaking.pop(transport.get_extra_info("socket").fileno(), None)
        if len(self.connections) > self.limit:
            if self._waiting:
                next(iter(self._waiting))._give_up()
            else:
                transport.write(_FULL)
                transport.close()
                return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception as error:  # a head that older versions of the parser do not expect
            log.warning("a request that is not HTTP (%s)", type(error).__name__)
            self.transport.abort()
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            self._head_came()
        elif self._late is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        type(self)._made -= 1
        self._head_came()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._since = time.monotonic()
        self._waiting[self] = None
        self._late = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _head_came(self) -> None:
        self._waiting.pop(self, None)
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._head_came()
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and not self.transport.is_closing():
            self.transport.close()
