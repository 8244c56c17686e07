"""Convert the service's items to OpenAI's chunks, and chunks to one completion."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from shoestring.ops.sampling import Sampled
from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments
from shoestring.server.answers import TokenBytes, logprob_entry, stop_or_length
from shoestring.server.http.streaming import event
from shoestring.server.request import Delta, Finished, Progress, Started, StreamItem, Usage

Chunk = dict[str, Any]


@dataclass
class Logprobs:
    """Log-probabilities of the content's tokens, without those of thinking, calls and marks.

    A token whose text is held back waits for the event that shows what it belongs to.
    """

    token_bytes: TokenBytes
    hidden: frozenset[int]
    _waiting: list[Sampled] = field(default_factory=list)

    def push(self, delta: Delta) -> list[dict[str, Any]]:
        self._waiting += delta.tokens
        if not delta.events:
            return []
        tokens, self._waiting = self._waiting, []
        text = "".join(e.text for e in delta.events if isinstance(e, Content)).encode("utf-8", "replace")
        if not text:
            return []
        tokens = [token for token in tokens if token.id not in self.hidden and token.logprob is not None]
        return [logprob_entry(token, self.token_bytes) for token in tokens[self._trimmed(tokens, text) :]]

    def _trimmed(self, tokens: list[Sampled], text: bytes) -> int:
        """Number of leading tokens that are not part of the text: white space between thinking and content."""
        texts = [self.token_bytes(token.id) for token in tokens]
        number = 0
        while number < len(tokens) and b"".join(texts[number + 1 :]).endswith(text):
            number += 1
        return number


def delta_of(event: Event) -> dict[str, Any]:
    """OpenAI's delta for an event; empty if there is none."""
    match event:
        case Thinking(text):
            return {"reasoning_content": text, "reasoning": text}
        case Content(text):
            return {"content": text}
        case ToolCall(index, id, name):
            call = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
            return {"tool_calls": [call]}
        case ToolCallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
        case _:
            return {}


@dataclass
class Chunks:
    """The chunks of a request's answers. head: fields of every chunk; logprobs: makes one reader per answer."""

    head: dict[str, Any]
    answers: int
    include_usage: bool
    include_progress: bool
    logprobs: Callable[[], Logprobs] | None

    def __post_init__(self) -> None:
        self._readers = [self.logprobs() for _ in range(self.answers)] if self.logprobs else []
        self._cached_tokens = 0

    def take(self, item: StreamItem) -> list[Chunk]:
        """Convert an item of the service to chunks, perhaps none."""
        match item:
            case Started():
                self._cached_tokens = item.cached_tokens
                return [self._chunk(choice, {"role": "assistant", "content": ""}) for choice in range(self.answers)]
            case Progress(computed, total) if self.include_progress:
                prefill = {"computed": computed, "prompt_tokens": total, "cached_tokens": self._cached_tokens}
                return [{**self.head, "choices": [], "prefill": prefill}]
            case Delta(choice, events, _):
                entries = self._readers[choice].push(item) if self._readers else []
                chunks = [self._chunk(choice, delta) for delta in map(delta_of, events) if delta]
                if entries:
                    chunks[-1]["choices"][0]["logprobs"] = {"content": entries, "refusal": None}
                return chunks
            case Finished(choice, reason, stop, inside):
                chunk = self._chunk(choice, {}, "tool_calls" if reason == "tool_calls" else stop_or_length(reason))
                if inside:
                    chunk["choices"][0]["ended_inside_thinking"] = True
                if stop is not None:  # vLLM's field
                    chunk["choices"][0]["stop_reason"] = stop
                return [chunk]
            case Usage() if self.include_usage:
                return [{**self.head, "choices": [], "usage": _usage(item)}]
        return []

    def _chunk(self, choice: int, delta: dict[str, Any], reason: str | None = None) -> Chunk:
        entry = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self.head, "choices": [entry], **({"usage": None} if self.include_usage else {})}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
    }


async def streamed(stream: AsyncIterator[StreamItem], chunks: Chunks) -> AsyncGenerator[Chunk | str, None]:
    """The chunks, with comments that report progress, and [DONE] at the end."""
    async for item in stream:
        if isinstance(item, Progress):
            yield f": prefill {item.computed}/{item.prompt_tokens}\n\n"
        for chunk in chunks.take(item):
            yield chunk
    yield event("[DONE]")


async def completion(stream: AsyncIterator[StreamItem], chunks: Chunks) -> dict[str, Any]:
    """The complete answers, from their chunks: OpenAI's chat.completion."""
    whole: dict[str, Any] = {**chunks.head, "choices": [{} for _ in range(chunks.answers)]}
    async for item in stream:
        for chunk in chunks.take(item):
            whole["usage"] = chunk.get("usage")
            for piece in chunk["choices"]:
                _add(whole["choices"][piece["index"]], piece, chunks.logprobs is not None)
    for choice in whole["choices"]:
        if "tool_calls" in choice["message"]:
            choice["message"]["content"] = choice["message"]["content"] or None
    return whole


def _add(choice: dict[str, Any], piece: dict[str, Any], has_logprobs: bool) -> None:
    """Add a piece of an answer to its choice."""
    if not choice:
        choice |= {**piece, "message": {"role": "assistant", "content": "", "refusal": None}}
        choice["logprobs"] = {"content": [], "refusal": None} if has_logprobs else None
        del choice["delta"]
    message, delta = choice["message"], piece["delta"]
    for name in ("content", "reasoning_content", "reasoning"):
        if name in delta:
            message[name] = message.get(name, "") + delta[name]
    for call in delta.get("tool_calls", ()):
        if "id" in call:
            message.setdefault("tool_calls", []).append({key: call[key] for key in ("id", "type", "function")})
        else:
            message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    if piece["logprobs"]:
        choice["logprobs"]["content"] += piece["logprobs"]["content"]
    choice |= {name: piece[name] for name in ("finish_reason", "stop_reason", "ended_inside_thinking") if name in piece}
