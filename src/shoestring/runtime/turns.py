"""The order of a conversation's messages as chat templates accept it: one system message, and that first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoestring.runtime.request import Message

_SYSTEM = ("system", "developer")


def ordered(messages: Sequence[Message]) -> list[Message]:
    """The messages with one system message at most, the first one.

    "developer" is OpenAI's newer name of "system". Those at the beginning become one. Later ones, which templates
    refuse, join the user's message before them, or become one, in the tags that Claude Code uses there.
    """
    turns: list[Message] = []
    for message in messages:
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in _SYSTEM:
            turns.append(message)
            continue
        if not turns:
            turns.append({**message, "role": "system"})
            continue
        last = turns[-1]
        if isinstance(last, Mapping) and last.get("role") == "system":
            turns[-1] = {**last, "content": joined(last.get("content"), message.get("content"))}
            continue
        reminder = joined("<system-reminder>", message.get("content"), "</system-reminder>")
        if isinstance(last, Mapping) and last.get("role") == "user":
            turns[-1] = {**last, "content": joined(last.get("content"), reminder)}
        else:
            turns.append({"role": "user", "content": reminder})
    return turns


def joined(*contents: Any) -> Any:
    """Contents with a line break between them: a text, or a list of parts if one of them is such a list."""
    contents = tuple(content for content in contents if content not in (None, ""))
    if all(isinstance(content, str) for content in contents):
        return "\n".join(contents)
    parts: list[Any] = []
    for content in contents:
        parts += [{"type": "text", "text": "\n"}] if parts else []
        parts += (
            [{"type": "text", "text": content}]
            if isinstance(content, str)
            else content
            if isinstance(content, list)
            else [content]
        )
    return parts
