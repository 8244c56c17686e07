"""What an answer says, the same whether it was streamed: thinking, content and calls of each choice, in one text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def whole(body: dict[str, Any]) -> str:
    """The text of an answer that came in one piece."""
    if "choices" in body:
        return _joined((choice["index"], _choice(choice, choice.get("message", {}))) for choice in body["choices"])
    if isinstance(body.get("content"), list):
        return "".join(_block(block) for block in body["content"])
    return _line(body)


def pieces(chunks: Iterable[dict[str, Any]]) -> str:
    """The text of an answer that was streamed."""
    parts: list[tuple[int, str]] = []
    for chunk in chunks:
        if "choices" in chunk:
            parts += [(choice["index"], _choice(choice, choice.get("delta", {}))) for choice in chunk["choices"]]
        elif chunk.get("type") == "content_block_start":
            block = chunk["content_block"]
            parts.append((0, block["name"] if block["type"] == "tool_use" else ""))
        elif chunk.get("type") == "content_block_delta":
            delta = chunk["delta"]
            parts.append((0, "".join(str(delta.get(name, "")) for name in ("thinking", "text", "partial_json"))))
        elif "model" in chunk:
            parts.append((0, _line(chunk)))
    return _joined(parts)


def content(body: dict[str, Any] | list[dict[str, Any]]) -> str:
    """What the next turn of a conversation repeats: the content, without thinking."""
    chunks = body if isinstance(body, list) else [body]
    found = []
    for chunk in chunks:
        for choice in chunk.get("choices", ()):
            found.append((choice.get("message") or choice.get("delta") or {}).get("content") or "")
        if isinstance(chunk.get("content"), list):
            found += [block.get("text", "") for block in chunk["content"]]
        if chunk.get("type") == "content_block_delta":
            found.append(chunk["delta"].get("text", ""))
        if isinstance(chunk.get("message"), dict) and chunk.get("type") is None:
            found.append(chunk["message"].get("content") or "")
    return "".join(found) or "."


def _joined(parts: Iterable[tuple[int, str]]) -> str:
    texts: dict[int, str] = {}
    for index, text in parts:
        texts[index] = texts.get(index, "") + text
    return "\x1e".join(text for _, text in sorted(texts.items()))


def _choice(choice: dict[str, Any], message: dict[str, Any]) -> str:
    found = [choice.get("text"), message.get("reasoning_content"), message.get("content")]
    for call in message.get("tool_calls") or ():
        found += [call["function"].get("name"), call["function"].get("arguments")]
    return "".join(text for text in found if text)


def _block(block: dict[str, Any]) -> str:
    if block["type"] == "tool_use":
        return str(block["name"]) + json.dumps(block["input"])
    return str(block.get("thinking", "")) + str(block.get("text", ""))


def _line(line: dict[str, Any]) -> str:
    """Of Ollama's API."""
    message = line.get("message") or {}
    found = [line.get("thinking"), line.get("response"), message.get("thinking"), message.get("content")]
    found += [json.dumps(call["function"]) for call in message.get("tool_calls") or ()]
    return "".join(text for text in found if text)
