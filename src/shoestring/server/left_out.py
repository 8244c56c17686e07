"""What stands in a tool's result for a part that is no text: a line that says what was left out, or a document's text.

A tool answers what its program decided, so the user cannot leave out such a part. A picture or video that the model
reads is no such part; a user's own that it does not read is refused (media/reading.py).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from shoestring.printable import quoted, shortened

_MOST_NAME = 100
_MOST_REASON = 300

#: Names of parts in OpenAI's, Anthropic's and Ollama's APIs.
_KINDS = {
    **dict.fromkeys(("image", "image_url", "input_image"), "an image"),
    **dict.fromkeys(("input_audio", "audio", "audio_url"), "a sound"),
    **dict.fromkeys(("video", "video_url", "input_video"), "a video"),
    "browser_state": "the state of a browser",
    **dict.fromkeys(("document", "file", "input_file"), "a document"),
    "container_upload": "a file",
}


def left_out(kind: str, name: object = None, why: object = None) -> str:
    """The line for a part of this type. name: its title or its file's name. why: what was wrong with it."""
    what = _KINDS.get(kind, f"a part of type {shortened(kind, _MOST_NAME)}")
    title = f" ({shortened(name, _MOST_NAME)})" if isinstance(name, str) and name else ""
    reason = shortened(why, _MOST_REASON) if isinstance(why, str) and why else "only text can be read here"
    return f"[{what}{title} was left out: {reason}]"


def a_part(kind: str, file: Mapping[str, Any] | None = None) -> str:
    """What a part of this type is, for an error. file: of a part of type "file", whose data may be a data URL."""
    data = (file or {}).get("file_data")
    if isinstance(data, str) and data.startswith("data:"):
        media = data[5:_MOST_NAME].split(",")[0].split(";")[0]
        return "a PDF document" if media == "application/pdf" else f"a file of type {quoted(media)}"
    return f"of type {quoted(kind)}"


def a_block(block: Mapping[str, Any]) -> str:
    """What a block of Anthropic's API is, for an error."""
    source = block.get("source")
    media = source.get("media_type") if isinstance(source, Mapping) else None
    what = "a PDF document, " if media == "application/pdf" else ""
    return f"{what}a block of type {quoted(block.get('type'))}"


def file_text(file: Mapping[str, Any]) -> str | None:
    """The text of a file in OpenAI's form, whose `file_data` is a data URL; None if it is no text."""
    data = file.get("file_data")
    if not isinstance(data, str) or not data.startswith("data:text/"):
        return None
    head, comma, body = data.partition(",")
    if not comma or not head.endswith(";base64"):
        return None
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def document_text(block: Mapping[str, Any]) -> str | None:
    """The text of Anthropic's document or search result, with its title; None if a part of it is no text."""
    source = block.get("source")
    if block.get("type") == "search_result":
        heads, content = [block.get("title"), source], block.get("content")
    elif isinstance(source, Mapping) and source.get("type") == "text":
        heads, content = [block.get("title"), block.get("context")], source.get("data")
    elif isinstance(source, Mapping) and source.get("type") == "content":
        heads, content = [block.get("title"), block.get("context")], source.get("content")
    else:
        return None
    texts = [head for head in heads if isinstance(head, str) and head]
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(texts)
