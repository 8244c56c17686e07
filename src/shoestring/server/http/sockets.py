"""Bind the socket that the server listens on, before anything is loaded."""

from __future__ import annotations

import socket

from shoestring.errors import RequestError

#: Maximum connections that wait to be accepted.
_BACKLOG = 256


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one. Raises RequestError if it is not available."""
    name = host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise RequestError(f"--host {host}: {error.strerror or error}") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        what = f"cannot listen on port {port} of {host}: {error.strerror or error}; choose another --port"
        raise RequestError(what) from None
    return listening


def address_of(listening: socket.socket, scheme: str = "http") -> str:
    """The URL for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
