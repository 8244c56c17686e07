"""Who can reach the server, and with which keys. Needs none of the server's packages."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from shoestring.errors import RequestError
from shoestring.files import named_path, read_input_text
from shoestring.server.http.settings import LARGEST_FILE, Settings


def is_loopback(host: str) -> bool:
    """Whether an address is reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def all_keys(settings: Settings) -> tuple[str, ...]:
    """All keys of the settings and their file. Raises RequestError for a file that is unreadable or empty."""
    if settings.api_key_file is None:
        return settings.api_keys
    path = named_path(settings.api_key_file)
    try:
        lines = read_input_text(path, LARGEST_FILE).splitlines()
    except RequestError as error:
        raise RequestError(f"--api-key-file: {error}") from None
    keys = tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    if not keys:
        raise RequestError(f"--api-key-file {path} has no key: write one per line")
    return (*settings.api_keys, *keys)


def check_exposure(settings: Settings, keys: Sequence[str]) -> None:
    """Raise RequestError if other machines could reach the server without a key and --no-auth is not set."""
    if keys and settings.no_auth:
        raise RequestError("--no-auth and --api-key contradict each other: give one of them")
    if not keys and not settings.no_auth and not is_loopback(settings.host):
        raise RequestError(
            f"--host {settings.host} lets other machines connect: give --api-key or --api-key-file, or --no-auth"
        )


def access(settings: Settings, keys: Sequence[str]) -> str:
    """One line: who may use the server."""
    who = "this machine only" if is_loopback(settings.host) else f"any machine that reaches {settings.host}"
    if not keys:
        return f"{who}, no key"
    return f"{who}, with " + ("the key" if len(keys) == 1 else f"one of {len(keys)} keys")
