"""Who can reach the server. Needs none of the server's packages."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from shoestring.errors import RequestError
from shoestring.server.http.keys import Key
from shoestring.server.http.settings import Settings


def is_loopback(host: str) -> bool:
    """Whether an address is reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings, keys: Sequence[Key]) -> None:
    """Raise RequestError if other machines could reach the server without a key and --no-auth is not set."""
    if keys and settings.no_auth:
        raise RequestError("--no-auth and --api-key contradict each other: give one of them")
    if not keys and not settings.no_auth and not is_loopback(settings.host):
        raise RequestError(
            f"--host {settings.host} lets other machines connect: give --api-key or --api-key-file, or --no-auth"
        )


def access(settings: Settings, keys: Sequence[Key]) -> str:
    """One line: who may use the server."""
    secure = ", encrypted" if settings.ssl_certfile is not None else ""
    who = "this machine only" if is_loopback(settings.host) else f"any machine that reaches {settings.host}"
    if not keys:
        return f"{who}, no key{secure}"
    return f"{who}, with " + ("the key" if len(keys) == 1 else f"one of {len(keys)} keys") + secure
