"""Remote: the backend that asks another server. Its failures are errors of this server, at once and on every API.

Nothing of a client's request reaches that server but what bodies.py writes: no header, and no key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import httpx2

from shoestring import bounded_json
from shoestring.engine.request import Counts
from shoestring.server.backends.admission import Admission
from shoestring.server.backends.backend import Experts
from shoestring.server.backends.pumped import Pumped
from shoestring.server.backends.remote import bodies, refusals
from shoestring.server.backends.remote.events import Items
from shoestring.server.backends.remote.spellings import Interned
from shoestring.server.backends.remote.upstream import CONNECT_SECONDS, Upstream, http_options
from shoestring.server.backends.stream import Stream
from shoestring.server.errors import ApiError, bad_request, shutting_down
from shoestring.server.facts import ServedModel
from shoestring.server.http import record
from shoestring.server.limits import Limits
from shoestring.server.media.reading import Cost
from shoestring.server.media.unread import Unread
from shoestring.server.request import ChatRequest, CompletionRequest, GenerationOptions, StreamItem
from shoestring.server.tools import check_tools

T = TypeVar("T")

#: Most bytes of one event of a stream, and of an error.
_MOST_EVENT = 16 << 20
_MOST_ERROR = 64 << 10
#: The last event of a stream.
_DONE = b"[DONE]"
#: Bytes of a request that is written without another thread: that takes longer than writing it.
_SMALL = 8 << 10
#: How long a stream whose answer is complete may take to end, so that its connection is used again.
_REST_SECONDS = 1.0
#: How long the server may take to say that it is alive, and how long that counts.
_HEALTH_SECONDS = 3.0
_HEALTH_LASTS = 1.0


class Remote(Admission[Pumped]):
    """The requests that a server answers. key: this server's own there.

    timeout_seconds: how long it may send nothing before the request fails. closed: called at the end.
    """

    def __init__(
        self,
        upstream: Upstream,
        info: ServedModel,
        *,
        key: str | None = None,
        timeout_seconds: float = 600.0,
        queue: int = 64,
        limits: Limits | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        closed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(info, queue, limits or Limits())
        self.upstream = upstream
        self.spellings = Interned()
        self._key = key
        self._timeout = httpx2.Timeout(timeout_seconds, connect=CONNECT_SECONDS, pool=None)
        self._transport = transport
        self._closed = closed
        self._http: httpx2.AsyncClient | None = None
        #: why the server can answer nothing any more
        self._dead: str | None = None
        self._health: tuple[float, str | None] = (0.0, None)
        #: complete answers whose streams have not ended
        self._resting: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._http = httpx2.AsyncClient(
            base_url=self.upstream.url,
            timeout=self._timeout,
            transport=self._transport,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30.0),
            **http_options(self.upstream.url, self._key),
        )

    def close(self) -> None:
        super().close()
        self._end_all()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()

    async def ended(self) -> None:
        for resting in tuple(self._resting):
            resting.cancel()
        if self._http is not None:
            await self._http.aclose()

    def fail(self, reason: str) -> None:
        """The server is gone for good: what runs ends with an error, and so does what comes. From any thread."""
        self._dead = reason
        self._end_all()

    def _end_all(self) -> None:
        for held in tuple(self._open):
            held.cancel()

    # --- what it does

    async def health(self) -> str | None:
        if self.closing:
            return "shutting down"
        if self._dead is not None:
            return self._dead
        asked, answer = self._health
        if time.monotonic() - asked > _HEALTH_LASTS:
            answer = await self._asked()
            self._health = (time.monotonic(), answer)
        return answer

    async def _asked(self) -> str | None:
        assert self._http is not None
        try:
            response = await self._http.get("models", timeout=_HEALTH_SECONDS)
        except httpx2.HTTPError:
            return "the server that answers here cannot be reached"
        return None if response.status_code == 200 else f"the server that answers here returned {response.status_code}"

    async def counts(self) -> Counts | None:
        return None

    async def replicas(self) -> Mapping[str, Counts]:
        return {}

    @property
    def experts(self) -> Experts:
        return Experts()

    # --- requests

    async def chat(self, request: ChatRequest) -> Stream:
        self.check_chat(request)
        check = partial(check_tools, request, self.limits)
        return await self._submit("chat/completions", bodies.chat_body, request, check)

    async def complete(self, request: CompletionRequest) -> Stream:
        self.check_options(request.options)
        return await self._submit("completions", bodies.completion_body, request)

    async def count_tokens(self, request: ChatRequest) -> int:
        with self._preparation():
            check = partial(check_tools, request, self.limits)
            body = await self.beside(_written, bodies.count_body, self.upstream, request, check)
            response = await self._sent(self.upstream.root + "tokenize", body)
            try:
                text = await _bounded(response, _MOST_EVENT)
            except httpx2.HTTPError as error:
                raise _broken(error) from None
            finally:
                await response.aclose()
        try:
            return int(bounded_json.loads(text)["count"])
        except (ValueError, KeyError, TypeError):
            raise refusals.failed("did not count the tokens") from None

    async def on_text(self, function: Callable[..., T], /, *arguments: Any) -> T:
        raise _not_here("tokenizer")

    async def on_prompt(self, function: Callable[..., T], request: ChatRequest, /, *arguments: Any) -> T:
        raise _not_here("tokenizer")

    async def media_cost(self, media: Unread) -> Cost:
        raise _not_here("processor")

    async def _submit(
        self, path: str, write: Callable[..., bodies.Body], request: Any, check: Callable[[], None] | None = None
    ) -> Stream:
        with self._preparation():
            entry = record.current()
            entry.generates = True
            work = partial(_written, write, self.upstream, request, check)
            body = work() if entry.body_bytes <= _SMALL else await self.beside(work)
            response = await self._sent(path, body)
            pumped = Pumped(entry, asyncio.get_running_loop(), ending=self._ending)
            self._open.add(pumped)
        stream = Stream(pumped.items, partial(self._drop, pumped))
        try:
            await pumped.begin(self._items(response, request.options))
        except BaseException:
            await stream.aclose()
            raise
        return stream

    def _drop(self, pumped: Pumped) -> None:
        pumped.cancel()
        self._release(pumped)

    def _ending(self) -> ApiError:
        """The error of a request that this server ends."""
        return shutting_down() if self._dead is None else refusals.failed(f"has ended ({self._dead})")

    async def _sent(self, path: str, body: bytes) -> httpx2.Response:
        """The response of a request that was not refused. Raises ApiError.

        A connection that the server has closed meanwhile fails before a byte comes: then a new one is tried, once.
        """
        if self._dead is not None:
            raise self._ending()
        assert self._http is not None
        http = self._http
        for last in (False, True):
            request = http.build_request("POST", path, content=body, headers={"content-type": "application/json"})
            try:
                response = await http.send(request, stream=True)
                break
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError) as error:
                if last:
                    raise _broken(error) from None
            except httpx2.HTTPError as error:
                raise _broken(error) from None
        if response.status_code == 200:
            return response
        try:
            text = await _bounded(response, _MOST_ERROR)
        except httpx2.HTTPError:
            text = ""
        finally:
            await response.aclose()
        raise refusals.refused(response.status_code, text, response.headers)

    async def _items(
        self, response: httpx2.Response, options: GenerationOptions
    ) -> AsyncGenerator[list[StreamItem], None]:
        """The items of each event. Raises ApiError where the stream breaks off."""
        items = Items(options.n, options.max_tokens, self.info.context, self.spellings)
        parts = response.aiter_raw()
        complete = False
        try:
            async for data in _events(parts):
                if data == _DONE:
                    complete = True
                    continue
                chunk = _chunk(data)
                if chunk.get("error"):
                    raise refusals.broke_off(chunk)
                if more := items.take(chunk):
                    yield more
        except httpx2.HTTPError as error:
            raise _broken(error) from None
        finally:
            if complete:
                resting = asyncio.ensure_future(_rest(response, parts))
                self._resting.add(resting)
                resting.add_done_callback(self._resting.discard)
            else:
                await response.aclose()
        if not items.complete:
            raise refusals.failed("closed the stream before the answer ended")
        yield items.finish()


async def _rest(response: httpx2.Response, parts: AsyncIterator[bytes]) -> None:
    """Read what follows the last event, which is nothing: a connection is used again once its answer was read whole."""
    reading = asyncio.ensure_future(_dropped(parts))
    try:
        await asyncio.wait({reading}, timeout=_REST_SECONDS)
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        await response.aclose()


async def _dropped(parts: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(httpx2.HTTPError):
        async for _ in parts:
            pass


def _written(
    write: Callable[..., bodies.Body], upstream: Upstream, request: Any, check: Callable[[], None] | None
) -> bytes:
    """The body of a request that passes `check`. Raises ApiError."""
    if check is not None:
        check()
    text = json.dumps(write(upstream, request), ensure_ascii=False)
    # Half of a surrogate pair, which UTF-8 cannot encode, becomes U+FFFD.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


async def _events(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of a stream's events, which each have one line, up to [DONE]. Comments only keep the connection open."""
    rest = b""
    async for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                yield data
                if data == _DONE:
                    return
        if len(rest) > _MOST_EVENT:
            raise refusals.failed("sent an event that is too long")
    if rest.startswith(b"data:"):
        yield rest[5:].strip()


def _chunk(data: bytes) -> Mapping[str, Any]:
    try:
        chunk = bounded_json.loads(data.decode("utf-8", "replace"))
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise refusals.failed("does not speak OpenAI's API (an event is no JSON object)")
    return chunk


async def _bounded(response: httpx2.Response, most: int) -> str:
    """The text of a response, cut off beyond `most` bytes."""
    data = b""
    async for part in response.aiter_raw():
        data += part
        if len(data) > most:
            break
    return data[:most].decode("utf-8", "replace")


def _broken(error: httpx2.HTTPError) -> ApiError:
    match error:
        case httpx2.ReadTimeout():
            return ApiError(504, "the server that answers here has sent nothing for too long", "upstream_timeout")
        case httpx2.ConnectError() | httpx2.ConnectTimeout():
            return refusals.failed("cannot be reached")
        case _:
            return refusals.failed("closed the connection")


def _not_here(what: str) -> ApiError:
    text = f"this needs the model's {what}, which this server does not have: it passes requests on to another one"
    return bad_request(text, code="unsupported_endpoint")
