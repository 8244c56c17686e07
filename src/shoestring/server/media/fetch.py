"""Fetch a picture or a video from the Web: of a server that was started with --allow-remote-media.

A client chooses the URL, so everything that it leads to is checked: scheme, port, name, each address that the name has,
and all of that again after each redirect. The connection goes to an address that was checked, never to a name, so a
name whose addresses change gains nothing. No proxy, no cookies, no credentials. Bytes, redirects and seconds are
bounded, whatever the other side does.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import shoestring
from shoestring.errors import RequestError
from shoestring.printable import quoted
from shoestring.server.media.addresses import is_own, is_public
from shoestring.sizes import human

#: Name → its addresses, as numbers. Raises OSError.
Resolve = Callable[[str, int], Sequence[str]]
#: Address, port and seconds → a connected socket. Raises OSError.
Dial = Callable[[str, int, float], socket.socket]

_READ = 64 << 10
#: Characters of a URL
_MOST_URL = 4096
_URL = re.compile(r"[!-~]+", re.ASCII)
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?|\[[0-9a-f:.]+\]", re.ASCII)
_PORTS = (80, 443)
#: Ports below are of mail, shells, name servers and the like.
_FIRST_FREE_PORT = 1024
_MOST_ADDRESSES = 4
_REDIRECTS = (301, 302, 303, 307, 308)
_TYPES = ("image/", "video/", "application/octet-stream", "binary/octet-stream")


@dataclass(frozen=True)
class FetchLimits:
    """Of one URL. seconds: for names, connections, redirects and all bytes together."""

    bytes: int = 32 << 20
    seconds: float = 20.0
    redirects: int = 4


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """A connection to an address."""
    return socket.create_connection((address, port), seconds)


@dataclass(frozen=True)
class Web:
    """How names and connections are made; tests replace them."""

    resolve: Resolve = resolve
    dial: Dial = dial
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context


@dataclass
class Fetch:
    """One fetch. `run` does it in the caller's thread; `stop` ends it from another one."""

    url: str
    #: what the errors call it
    name: str
    limits: FetchLimits = FetchLimits()
    web: Web = Web()
    _stopped: bool = False
    _socket: socket.socket | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> bytes:
        """The bytes at the URL. Raises RequestError that names what is wrong, and nothing of the network here."""
        self._until = time.monotonic() + self.limits.seconds
        watch = threading.Timer(self.limits.seconds, self.stop)
        watch.daemon = True
        watch.start()
        try:
            return self._follow()
        except RequestError:
            raise
        except (OSError, http.client.HTTPException, ValueError):
            if self._stopped or time.monotonic() >= self._until:
                raise self._late() from None
            raise self._error("its server cannot be reached, or does not speak HTTP") from None
        finally:
            watch.cancel()
            self.stop()

    def stop(self) -> None:
        """End the connection, at any time, more than once."""
        with self._lock:
            self._stopped = True
            if self._socket is not None:
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # ssl's own forgets what a reader uses

    def _follow(self) -> bytes:
        url = self.url
        for _ in range(self.limits.redirects + 1):
            answer = self._ask(url)
            if isinstance(answer, bytes):
                return answer
            if urlsplit(url).scheme == "https" and urlsplit(answer).scheme != "https":
                raise self._error("it redirects from https to another scheme")
            url = answer
        raise self._error(f"it redirects more than {self.limits.redirects} times")

    def _ask(self, url: str) -> bytes | str:
        """The bytes, or where the server redirects to."""
        target = checked(url, self.name)
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.auto_open = 0  # it never connects by itself
        connection.sock = self._connected(target)
        with closing(connection):
            connection.request("GET", target.path, headers=_headers(target))
            with connection.getresponse() as response:
                if response.status not in _REDIRECTS:
                    return self._body(response)
                place = response.getheader("Location")
                if not place or len(place) > _MOST_URL:
                    raise self._error("it redirects to nowhere")
                return urljoin(url, place)

    def _connected(self, target: Target) -> socket.socket:
        """A connection to an address of the target that was checked, with TLS for https."""
        addresses = self._addresses(target)
        for number, address in enumerate(addresses, 1):
            try:
                plain = self.web.dial(address, target.port, self._left())
            except OSError:
                if number == len(addresses):
                    raise
                continue
            try:
                self._watch(plain)
                plain.settimeout(self._left())
                if target.scheme == "http":
                    return plain
                secured = self.web.tls().wrap_socket(plain, server_hostname=target.host)
            except BaseException:
                plain.close()
                raise
            self._watch(secured)
            return secured
        raise OSError("no address")

    def _addresses(self, target: Target) -> list[str]:
        """All of a name's addresses have to be public: one that is not tells of a name made to reach inside."""
        try:
            addresses = list(self.web.resolve(target.host, target.port))
        except (OSError, UnicodeError):
            raise self._error("its host has no address") from None
        if not addresses:
            raise self._error("its host has no address")
        if not all(is_public(address) and not is_own(address) for address in addresses):
            raise self._error("its host has an address that is private, reserved or of this machine")
        return addresses[:_MOST_ADDRESSES]

    def _watch(self, connection: socket.socket) -> None:
        """Let `stop` end this connection. Raises RequestError if it came before."""
        with self._lock:
            self._socket = connection
            if self._stopped:
                raise self._late()

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        if response.status != 200:
            raise self._error(f"its server answers with status {response.status}")
        if response.getheader("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise self._error("its server sends it compressed, though the request asks for the file itself")
        kind = response.getheader("Content-Type", "").split(";")[0].strip().lower()
        if kind and not kind.startswith(_TYPES):
            raise self._error(f"its server sends {quoted(kind, 60)}, which is no picture and no video")
        most = self.limits.bytes
        length = response.length  # None where the server does not say
        if length is not None and length > most:
            raise self._error(f"it has {human(length, 'up')}: at most {human(most, 'down')} are fetched")
        body = bytearray()
        while piece := response.read1(_READ):
            body += piece
            if len(body) > most:
                raise self._error(f"it has more than {human(most, 'down')}, the most that is fetched")
            self._left()
        if self._stopped:
            raise self._late()
        if length is not None and len(body) < length:
            raise self._error("its server ended the connection before the end")
        if not body:
            raise self._error("its server sends nothing")
        return bytes(body)

    def _left(self) -> float:
        """Seconds that are left. Raises RequestError if none are."""
        left = self._until - time.monotonic()
        if left <= 0 or self._stopped:
            raise self._late()
        return left

    def _late(self) -> RequestError:
        return self._error(f"it did not arrive within {self.limits.seconds:g} seconds")

    def _error(self, what: str) -> RequestError:
        return RequestError(f"{self.name} cannot be fetched: {what}: send the file itself, in base64")


@dataclass(frozen=True)
class Target:
    """Where a request goes. host: a name, or an address without brackets. path: with the query."""

    scheme: str
    host: str
    port: int
    path: str


def checked(url: str, name: str) -> Target:
    """The parts of a URL. Raises RequestError for one that is not fetched, before any name is looked up."""
    said = f"{name} cannot be fetched"
    if len(url) > _MOST_URL:
        raise RequestError(f"{said}: its URL has more than {_MOST_URL} characters")
    if not _URL.fullmatch(url) or "\\" in url:
        raise RequestError(f"{said}: its URL has spaces or other characters that have to be written with %")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise RequestError(f"{said}: {quoted(url)} is no URL") from None
    if parts.scheme not in ("http", "https"):
        raise RequestError(f"{said}: its URL has the scheme {quoted(parts.scheme, 20)}: http and https are fetched")
    if "@" in parts.netloc:
        raise RequestError(f"{said}: its URL has a user's name or password")
    if not host or not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        raise RequestError(f"{said}: {quoted(url)} names no host")
    port = port or (443 if parts.scheme == "https" else 80)
    if port not in _PORTS and port < _FIRST_FREE_PORT:
        raise RequestError(f"{said}: port {port} is not of the Web")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def _headers(target: Target) -> dict[str, str]:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = target.port == (443 if target.scheme == "https" else 80)
    return {
        "Host": host if usual else f"{host}:{target.port}",
        "User-Agent": f"shoestring/{shoestring.__version__}",
        "Accept": "image/*, video/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
