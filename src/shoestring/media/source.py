"""Source: a picture or a video as a message carries it: its bytes, and how closely it is to be looked at.

In a message, it is the value of a part of the content: {"type": "image", "image": Source} or {"type": "video", "video":
Source}. JSON cannot write one, so a client of a server never names a file of this machine.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from shoestring.errors import RequestError
from shoestring.media.limits import LIMITS, Limits, check_bytes

Kind = Literal["image", "video"]


@dataclass(frozen=True)
class Source:
    """detail: OpenAI's: "low" limits a picture's tokens; None, "auto" and "high" do not. name: for errors."""

    kind: Kind
    data: bytes
    detail: str | None = None
    name: str = "the picture"

    @cached_property
    def digest(self) -> bytes:
        """Of the data: 32 bytes."""
        return hashlib.sha256(self.data).digest()

    def __repr__(self) -> str:
        return f"Source({self.kind}, {self.name!r}, {len(self.data):,} bytes)"

    @property
    def part(self) -> dict[str, Any]:
        """The part of a message's content that shows it."""
        return {"type": self.kind, self.kind: self}


def source_of(part: Any) -> Source | None:
    """The source of a part of a content; None for any other part."""
    if not isinstance(part, Mapping) or part.get("type") not in ("image", "video"):
        return None
    source = part.get(part["type"])
    return source if isinstance(source, Source) and source.kind == part["type"] else None


def sources_of(messages: Iterable[Any]) -> list[Source]:
    """The pictures and videos of a conversation, in order."""
    found = []
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, list | tuple) else ():
            source = source_of(part)
            if source is not None:
                found.append(source)
    return found


def data_url(source: Source, media_type: str = "") -> str:
    """The source as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(source.data).decode()}"


def from_data_url(url: str, kind: Kind, name: str = "", limits: Limits = LIMITS) -> Source:
    """The source that a data URL contains, in base64. Its type is ignored: the first bytes tell it.

    Raises RequestError for another URL, and for one that is damaged or too long.
    """
    name = name or ("the picture" if kind == "image" else "the video")
    head, comma, body = url.partition(",")
    if head[:5].casefold() != "data:" or not comma or not head.casefold().endswith(";base64"):
        raise RequestError(f"{name} is not a data URL in base64: write data:image/png;base64,…")
    most = limits.picture_bytes if kind == "image" else limits.video_bytes
    check_bytes(name, len(body) * 3 // 4, most)
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError:
        raise RequestError(f"{name} is not valid base64: encode its bytes again, without line breaks") from None
    return Source(kind, data, name=name)
