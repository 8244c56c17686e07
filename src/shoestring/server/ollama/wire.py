"""Convert the service's items to Ollama's lines: a stream of JSON objects, or one object with all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import chain
from time import perf_counter_ns
from typing import Any, Literal

from shoestring.ops.sampling import Sampled
from shoestring.output.pieces import Call, Pieces
from shoestring.server.answers import TokenBytes, logprob_entry, read_arguments, stop_or_length
from shoestring.server.request import Delta, Finished, Started, StreamItem, Usage

Line = dict[str, Any]


class Lines:
    """The lines of one answer. kind: which endpoint. token_bytes: None if the request wants no log-probabilities."""

    def __init__(self, model: str, kind: Literal["chat", "generate"], token_bytes: TokenBytes | None) -> None:
        self._model = model
        self._kind = kind
        self._token_bytes = token_bytes
        #: times in ns
        self._arrived = self._started = self._first = perf_counter_ns()
        self._ended: int | None = None
        self._answering = False
        self._pieces = Pieces(0)
        self._calls = 0
        self._reason: Literal["stop", "length"] = "stop"
        self._inside: dict[str, Any] = {}

    def take(self, item: StreamItem) -> list[Line]:
        """Convert an item of the service to lines, perhaps none."""
        match item:
            case Started():
                self._started = self._first = perf_counter_ns()
            case Delta():
                return self._delta(item)
            case Finished():
                self._ended = perf_counter_ns()
                self._reason = stop_or_length(item.reason)
                self._inside = {"ended_inside_thinking": True} if item.inside_thinking else {}
            case Usage():
                return [self._last(item)]
        return []

    def _delta(self, delta: Delta) -> list[Line]:
        if not self._answering:
            self._answering = True
            self._first = perf_counter_ns()
        messages: list[dict[str, Any]] = []
        for piece in self._pieces.take(delta.events, delta.tokens):
            if piece.text:
                messages.append({"thinking" if piece.thinking else "content": piece.text})
            messages += [{"tool_calls": [self._call(call)]} for call in piece.calls]
        logprobs = [self._logprob(token) for token in delta.tokens if token.logprob is not None and self._token_bytes]
        if logprobs and not messages:
            messages = [{}]
        lines = [self.line(message) for message in messages]
        if logprobs:
            lines[0]["logprobs"] = logprobs
        return lines

    def _call(self, call: Call) -> dict[str, Any]:
        index, self._calls = self._calls, self._calls + 1
        arguments = read_arguments(call.arguments)
        return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}

    def _logprob(self, token: Sampled) -> dict[str, Any]:
        assert self._token_bytes is not None
        entry = logprob_entry(token, self._token_bytes)
        return {name: value for name, value in entry.items() if value or name != "top_logprobs"}

    def line(self, message: Mapping[str, Any], **more: Any) -> Line:
        """One line that adds `message` (content, thinking, tool_calls) to the answer."""
        line: Line = {"model": self._model, "created_at": now()}
        if self._kind == "chat":
            line["message"] = {"role": "assistant", "content": "", **message}
        else:
            line["response"] = message.get("content", "")
            if "thinking" in message:
                line["thinking"] = message["thinking"]
        return {**line, "done": False, **more}

    def done(self, reason: str) -> Line:
        """The last line of an answer without computation."""
        return self.line({}, done=True, done_reason=reason)

    def _last(self, usage: Usage) -> Line:
        ended = self._ended or perf_counter_ns()
        first = self._first if self._answering else ended
        return self.line(
            {},
            done=True,
            done_reason=self._reason,
            total_duration=ended - self._arrived,
            load_duration=self._started - self._arrived,
            prompt_eval_count=usage.prompt_tokens,
            prompt_eval_duration=first - self._started,
            eval_count=usage.completion_tokens,
            eval_duration=ended - first,
            **self._inside,
        )


def whole(lines: Sequence[Line]) -> Line:
    """Merge all lines of an answer: concatenate texts, calls and log-probabilities; take counts from the last line."""
    answer = {**lines[-1], **_together(lines, "response", "thinking", "logprobs")}
    if "message" in answer:
        messages = [line["message"] for line in lines]
        answer["message"] |= _together(messages, "content", "thinking", "tool_calls")
    return answer


def _together(parts: Sequence[Mapping[str, Any]], *fields: str) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for field in fields:
        pieces = [part[field] for part in parts if field in part]
        if pieces:
            joined[field] = "".join(pieces) if isinstance(pieces[0], str) else list(chain.from_iterable(pieces))
    return joined


def now() -> str:
    """The current time in RFC 3339, as Ollama writes times."""
    return timestamp(datetime.now(timezone.utc))


def timestamp(moment: datetime) -> str:
    """A time in RFC 3339, as Ollama writes it."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
