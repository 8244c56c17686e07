"""Convert the service's items to OpenAI's chunks, or to one completion, built from the same pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from shoestring.ops.sampling import Sampled
from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments
from shoestring.server.http.streaming import event
from shoestring.server.request import Delta, Finished, Progress, Started, StreamItem, Usage

#: Ours → OpenAI's.
FINISH_REASONS = {"stop": "stop", "length": "length", "context": "length", "tool_calls": "tool_calls"}

TokenBytes = Callable[[int], bytes]


def usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
    }


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
        return [self._entry(token) for token in tokens[self._trimmed(tokens, text) :]]

    def _trimmed(self, tokens: list[Sampled], text: bytes) -> int:
        """Number of leading tokens that are not part of the text: white space between thinking and content."""
        texts = [self.token_bytes(token.id) for token in tokens]
        number = 0
        while number < len(tokens) and b"".join(texts[number + 1 :]).endswith(text):
            number += 1
        return number

    def _entry(self, token: Sampled) -> dict[str, Any]:
        top = [self._token(id, logprob) for id, logprob in token.top]
        return {**self._token(token.id, token.logprob or 0.0), "top_logprobs": top}

    def _token(self, id: int, logprob: float) -> dict[str, Any]:
        data = self.token_bytes(id)
        return {"token": data.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(data)}


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
    """A streamed answer. head: fields of every chunk; logprobs: makes one reader per choice, None: not requested."""

    head: dict[str, Any]
    answers: int
    include_usage: bool
    include_progress: bool
    logprobs: Callable[[], Logprobs] | None

    async def texts(self, stream: AsyncIterator[StreamItem]) -> AsyncIterator[str]:
        """The server-sent events, with [DONE] at the end."""
        readers = [self.logprobs() for _ in range(self.answers)] if self.logprobs else []
        started: Started | None = None
        async for item in stream:
            match item:
                case Started():
                    started = item
                    first = {"role": "assistant", "content": ""}
                    yield "".join(self._choice(choice, first) for choice in range(self.answers))
                case Progress(computed, total):
                    yield self._progress(computed, total, started)
                case Delta(choice, events, _):
                    entries = readers[choice].push(item) if readers else None
                    deltas = [delta for delta in map(delta_of, events) if delta]
                    for number, delta in enumerate(deltas):
                        last = number == len(deltas) - 1
                        yield self._choice(choice, delta, entries if last else None)
                case Finished(choice, reason):
                    yield self._choice(choice, {}, None, FINISH_REASONS[reason])
                case Usage() if self.include_usage:
                    yield event({**self.head, "choices": [], "usage": usage_body(item)})
        yield event("[DONE]")

    def _choice(
        self, choice: int, delta: dict[str, Any], entries: list[dict[str, Any]] | None = None, reason: str | None = None
    ) -> str:
        logprobs = {"content": entries, "refusal": None} if entries else None
        entry = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return event({**self.head, "choices": [entry], **({"usage": None} if self.include_usage else {})})

    def _progress(self, computed: int, total: int, started: Started | None) -> str:
        comment = f": prefill {computed}/{total}\n\n"
        if not self.include_progress:
            return comment
        cached = started.cached_tokens if started else 0
        prefill = {"computed": computed, "prompt_tokens": total, "cached_tokens": cached}
        return comment + event({**self.head, "choices": [], "prefill": prefill})


@dataclass
class _Message:
    """One choice of an answer that is not streamed."""

    thinking: str = ""
    content: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    reason: str = "stop"

    def take(self, events: tuple[Event, ...]) -> None:
        for one in events:
            match one:
                case Thinking(text):
                    self.thinking += text
                case Content(text):
                    self.content += text
                case ToolCall(_, id, name):
                    self.calls.append({"id": id, "type": "function", "function": {"name": name, "arguments": ""}})
                case ToolCallArguments(index, text):
                    self.calls[index]["function"]["arguments"] += text

    def choice(self, index: int, with_logprobs: bool) -> dict[str, Any]:
        content = None if self.calls and not self.content else self.content
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if self.thinking:
            message |= {"reasoning_content": self.thinking, "reasoning": self.thinking}
        if self.calls:
            message["tool_calls"] = self.calls
        logprobs = {"content": self.entries, "refusal": None} if with_logprobs else None
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": self.reason}


async def completion(
    stream: AsyncIterator[StreamItem], head: dict[str, Any], answers: int, logprobs: Callable[[], Logprobs] | None
) -> dict[str, Any]:
    """The complete answer: OpenAI's chat.completion."""
    messages = [_Message() for _ in range(answers)]
    readers = [logprobs() for _ in range(answers)] if logprobs else []
    usage: dict[str, Any] = {}
    async for item in stream:
        match item:
            case Delta(choice, events, _):
                messages[choice].take(events)
                if readers:
                    messages[choice].entries += readers[choice].push(item)
            case Finished(choice, reason):
                messages[choice].reason = FINISH_REASONS[reason]
            case Usage():
                usage = usage_body(item)
    choices = [message.choice(index, bool(readers)) for index, message in enumerate(messages)]
    return {**head, "choices": choices, "usage": usage}
