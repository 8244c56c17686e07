"""The soak's requests: conversations over three APIs with tools, schemas, several answers and seeds; and faults."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

MODEL = "tiny"
#: Longer bodies are refused.
MOST_BODY = 65536
KEYS = ("key-1", "key-2", "key-3")

Fault = Literal["none", "leaves", "reads nothing", "refused"]

#: Prompts share their beginning with others, or with none.
_OPENINGS = [
    f"You are helper {n}. " + "Say what you know about rivers, stones and lamps. " * (n % 4) for n in range(60)
]
_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "sure": {"type": "boolean"}},
    "required": ["name", "sure"],
    "additionalProperties": False,
}
_PARAMETERS = {"type": "object", "properties": {"hour": {"type": "integer"}}, "required": ["hour"]}
_FUNCTION = {"name": "look", "description": "Look at a clock.", "parameters": _PARAMETERS}
_WRONG: tuple[tuple[str, str, bytes], ...] = (
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "hi"'),
    ("POST", "/v1/chat/completions", b'{"messages": []}'),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "hi"}], "temperature": "hot"}'),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "hi"}], "functions": [{}]}'),
    ("POST", "/v1/chat/completions", b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    ("POST", "/v1/chat/completions", b"\xff\xfe\x00"),
    ("POST", "/v1/completions", b'{"prompt": [99999999]}'),
    ("POST", "/v1/completions", b'{"prompt": {"a": 1}}'),
    ("POST", "/v1/completions", b'{"prompt": "a", "structured_outputs": {"regex": "(a"}}'),
    ("POST", "/v1/messages", b"[]"),
    ("POST", "/v1/messages", b'{"model": "tiny", "max_tokens": -1, "messages": [{"role": "user", "content": "hi"}]}'),
    ("POST", "/api/chat", b'{"model": "nobody", "messages": [{"role": "user", "content": "hi"}]}'),
    ("GET", "/v1/messages", b""),
    ("DELETE", "/nothing/here", b""),
)


@dataclass(frozen=True)
class Ask:
    """One request, with the key of its client.

    leaves: pieces of the answer after which a client with the fault "leaves" disconnects. follow_ups: messages of the
    user that continue the conversation; each is sent with what was answered before it.
    """

    method: str
    path: str
    body: bytes
    key: str
    fault: Fault = "none"
    leaves: int = 0
    follow_ups: tuple[str, ...] = ()

    def continued(self, answer: str) -> Ask:
        """The next turn of the conversation."""
        body = json.loads(self.body)
        more = [{"role": "assistant", "content": answer}, {"role": "user", "content": self.follow_ups[0]}]
        body["messages"] += more
        return Ask(self.method, self.path, json.dumps(body).encode(), self.key, follow_ups=self.follow_ups[1:])


def asks(requests: int, seed: int) -> list[Ask]:
    """Requests, the same for the same seed; about seven in ten are valid and read to their end."""
    source = random.Random(seed)
    return [_ask(source) for _ in range(requests)]


def _ask(source: random.Random) -> Ask:
    key = source.choice(KEYS)
    kind = source.choices(("good", "leaves", "reads nothing", "wrong", "large"), (70, 12, 2, 10, 6))[0]
    if kind == "wrong":
        method, path, body = source.choice(_WRONG)
        return Ask(method, path, body, key, "refused")
    text = source.choice(_OPENINGS) + f"Question {source.randrange(40)}: " + "why? " * source.randrange(1, 12)
    if kind == "reads nothing":
        return Ask("POST", "/v1/chat/completions", _long(text), key, "reads nothing")
    if kind == "large":  # longer than the context, or than the limit of a body
        text *= source.choice((30, 600))
    path, fields = source.choice((_chat, _completion, _message, _ollama_chat, _ollama_generate))(text, source)
    if kind == "leaves":
        fields["stream"] = True
        return Ask("POST", path, json.dumps(fields).encode(), key, "leaves", source.randrange(6))
    turns: Sequence[str] = ("And why?", "Go on.")[: source.choice((0, 0, 1, 2))]
    if kind == "large" or "messages" not in fields or fields.get("n", 1) > 1 or "tools" in fields:
        turns = ()
    body = json.dumps(fields).encode()
    return Ask("POST", path, body, key, "refused" if kind == "large" else "none", follow_ups=tuple(turns))


def _sampling(source: random.Random) -> dict[str, Any]:
    if source.random() < 0.4:
        return {"temperature": 0}
    return {"temperature": 0.9, "seed": source.randrange(1000), "top_p": source.choice((0.9, 1.0))}


def _common(source: random.Random) -> dict[str, Any]:
    return {"max_tokens": source.randrange(2, 24), "stream": source.random() < 0.5}


def _chat(text: str, source: random.Random) -> tuple[str, dict[str, Any]]:
    fields = {"messages": [{"role": "user", "content": text}], **_common(source), **_sampling(source)}
    match source.randrange(6):
        case 0:
            fields["n"] = source.randrange(2, 5)
        case 1:
            fields |= {"tools": [{"type": "function", "function": _FUNCTION}], "tool_choice": "required"}
        case 2:
            schema = {"name": "answer", "schema": _SCHEMA}
            fields |= {"response_format": {"type": "json_schema", "json_schema": schema}, "max_tokens": 40}
        case 3:
            fields |= {"stop": ["e", "zz"], "frequency_penalty": 0.5, "logit_bias": {"65": -5}}
    return "/v1/chat/completions", fields


def _completion(text: str, source: random.Random) -> tuple[str, dict[str, Any]]:
    fields = {"prompt": text, **_common(source), **_sampling(source)}
    match source.randrange(4):
        case 0:
            fields["prompt"] = [text, text[: len(text) // 2], "a"]
        case 1:
            fields |= {"logprobs": 3, "n": 2}
        case 2:
            fields["structured_outputs"] = {"regex": "[a-z]{3,9} [0-9]+"}
    return "/v1/completions", fields


def _message(text: str, source: random.Random) -> tuple[str, dict[str, Any]]:
    fields = {"model": MODEL, "messages": [{"role": "user", "content": text}], **_common(source), "temperature": 0}
    match source.randrange(4):
        case 0:
            tool = {"name": "look", "description": "Look at a clock.", "input_schema": _PARAMETERS}
            fields |= {"tools": [tool], "tool_choice": {"type": "any"}}
        case 1:
            fields["system"] = "You answer in one word."
    return "/v1/messages", fields


def _ollama(source: random.Random) -> dict[str, Any]:
    common = _common(source)
    return {
        "model": MODEL,
        "stream": common["stream"],
        "options": {"num_predict": common["max_tokens"], **_sampling(source)},
    }


def _ollama_chat(text: str, source: random.Random) -> tuple[str, dict[str, Any]]:
    fields = {"messages": [{"role": "user", "content": text}], **_ollama(source)}
    if source.random() < 0.3:
        fields["format"] = _SCHEMA
    return "/api/chat", fields


def _ollama_generate(text: str, source: random.Random) -> tuple[str, dict[str, Any]]:
    return "/api/generate", {"prompt": text, **_ollama(source)}


def _long(text: str) -> bytes:
    """More bytes than the buffers between server and client: many answers with many log-probabilities."""
    fields = {"max_tokens": 400, "n": 8, "logprobs": True, "top_logprobs": 20, "ignore_eos": True, "stream": True}
    return json.dumps({"messages": [{"role": "user", "content": text[:200]}], **fields}).encode()
