"""Connections in waves that never become a request: idle, half a head, half a body, closed or reset at once."""

from __future__ import annotations

import asyncio
import random
import socket
import struct

#: What a connection sends before it stops.
_STARTS = (
    b"",
    b"GET /hea",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
_NO_LINGER = struct.pack("ii", 1, 0)


async def waves(url: str, connections: int, at_once: int, seed: int) -> int:
    """Open `connections` in waves of `at_once`; a wave is closed when the next one is open. Returns those refused."""
    port = int(url.rpartition(":")[2])
    source = random.Random(seed)
    refused, previous = 0, list[socket.socket]()
    for start in range(0, connections, at_once):
        wave = list[socket.socket]()
        for _ in range(min(at_once, connections - start)):
            opened = await _opened(port, source)
            refused += opened is None
            if opened is not None and not opened._closed:  # type: ignore[attr-defined]
                wave.append(opened)
        for connection in previous:
            connection.close()
        previous = wave
        await asyncio.sleep(0.05)
    for connection in previous:
        connection.close()
    return refused


async def _opened(port: int, source: random.Random) -> socket.socket | None:
    """A connection that has sent the start of something; some are closed already. None: it was refused."""
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    connection.setblocking(False)
    try:
        await asyncio.wait_for(loop.sock_connect(connection, ("127.0.0.1", port)), 30)
        await loop.sock_sendall(connection, source.choice(_STARTS))
    except (OSError, TimeoutError, asyncio.TimeoutError):
        connection.close()
        return None
    ending = source.random()
    if ending < 0.2:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    if ending < 0.5:
        connection.close()
    return connection
