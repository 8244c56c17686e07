"""Run the server: uvicorn on a socket that was bound before the model was loaded, and a graceful shutdown.

The first SIGTERM or Ctrl-C refuses new requests and lets running answers finish; the second stops at once.
"""

from __future__ import annotations

import asyncio
import socket
import time
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from shoestring.server.http.app import create_app
from shoestring.server.http.log import RequestLog, quiet_libraries
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service

#: A connection that has not sent a complete request head by then is closed.
HEADER_SECONDS = 30.0


def serve(service: Service, settings: Settings, listening: socket.socket) -> None:
    """Serve until a signal stops the server."""
    quiet_libraries()
    app = create_app(service, settings, RequestLog(as_json=settings.json_log))
    config = uvicorn.Config(
        app,
        http=Patient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    DrainingServer(config, service, settings.shutdown_timeout).run(sockets=[listening])


class DrainingServer(uvicorn.Server):
    """uvicorn's server that stays reachable while running answers finish, so that it can refuse new requests."""

    def __init__(self, config: uvicorn.Config, service: Service, timeout_seconds: float) -> None:
        super().__init__(config)
        self._service = service
        self._timeout = timeout_seconds
        self._until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._until is None:
            self._service.refuse_new()
            self._until = time.monotonic() + self._timeout
        else:
            self._until = 0.0

    async def on_tick(self, counter: int) -> bool:
        if self._until is not None:
            if not self._service.busy:
                return True
            if time.monotonic() >= self._until:
                await asyncio.to_thread(self._service.close)
                return True
        return await super().on_tick(counter)


class Patient(H11Protocol):
    """HTTP/1.1 that closes a connection which does not send a complete request head in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            self._head_came()
        elif self._late is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._late = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and not self.transport.is_closing():
            self.transport.close()
