"""Pictures in messages: from what callers of the Python API give to Sources, and from Sources to what templates see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring.errors import RequestError
from shoestring.files import read_input
from shoestring.media.limits import LIMITS
from shoestring.media.source import Kind, Source, from_data_url, source_of
from shoestring.runtime.request import Message

#: Types of parts, ours and OpenAI's → the kind of file.
_KINDS: Mapping[str, Kind] = {"image": "image", "image_url": "image", "video": "video", "video_url": "video"}
_ROLES = ("tool", "function", "ipython")


def with_sources(messages: Any) -> Any:
    """Messages whose pictures and videos are Sources: paths, bytes and data URLs are read. For trusted callers alone.

    A part is {"type": "image", "image": …} or {"type": "image_url", "image_url": {"url": …}}; likewise video. What is
    no such part stays as it is. Raises RequestError, TypeError.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return messages
    if messages and not isinstance(messages[0], Mapping):
        return [with_sources(conversation) for conversation in messages]
    return [_with_sources(message) for message in messages]


def with_data_urls(messages: Sequence[Any]) -> list[Any]:
    """As `with_sources`, for messages of a file: data URLs are decoded, paths are not read."""
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping) and part.get("type") in _KINDS:
                value = part.get(part["type"])
                if not isinstance(value, str) or not value.startswith("data:"):
                    raise RequestError("a picture or video of a saved conversation is not a data URL")
    return [_with_sources(message) for message in messages]


def _with_sources(message: Any) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list | tuple):
        return message
    return {**message, "content": [_part(part) for part in content]}


def _part(part: Any) -> Any:
    if source_of(part) is not None or not isinstance(part, Mapping) or part.get("type") not in _KINDS:
        return part
    value, detail = part.get(part["type"]), part.get("detail")
    if isinstance(value, Mapping):
        detail, value = value.get("detail", detail), value.get("url")
    source = source_from(value, _KINDS[part["type"]])
    return (source if detail is None else replace(source, detail=detail)).part


def source_from(value: Any, kind: Kind) -> Source:
    """The source that a path, bytes, a data URL or another Source is. Raises RequestError, TypeError."""
    if isinstance(value, Source):
        return replace(value, kind=kind)
    if isinstance(value, bytes | bytearray | memoryview):
        return Source(kind, bytes(value), name="the picture" if kind == "image" else "the video")
    if isinstance(value, str) and value[:5].casefold() == "data:":
        return from_data_url(value, kind)
    if isinstance(value, str) and value.split("://")[0].casefold() in ("http", "https"):
        raise RequestError(f"{value[:100]} is not fetched: download it, and give its path")
    if isinstance(value, str | Path):
        most = LIMITS.picture_bytes if kind == "image" else LIMITS.video_bytes
        return Source(kind, read_input(Path(value), most), name=str(value))
    raise TypeError(f"{kind} is a {type(value).__name__}: give a path, bytes or a data URL")


def for_template(messages: Sequence[Message]) -> list[Message]:
    """The messages with {"type": "image"} or {"type": "video"} in a Source's place, as templates know it.

    Raises RequestError for such a part without a Source.
    """
    return [
        {**message, "content": [_shown(part) for part in message["content"]]}
        if isinstance(message, Mapping) and isinstance(message.get("content"), list | tuple)
        else message
        for message in messages
    ]


def _shown(part: Any) -> Any:
    source = source_of(part)
    if source is not None:
        return {"type": source.kind}
    if isinstance(part, Mapping) and part.get("type") in _KINDS:
        raise RequestError(f"a part of type {part['type']!r} has no picture or video in it that can be read")
    return part


def out_of_tools(messages: Sequence[Message]) -> list[Message]:
    """The messages with the pictures of tools' results in a user's message behind them.

    For templates that write the results of tools as text or JSON, where a picture would be lost.
    """
    moved: list[Message] = []
    pictures: list[Any] = []
    for message in messages:
        if pictures and message.get("role") not in _ROLES:
            moved.append({"role": "user", "content": pictures})
            pictures = []
        content = message.get("content")
        if message.get("role") in _ROLES and isinstance(content, list):
            pictures += [part for part in content if source_of(part) is not None]
            message = {**message, "content": [part for part in content if source_of(part) is None]}
        moved.append(message)
    return [*moved, {"role": "user", "content": pictures}] if pictures else moved
