"""A picture or video as a client sent it, before anything of it is read: the value of a part of a message's content.

The endpoints write these, in all three APIs; reading.py turns them into `media.source.Source`, or refuses them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shoestring.errors import RequestError
from shoestring.media.source import Kind
from shoestring.printable import quoted

#: Types of OpenAI's parts.
_OPENAI: Mapping[str, Kind] = {"image_url": "image", "video_url": "video"}
_SPACE = re.compile(r"[ \t\r\n]+")
#: Characters of a data URL before its comma
_MOST_HEAD = 200


@dataclass(frozen=True)
class Unread:
    """where: the path of the part in the request, which errors name.

    url: a data URL, or one of the Web. base64: the file itself, where an API has no URL. problem: why it cannot be
    read, known from the form of the part alone.
    """

    kind: Kind
    where: str
    url: str = ""
    base64: str | None = None
    detail: str | None = None
    problem: str = ""

    def __repr__(self) -> str:
        return f"Unread({self.kind}, {self.where})"

    @property
    def part(self) -> dict[str, Any]:
        """The part of a message's content that shows it."""
        return {"type": self.kind, self.kind: self}

    @property
    def is_remote(self) -> bool:
        """Whether it lies on the Web."""
        return self.base64 is None and not self.problem and self.url[:8].lower().startswith(("http:", "https:"))

    def data(self) -> bytes:
        """The bytes that the request contains. Raises RequestError."""
        if self.problem:
            raise RequestError(f"{self.where} {self.problem}")
        return _decoded(self.base64 if self.base64 is not None else self._payload(), self.where)

    def _payload(self) -> str:
        """The base64 of a data URL. Its media type is not believed: the first bytes of the file decide."""
        comma = self.url.find(",", 0, _MOST_HEAD)
        if comma < 0 or not self.url[:comma].lower().rstrip().endswith(";base64"):
            what = "has no URL that is read: write data:image/png;base64, and the file in base64"
            raise RequestError(f"{self.where} {what}")
        return self.url[comma + 1 :]


def _decoded(text: str, where: str) -> bytes:
    for form in (str, _without_space):
        try:
            return base64.b64decode(form(text), validate=True)
        except (binascii.Error, ValueError):
            continue
    raise RequestError(f"{where} is not valid base64: encode the file's bytes")


def _without_space(text: str) -> str:
    """Many programs break base64 into lines."""
    return _SPACE.sub("", text)


def unread_of(part: Any) -> Unread | None:
    """The unread picture or video of a part of a content; None for any other part."""
    value = part.get(part.get("type")) if isinstance(part, Mapping) and part.get("type") in ("image", "video") else None
    return value if isinstance(value, Unread) else None


def content_of(parts: Iterable[str | Unread], separator: str = "") -> str | list[dict[str, Any]]:
    """A message's content: one text, or the parts in order, where texts that meet are joined by the separator."""
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Unread):
            content.append(part.part)
        elif content and content[-1]["type"] == "text":
            content[-1]["text"] += separator + part
        else:
            content.append({"type": "text", "text": part})
    if all(part["type"] == "text" for part in content):
        return "".join(part["text"] for part in content)
    return content


# --- of each API


def of_openai(kind: Kind, value: Any, where: str) -> Unread:
    """An `image_url` or `video_url` of OpenAI's API: {"url", "detail"}, or the URL alone."""
    fields = {"url": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping) or not isinstance(fields.get("url"), str):
        return Unread(kind, where, problem="needs a url")
    detail = fields.get("detail")
    if detail not in (None, "auto", "low", "high", "original"):
        return Unread(kind, where, problem=f"has the detail {quoted(detail)}: send low, high, original or auto")
    return Unread(kind, where, url=fields["url"], detail=detail)


def with_media(message: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """A message that is passed on as it came, its `image_url` and `video_url` parts unread."""
    content = message.get("content")
    if not isinstance(content, list):
        return message

    def read(part: Any, where: str) -> Any:
        kind = _OPENAI.get(part["type"]) if isinstance(part, dict) and isinstance(part.get("type"), str) else None
        return part if kind is None else of_openai(kind, part.get(part["type"]), f"{where}.{part['type']}").part

    parts = [read(part, f"messages.{number}.content.{place}") for place, part in enumerate(content)]
    return {**message, "content": parts}


def of_anthropic(source: Any, where: str) -> Unread:
    """The source of an image block of Anthropic's API."""
    match source:
        case {"type": "base64", "data": str(data)}:
            return Unread("image", where, base64=data)
        case {"type": "url", "url": str(url)}:
            return Unread("image", where, url=url)
        case {"type": "file"}:
            return Unread("image", where, problem="names a file of the Files API, which this server does not have")
    return Unread("image", where, problem="needs a source of type base64 or url")


def of_ollama(images: Sequence[Any], where: str) -> list[Unread]:
    """The `images` of Ollama's API: files in base64."""
    return [
        Unread("image", f"{where}.{number}", base64=image)
        if isinstance(image, str)
        else Unread("image", f"{where}.{number}", problem="is no text: send the file in base64")
        for number, image in enumerate(images)
    ]
