"""Read the pictures and videos of a request: decode base64, fetch what lies on the Web where that is allowed.

A user's own picture that cannot be read is refused. In a tool's result, which its program made, a line says what was
left out and why, so an old one never ends a conversation. A model that cannot see has both, and nothing is read for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shoestring.errors import BusyError, RequestError
from shoestring.media.headers import probe_picture
from shoestring.media.source import Source, sources_of
from shoestring.media.video import probe_video
from shoestring.runtime.pictures.reader import PictureReader
from shoestring.server.errors import ApiError, bad_request, from_exception
from shoestring.server.left_out import left_out
from shoestring.server.limits import Limits
from shoestring.server.media.fetch import Fetch, FetchLimits, Web
from shoestring.server.media.unread import Unread, unread_of
from shoestring.server.request import ChatRequest, CompletionRequest
from shoestring.server.workers import Workers

Request = ChatRequest | CompletionRequest

_OFF = (
    "lies on the Web, and this server fetches nothing: send the file in base64, or start it with --allow-remote-media"
)


class MediaReading:
    """Reads for one model. web: how to reach the Web; None: nothing is fetched, and no name is looked up."""

    def __init__(self, vision: PictureReader, limits: Limits, web: Web | None = None) -> None:
        self._vision = vision
        self._limits = limits
        self._web = web
        self._vision.limits = dataclasses.replace(vision.limits, video_cpu_seconds=limits.video_cpu_seconds)
        self._fetching = Workers(8, "fetch")
        #: for headers of pictures, and the packets of videos in a child process
        self._headers = Workers(2, "media header")
        #: for what decodes: one picture or video after the other, as each may take a gigabyte
        self.decoding = Workers(1, "media")
        #: bytes that fetches in progress may bring, and have brought for requests in preparation
        self._claimed = 0

    @property
    def workers(self) -> tuple[Workers, ...]:
        return (self._fetching, self._headers, self.decoding)

    @contextmanager
    def claim(self, request: Request) -> Iterator[None]:
        """Room for what the request's pictures on the Web may bring, while it is prepared. Raises ApiError (503)."""
        remote = (
            isinstance(request, ChatRequest)
            and self._web is not None
            and any(media.is_remote for media in _unread(request))
        )
        size = self._limits.body_bytes if remote else 0
        if size and self._claimed and self._claimed + size > self._limits.bodies_bytes:
            raise from_exception(BusyError("too many pictures are being fetched"))
        self._claimed += size
        try:
            yield
        finally:
            self._claimed -= size

    async def read(self, request: ChatRequest) -> ChatRequest:
        """The request with its pictures and videos read. Raises ApiError that names the part."""
        unread = _unread(request)
        if not unread:
            return request
        if self._vision.sees:
            found = await self._sources(unread, _of_tools(request))
        else:
            found = dict.fromkeys(unread, "")
        messages = [self._settled(message, found) for message in request.messages]
        return dataclasses.replace(request, messages=tuple(messages))

    async def cost(self, media: Unread) -> Cost:
        """What one picture or video costs, from its header. Raises ApiError."""
        if not self._vision.sees:
            raise _refused(media, f"{media.where} is {_A[media.kind]}: {self._vision.missing}")
        try:
            if media.is_remote:
                raise RequestError(f"{media.where} lies on the Web: send the file in base64")
            return await self._headers.run(self._cost, media)
        except RequestError as error:
            raise _refused(media, str(error)) from error

    def _cost(self, media: Unread) -> Cost:
        source = Source(media.kind, media.data(), media.detail, media.where)
        tokens = self._vision.token_count(source)
        if media.kind == "image":
            picture = probe_picture(source.data, source.name, self._vision.limits)
            return Cost(tokens, picture.width, picture.height, 0.0)
        video = probe_video(source.data, source.name, self._vision.limits)
        return Cost(tokens, video.width, video.height, video.seconds)

    def _settled(self, message: Mapping[str, Any], found: Mapping[Unread, Source | str]) -> Mapping[str, Any]:
        """The message with sources; in a tool's result, lines for what could not be read. Raises ApiError."""
        content = message.get("content")
        if not isinstance(content, list) or not any(unread_of(part) for part in content):
            return message
        parts: list[dict[str, Any]] = []
        for part in content:
            media = unread_of(part)
            read = None if media is None else found[media]
            if media is None:
                parts.append(part)
            elif isinstance(read, Source):
                parts.append(read.part)
            elif message.get("role") == "tool":
                _add_line(parts, left_out(media.kind, why=str(read).replace(media.where, "it", 1)))
            else:
                raise _refused(media, read or f"{media.where} is {_A[media.kind]}: {self._vision.missing}")
        if len(parts) == 1 and parts[0]["type"] == "text":
            return {**message, "content": parts[0]["text"]}
        return {**message, "content": parts}

    async def _sources(self, unread: Iterable[Unread], of_tools: frozenset[Unread]) -> dict[Unread, Source | str]:
        """Each one's source, or why it cannot be read."""
        wanted = list(dict.fromkeys(unread))
        if sum(media.is_remote for media in wanted) > self._limits.remote_media:
            raise bad_request(
                f"more than {self._limits.remote_media} pictures lie on the Web: send the files in base64",
                param="messages",
            )
        budget = _Budget(self._limits.body_bytes)
        tasks = [asyncio.ensure_future(self._source(media, media in of_tools, budget)) for media in wanted]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return dict(zip(wanted, found, strict=True))

    async def _source(self, media: Unread, of_tool: bool, budget: _Budget) -> Source | str:
        try:
            if media.is_remote:
                data = await self._fetched(media)
                budget.take(len(data), media.where)
            else:
                data = await self._headers.run(media.data)
            source = Source(media.kind, data, media.detail, media.where)
            if of_tool or media.kind == "image":
                # Whether it can be read. A user's own video, which takes a process, is refused with the prompt.
                await self._headers.run(self._vision.token_count, source)
            if of_tool and media.kind == "image":
                await self.decoding.run(self._vision.check, source)
        except RequestError as error:
            return str(error)
        return source

    async def _fetched(self, media: Unread) -> bytes:
        if self._web is None:
            raise RequestError(f"{media.where} {_OFF}")
        limits = FetchLimits(self._limits.body_bytes, self._limits.fetch_seconds)
        fetch = Fetch(media.url, media.where, limits, self._web)
        running = asyncio.ensure_future(self._fetching.run(fetch.run))
        try:
            # A name may take longer to look up than anything lets us end.
            await asyncio.wait({running}, timeout=2 * limits.seconds)
            if not running.done():
                raise RequestError(
                    f"{media.where} cannot be fetched: it takes too long: send the file itself, in base64"
                )
            return running.result()
        finally:
            fetch.stop()
            running.cancel()


@dataclass(frozen=True)
class Cost:
    """Of one picture or video. width, height: as shown. seconds: of a video."""

    tokens: int
    width: int
    height: int
    seconds: float


_A = {"image": "an image", "video": "a video"}


class _Budget:
    """Bytes that all fetched files of one request may have."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int, where: str) -> None:
        self._left -= size
        if self._left < 0:
            raise RequestError(f"{where} cannot be fetched: the request's pictures are too large together")


def media_bytes(request: Request) -> int:
    """Bytes of the pictures and videos that a request holds until its answer ends."""
    messages = request.messages if isinstance(request, ChatRequest) else ()
    return sum(len(source.data) for source in sources_of(messages))


def _unread(request: ChatRequest) -> list[Unread]:
    return [media for message in request.messages for media in _of_message(message)]


def _of_message(message: Mapping[str, Any]) -> list[Unread]:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return [media for media in map(unread_of, parts) if media is not None]


def _of_tools(request: ChatRequest) -> frozenset[Unread]:
    return frozenset(
        media for message in request.messages if message.get("role") == "tool" for media in _of_message(message)
    )


def _add_line(parts: list[dict[str, Any]], line: str) -> None:
    """A line of its own, after the text before it."""
    if parts and parts[-1]["type"] == "text":
        parts[-1] = {"type": "text", "text": f"{parts[-1]['text']}\n{line}"}
    else:
        parts.append({"type": "text", "text": line})


def _refused(media: Unread, message: str) -> ApiError:
    return bad_request(message, code="unsupported_content", param=media.where)
