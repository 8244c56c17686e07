"""Access control: API keys, and the host names that a server on this machine accepts.

A web page can send requests to a server on the same machine and, with a host name that resolves to it (DNS rebinding),
even read the answers. So without keys, the server accepts only requests that name this machine, and none from pages of
other sites, except those of --allow-origin.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shoestring.printable import quoted
from shoestring.server.errors import ApiError
from shoestring.server.http import record
from shoestring.server.http.error_responses import error_response
from shoestring.server.http.exposure import is_loopback
from shoestring.server.http.keys import Key
from shoestring.server.http.settings import Settings

#: Served without a key: the page asks for one itself, and monitors check health.
OPEN_PATHS = frozenset({"/", "/health", "/health/live", "/health/ready", "/openapi.json", "/favicon.ico"})
OPEN_PREFIX = "/page/"


class AccessControl:
    """ASGI middleware: 401 without a valid key, 403 for other hosts and origins."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: Sequence[Key]) -> None:
        self._app = app
        self._keys = [(key.secret.encode("utf-8", "replace"), key) for key in keys]
        # With keys, or once other machines are allowed, any host name is accepted.
        self._local_only = not keys and is_loopback(settings.host)
        self._origins = frozenset(settings.allow_origins)
        self._hosts = frozenset({"localhost", *(host.lower() for host in settings.allow_hosts)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await error_response(scope["path"], refusal, close=True)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        if self._local_only:
            host, origin = headers.get("host", ""), headers.get("origin")
            if host and not self._is_ours(host):
                what = f"host name {quoted(host)} is not allowed"
                return ApiError(403, f"{what}: start the server with --allow-host or an API key", "host_not_allowed")
            if origin is not None and not self._may(origin):
                what = f"requests from pages of {quoted(origin)} are not allowed: start the server with --allow-origin"
                return ApiError(403, what, "origin_not_allowed")
        path = scope["path"]
        if not self._keys or path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return None
        key = _given_key(headers)
        if key is None:
            what = "an API key is required: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`"
            return ApiError(401, what, "missing_api_key", headers={"WWW-Authenticate": "Bearer"})
        known = self._known(key.encode("utf-8", "replace"))
        if known is None:
            return ApiError(401, "the API key is not valid", "invalid_api_key")
        record.current().key = known.label
        scope.setdefault("state", {})["api_key"] = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:16]
        return None

    def _known(self, sent: bytes) -> Key | None:
        """Compare all keys, each in constant time."""
        matches = [key for secret, key in self._keys if hmac.compare_digest(sent, secret)]
        return matches[0] if matches else None

    def _may(self, origin: str) -> bool:
        return origin == "null" or not self._origins.isdisjoint((origin, "*")) or self._is_ours(_netloc(origin))

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        return name in self._hosts or is_loopback(name)


def _given_key(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get("x-api-key") or None


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # http://[
        return ""


#: A host name or an address, IPv6 in brackets, with or without a port.
_HOST = re.compile(r"\[([0-9a-f:.]{2,45})\](?::[0-9]{1,5})?|([^\[\]:@/\s]{1,253})(?::[0-9]{1,5})?", re.ASCII)


def _name(host: str) -> str:
    """The host of a Host header, in lower case and without the port; "" if it is none."""
    match = _HOST.fullmatch(host.lower())
    return "" if match is None else match[1] or match[2]
