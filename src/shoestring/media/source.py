"""Source: a picture or a video as a message carries it: its bytes, and how closely it is to be looked at.

In a message, it is the value of a part of the content: {"type": "image", "image": Source} or {"type": "video", "video":
Source}. JSON cannot write one, so a client of a server never names a file of this machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

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
