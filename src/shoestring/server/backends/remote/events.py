"""Turn the chunks of an OpenAI-compatible server to our items, so that all our APIs can answer with them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.engine.request import FinishReason
from shoestring.ops.sampling import Sampled
from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments, ToolCallEnd
from shoestring.server.backends.remote.spellings import Interned
from shoestring.server.request import Delta, Finished, Progress, Started, StreamItem, Usage


@dataclass
class _Answer:
    """One of the answers to a prompt, as far as it goes."""

    #: the server's index of the open call, ours, and whether it has arguments yet
    open: tuple[int, int, bool] | None = None
    calls: int = 0
    thought: bool = False
    said: bool = False
    ended: bool = False


@dataclass
class Items:
    """The items of one request. answers: their number; limit: max_tokens; context: the server's, 0 if not known.

    The server's first chunk does not say how long the prompt is, so Started waits for the first one that does, or has
    a part of an answer.
    """

    answers: int
    limit: int | None
    context: int
    spelled: Interned
    _started: bool = False
    _choices: list[_Answer] = field(default_factory=list)
    #: answers that were cut off: whether by the context is known with the usage
    _cut: list[tuple[int, str | None, bool]] = field(default_factory=list)
    _usage: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._choices = [_Answer() for _ in range(self.answers)]

    @property
    def complete(self) -> bool:
        """Whether every answer has ended."""
        return all(choice.ended for choice in self._choices)

    def take(self, chunk: Mapping[str, Any]) -> list[StreamItem]:
        """The items that a chunk adds."""
        usage, prefill = _mapping(chunk.get("usage")), _mapping(chunk.get("prefill"))
        self._usage = usage or self._usage
        items: list[StreamItem] = []
        for piece in chunk.get("choices") or ():
            index = _count(_mapping(piece).get("index"))
            if index < self.answers:
                items += self._piece(index, _mapping(piece))
        if not self._started and (items or usage or prefill):
            self._started = True
            prompt = _count(usage.get("prompt_tokens")) or _count(prefill.get("prompt_tokens"))
            cached = _cached(usage) or _count(prefill.get("cached_tokens"))
            items.insert(0, Started(prompt, cached))
        if prefill:
            items.append(Progress(_count(prefill.get("computed")), _count(prefill.get("prompt_tokens"))))
        return items

    def finish(self) -> list[StreamItem]:
        """The last items."""
        usage = self._usage
        prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        items: list[StreamItem] = [] if self._started else [Started(prompt, _cached(usage))]
        full = self.context and prompt + completion // self.answers >= self.context
        reason: FinishReason = "context" if full and completion != self.limit else "length"
        items += [Finished(choice, reason, stop, inside) for choice, stop, inside in self._cut]
        details = _mapping(usage.get("completion_tokens_details"))
        thinking = _count(details.get("reasoning_tokens"))
        return [*items, Usage(prompt, _cached(usage), completion, thinking)]

    def _piece(self, index: int, piece: Mapping[str, Any]) -> Iterator[StreamItem]:
        choice = self._choices[index]
        delta = _mapping(piece.get("delta"))
        events = [*self._texts(choice, delta, piece), *self._calls(choice, delta)]
        reason = piece.get("finish_reason")
        if reason:
            events += _close(choice)
        tokens = self._tokens(_mapping(piece.get("logprobs")))
        if events or tokens:
            yield Delta(index, tuple(events), tokens)
        if reason and not choice.ended:
            choice.ended = True
            yield from self._end(index, choice, piece, reason)

    def _end(self, index: int, choice: _Answer, piece: Mapping[str, Any], reason: Any) -> Iterator[StreamItem]:
        stop = piece.get("stop_reason")
        stop = stop if isinstance(stop, str) else None
        inside = piece.get("ended_inside_thinking") is True or (choice.thought and not (choice.said or choice.calls))
        if reason == "length":
            self._cut.append((index, stop, inside))
        else:
            # Some servers say "stop" after a call that was required.
            yield Finished(index, "tool_calls" if choice.calls else "stop", stop, inside)

    def _texts(self, choice: _Answer, delta: Mapping[str, Any], piece: Mapping[str, Any]) -> Iterator[Event]:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            choice.thought = True
            yield Thinking(thought)
        for text in (delta.get("content"), delta.get("refusal"), piece.get("text")):
            if isinstance(text, str) and text:
                choice.said = True
                yield Content(text)

    def _calls(self, choice: _Answer, delta: Mapping[str, Any]) -> Iterator[Event]:
        for call in delta.get("tool_calls") or ():
            function = _mapping(_mapping(call).get("function"))
            number = _count(call.get("index"))
            if choice.open is None or choice.open[0] != number:
                yield from _close(choice)
                id = call.get("id")
                yield ToolCall(choice.calls, id if isinstance(id, str) and id else new_id(), str(function.get("name")))
                choice.open = (number, choice.calls, False)
                choice.calls += 1
            arguments = function.get("arguments")
            if isinstance(arguments, str) and arguments:
                yield ToolCallArguments(choice.open[1], arguments)
                choice.open = (choice.open[0], choice.open[1], True)

    def _tokens(self, logprobs: Mapping[str, Any]) -> tuple[Sampled, ...]:
        """The log-probabilities of a chat's chunk, or of a completion's."""
        if "content" in logprobs:
            return tuple(self._sampled(_mapping(entry)) for entry in logprobs["content"] or ())
        columns = [logprobs.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs")]
        texts, values, tops = columns
        tops = tops or [{}] * len(texts)
        return tuple(
            Sampled(
                self.spelled.of_text(text),
                value,
                tuple((self.spelled.of_text(other), float(it)) for other, it in _mapping(top).items()),
            )
            for text, value, top in zip(texts, values, tops, strict=False)
        )

    def _sampled(self, entry: Mapping[str, Any]) -> Sampled:
        others = [_mapping(other) for other in entry.get("top_logprobs") or ()]
        top = tuple((self._id(other), float(other.get("logprob") or 0.0)) for other in others)
        return Sampled(self._id(entry), entry.get("logprob"), top)

    def _id(self, entry: Mapping[str, Any]) -> int:
        data = entry.get("bytes")
        if isinstance(data, list):
            return self.spelled.of_bytes(bytes(data))
        return self.spelled.of_text(str(entry.get("token")))


def _close(choice: _Answer) -> Iterator[Event]:
    """The end of the open call, if there is one; its arguments are an object."""
    if choice.open is not None:
        _, index, has_arguments = choice.open
        choice.open = None
        if not has_arguments:
            yield ToolCallArguments(index, "{}")
        yield ToolCallEnd(index)


def new_id() -> str:
    """An id for a call of a server that gives none."""
    return f"call_{secrets.token_hex(12)}"


def _cached(usage: Mapping[str, Any]) -> int:
    return _count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
