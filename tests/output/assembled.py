"""Assembles an answer from its events as a client does; machines over a small vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import small_vocabulary

from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.engine.request import FinishReason
from shoestring.ops.sampling import Sampled
from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments
from shoestring.output.form import Form, form_of
from shoestring.output.machine import OutputMachine


@cache
def tokenizer(family: str = "qwen3_5") -> Tokenizer:
    """A tokenizer with all bytes, some merges, both families' added tokens; Llama has no thinking, "none" no marks."""
    metadata = small_vocabulary.metadata()
    key = "tokenizer.ggml.tokens"
    if family != "qwen3_5":
        metadata[key] = [text.replace("think>", "thunk>") for text in metadata[key]]
    if family == "none":
        metadata[key] = [text.replace("tool_call>", "tool_kall>") for text in metadata[key]]
    return Tokenizer.from_gguf(metadata)


def tool(name: str, properties: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A tool in OpenAI's shape; `strict` is next to its name, other options go into its schema."""
    strict = {"strict": more.pop("strict")} if "strict" in more else {}
    schema = {"type": "object", "properties": dict(properties or {}), **more}
    return {"type": "function", "function": {"name": name, "parameters": schema, **strict}}


STRICT_TOOL = tool(
    "save",
    {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["cat", "dog"]},
        "seen": {"type": "boolean"},
    },
    required=["name", "age", "kind"],
    additionalProperties=False,
    strict=True,
)


@dataclass
class Assembled:
    """An answer as a client sees it at the end."""

    thinking: str = ""
    content: str = ""
    #: (name, the arguments' text, whether they are complete)
    calls: list[tuple[str, str, bool]] = field(default_factory=list)
    #: kinds of events in order, without repetitions
    order: str = ""
    finish_reason: FinishReason | None = None

    @property
    def arguments(self) -> list[tuple[str, Any]]:
        return [(name, json.loads(text)) for name, text, _ in self.calls]


def assemble(events: Iterable[Event], finish_reason: FinishReason | None = None) -> Assembled:
    whole = Assembled(finish_reason=finish_reason)
    for event in events:
        kind = type(event).__name__[0]
        match event:
            case Thinking(text):
                whole.thinking += text
            case Content(text):
                whole.content += text
            case ToolCall(index, id, name):
                assert index == len(whole.calls)
                assert id.startswith("call_")
                whole.calls.append((name, "", False))
                kind = "C["
            case ToolCallArguments(index, text):
                assert index == len(whole.calls) - 1, "arguments of a call that is over"
                name, before, complete = whole.calls[index]
                assert not complete
                whole.calls[index] = (name, before + text, False)
                kind = ""
            case _:
                name, text, _ = whole.calls[event.index]
                json.loads(text)
                whole.calls[event.index] = (name, text, True)
                kind = "]"
        if kind in "TC" and whole.order.endswith(kind):
            kind = ""
        whole.order += kind
    return whole


def tokens_of(text: str, family: str) -> list[int]:
    """Tokens of an answer's text, with added tokens recognized."""
    return tokenizer(family).encode(text, allow_special=True)


def bytes_of(tokens: Iterable[int], family: str) -> list[int]:
    """The same text as one token per byte, except added tokens."""
    vocabulary = tokenizer(family)
    single = {vocabulary.token_bytes(id): id for id in range(256)}
    out: list[int] = []
    for token in tokens:
        if token in vocabulary.added_ids:
            out.append(token)
        else:
            out += [single[bytes([byte])] for byte in vocabulary.token_bytes(token)]
    return out


def run(
    form: Form, tokens: Sequence[int], *, inside_thinking: bool = False, reason: FinishReason = "stop"
) -> tuple[Assembled, OutputMachine]:
    """Push all tokens through one machine, the last with `reason`."""
    machine = OutputMachine(form, inside_thinking=inside_thinking)
    events: list[Event] = []
    for place, token in enumerate(tokens):
        events += machine.push(Sampled(token), reason if place == len(tokens) - 1 else None)
        if machine.finish_reason is not None:
            break
    return assemble(events, machine.finish_reason), machine


def form(family: str, tools: Sequence[Mapping[str, Any]] = (), **options: Any) -> Form:
    return form_of(tokenizer(family), family, tools=tools, **options)


def end(family: str) -> str:
    return "<|im_end|>" if family == "qwen3_5" else "<|eot|>"
