"""Direct: HTTP/1.1 to one server on asyncio's streams, as a transport of httpx2, for URLs without TLS and proxies.

httpx2's own transport, which all other URLs have, takes several times as long for each event of a stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpx2

from shoestring.server.http.exposure import is_loopback

#: Bytes of a head, and of a part of a body.
_MOST_HEAD, _PART = 64 << 10, 64 << 10
#: Idle connections that are kept, and for how long.
_MOST_IDLE, _IDLE_SECONDS = 64, 30.0
_NO_BODY = (204, 304)


def reaches(url: str) -> bool:
    """Whether this transport is for a URL: http, and no proxy of the environment is between."""
    parsed = httpx2.URL(url)
    if parsed.scheme != "http":
        return False
    proxies = urllib.request.getproxies()
    between = "http" in proxies or "all" in proxies
    return is_loopback(parsed.host) or not between or bool(urllib.request.proxy_bypass(parsed.host))


@dataclass(eq=False)
class _Connection:
    """A connection, and the clock of what it waits for."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    #: seconds without a byte after which it is cut
    patience: float | None
    #: since when it waits
    since: float = field(default_factory=time.monotonic)
    late: bool = False
    _timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        fresh = time.monotonic() - self.since < _IDLE_SECONDS
        return fresh and not self.reader.at_eof() and not self.writer.is_closing()

    def watch(self) -> None:
        """Begin to wait. One timer a request, which looks when a byte came last."""
        self.since = time.monotonic()
        if self.patience is not None:
            self._timer = asyncio.get_running_loop().call_later(self.patience, self._look)

    def _look(self) -> None:
        assert self.patience is not None
        left = self.since + self.patience - time.monotonic()
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._look)
        else:
            self.late = True
            self.cut()

    def rest(self) -> None:
        """Nothing is awaited."""
        self.since = time.monotonic()
        if self._timer is not None:
            self._timer.cancel()

    def cut(self) -> None:
        self.rest()
        self.writer.transport.abort()


class Direct(httpx2.AsyncBaseTransport):
    """The connections to one server. Errors are httpx2's."""

    def __init__(self) -> None:
        self._idle: list[_Connection] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        timeout = request.extensions.get("timeout", {})
        connection = self._from_idle() or await _connected(request, timeout.get("connect"))
        connection.patience = timeout.get("read")
        try:
            with _errors(connection, request):
                connection.watch()
                connection.writer.write(_head(request) + await request.aread())
                with contextlib.suppress(ConnectionError):  # the answer may have come before the request's end
                    await connection.writer.drain()
                status, headers, again = await _answer(connection)
        except BaseException:
            connection.cut()
            raise
        body = _Body(self, connection, request, _length(status, headers), again)
        return httpx2.Response(status, headers=headers, stream=body, request=request)

    async def aclose(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.cut()

    def keep(self, connection: _Connection) -> None:
        connection.rest()
        self._idle.append(connection)
        if len(self._idle) > _MOST_IDLE:
            self._idle.pop(0).cut()

    def _from_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.cut()
        return None


class _Body(httpx2.AsyncByteStream):
    """The body of a response. length: -1 in chunks, None until the connection ends. again: the server keeps it open."""

    def __init__(
        self, owner: Direct, connection: _Connection, request: httpx2.Request, length: int | None, again: bool
    ) -> None:
        self._owner = owner
        self._connection = connection
        self._request = request
        self._length = length
        self._again = again and length is not None
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors(self._connection, self._request):
            async for part in self._parts():
                self._connection.since = time.monotonic()
                yield part
        if self._again and self._open:
            self._open = False
            self._owner.keep(self._connection)

    async def _parts(self) -> AsyncIterator[bytes]:
        reader = self._connection.reader
        if self._length is None:
            while part := await reader.read(_PART):
                yield part
            if self._connection.late:
                raise ConnectionError
        elif self._length >= 0:
            async for part in _exactly(reader, self._length):
                yield part
        else:
            while size := _size(await reader.readuntil(b"\n")):
                async for part in _exactly(reader, size):
                    yield part
                await reader.readuntil(b"\n")
            while (await reader.readuntil(b"\n")).strip():
                pass

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._connection.cut()


def _size(line: bytes) -> int:
    """Bytes of a chunk. Raises ValueError."""
    digits = line.partition(b";")[0].strip()
    if not digits.isalnum():
        raise ValueError("a chunk has no size")
    return int(digits, 16)


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    left = size
    while left:
        part = await reader.read(min(left, _PART))
        if not part:
            raise asyncio.IncompleteReadError(part, left)
        left -= len(part)
        yield part


async def _connected(request: httpx2.Request, seconds: float | None) -> _Connection:
    host, port = request.url.host, request.url.port or 80
    try:
        opening = asyncio.open_connection(host, port, limit=_MOST_HEAD)
        return _Connection(*await asyncio.wait_for(opening, seconds), patience=None)
    except asyncio.TimeoutError:
        raise httpx2.ConnectTimeout("no connection in time", request=request) from None
    except OSError as error:
        raise httpx2.ConnectError(str(error), request=request) from None


def _head(request: httpx2.Request) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise httpx2.LocalProtocolError("a line break in a header", request=request)
    return b"\r\n".join([*lines, b"", b""])


async def _answer(connection: _Connection) -> tuple[int, list[tuple[bytes, bytes]], bool]:
    """Status and headers, and whether the connection may be used again. Raises ValueError."""
    status = 100
    while 100 <= status < 200:
        first, *lines = (await connection.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        connection.since = time.monotonic()
        version, number, *_ = first.split(b" ", 2)
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise ValueError("this is not HTTP/1.1")
        status = int(number)
        pairs = [line.partition(b":") for line in lines if line]
        headers = [(name.lower(), value.strip()) for name, _, value in pairs]
    wants = b",".join(value for name, value in headers if name == b"connection").lower()
    return status, headers, version == b"HTTP/1.1" and b"close" not in wants


def _length(status: int, headers: list[tuple[bytes, bytes]]) -> int | None:
    """Bytes of the body; -1: in chunks; None: until the connection ends."""
    fields = dict(headers)
    if status in _NO_BODY:
        return 0
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return -1
    length = fields.get(b"content-length", b"")
    return int(length) if length.isdigit() else None


@contextlib.contextmanager
def _errors(connection: _Connection, request: httpx2.Request) -> Iterator[None]:
    """Turn what fails to httpx2's errors."""
    try:
        yield
    except (ValueError, asyncio.LimitOverrunError, asyncio.IncompleteReadError, ConnectionError) as error:
        if connection.late:
            raise httpx2.ReadTimeout("nothing came for too long", request=request) from None
        if isinstance(error, ConnectionError):
            raise httpx2.ReadError(str(error), request=request) from None
        raise httpx2.RemoteProtocolError(str(error), request=request) from None
