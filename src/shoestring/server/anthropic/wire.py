"""Convert the service's items to Anthropic's events, and events to a complete message.

An answer that is not streamed is built from the same events, so both forms agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from shoestring.engine.request import FinishReason
from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments, ToolCallEnd
from shoestring.server.answers import read_arguments
from shoestring.server.anthropic import types as api
from shoestring.server.request import Delta, Finished, Progress, Started, StreamItem, Usage

_STOP_REASONS: Mapping[FinishReason, api.StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "tool_calls": "tool_use",
}

#: Field of a block by the type of its delta.
_DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class MessageEvents:
    """The events of one answer, in the order that clients rely on: start, one block after the other, delta, stop.

    show_thinking False: send thinking blocks with empty text.
    """

    def __init__(self, id: str, model: str, *, show_thinking: bool = True) -> None:
        self._id = id
        self._model = model
        self._show_thinking = show_thinking
        self._blocks = 0
        #: kind of the open block
        self._open: str | None = None
        self._prompt = {"input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
        self._finished = Finished(0, "stop")

    def take(self, item: StreamItem) -> list[dict[str, Any]]:
        """Convert an item of the service to events, perhaps none."""
        match item:
            case Started():
                return [self._start(item)]
            case Progress():
                prefill = {"computed": item.computed, "prompt_tokens": item.prompt_tokens}
                return [{"type": "ping", "prefill": prefill}]
            case Delta():
                return [entry for event in item.events for entry in self._event(event)]
            case Finished():
                self._finished = item
                return self._close()
            case Usage():
                return self._end(item)
        return []

    def _count(self, item: Started | Usage) -> None:
        self._prompt["input_tokens"] = item.prompt_tokens - item.cached_tokens
        self._prompt["cache_read_input_tokens"] = item.cached_tokens

    def _start(self, item: Started) -> dict[str, Any]:
        self._count(item)
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**self._prompt, "output_tokens": 0, "service_tier": "standard"},
        }
        return {"type": "message_start", "message": message}

    def _event(self, event: Event) -> list[dict[str, Any]]:
        match event:
            case Content(text=text) if text:
                return [*self._begin("text", {"type": "text", "text": ""}), self._delta("text_delta", text=text)]
            case Thinking(text=text) if text:
                begun = self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                return [*begun, self._delta("thinking_delta", thinking=text)] if self._show_thinking else begun
            case ToolCall(id=id, name=name):
                return [
                    *self._close(),
                    *self._begin("tool_use", {"type": "tool_use", "id": id, "name": name, "input": {}}),
                ]
            case ToolCallArguments(text=text) if text and self._open == "tool_use":
                return [self._delta("input_json_delta", partial_json=text)]
            case ToolCallEnd() if self._open == "tool_use":
                return self._close()
        return []

    def _begin(self, kind: str, block: dict[str, Any]) -> list[dict[str, Any]]:
        if self._open == kind:
            return []
        closed = self._close()
        self._open = kind
        return [*closed, {"type": "content_block_start", "index": self._blocks, "content_block": block}]

    def _delta(self, kind: str, **fields: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._blocks, "delta": {"type": kind, **fields}}

    def _close(self) -> list[dict[str, Any]]:
        if self._open is None:
            return []
        signed = [self._delta("signature_delta", signature="")] if self._open == "thinking" else []
        stop = {"type": "content_block_stop", "index": self._blocks}
        self._open = None
        self._blocks += 1
        return [*signed, stop]

    def _end(self, usage: Usage) -> list[dict[str, Any]]:
        self._count(usage)  # another server may know it only now
        reason = _STOP_REASONS[self._finished.reason]
        if reason == "end_turn" and self._finished.stop_sequence is not None:
            reason = "stop_sequence"
        counts = {
            **self._prompt,
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"thinking_tokens": usage.thinking_tokens},
        }
        delta: dict[str, Any] = {"stop_reason": reason, "stop_sequence": self._finished.stop_sequence}
        if self._finished.inside_thinking:
            delta["ended_inside_thinking"] = True
        return [{"type": "message_delta", "delta": delta, "usage": counts}, {"type": "message_stop"}]


def event_text(event: Mapping[str, Any]) -> str:
    """A server-sent event with its name; clients drop events without one."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"


def assembled(events: Iterable[Mapping[str, Any]]) -> api.AnswerMessage:
    """The message that a client builds from the events."""
    message: dict[str, Any] = {}
    arguments: dict[int, str] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start":
                message["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                index, delta = event["index"], event["delta"]
                if delta["type"] == "input_json_delta":
                    arguments[index] = arguments.get(index, "") + delta["partial_json"]
                else:
                    field = _DELTAS[delta["type"]]
                    message["content"][index][field] += delta[field]
            case "message_delta":
                message = {**message, **event["delta"], "usage": {**message["usage"], **event["usage"]}}
    for index, text in arguments.items():
        message["content"][index]["input"] = read_arguments(text)
    return api.AnswerMessage.model_validate(message)
