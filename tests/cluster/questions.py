"""200 mixed requests on all APIs, each with a fixed result: greedy, or with a seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "maxLength": 8}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 9}},
            "required": ["city"],
        },
    },
}
Request = tuple[str, dict[str, Any]]


def requests(model: str, number: int) -> Iterator[Request]:
    """Path and body of each."""
    for i in range(number):
        text = f"Question {i}: what does a harbour need, beside {i} boats?"
        messages = [{"role": "user", "content": text}]
        chat = {"model": model, "messages": messages, "max_tokens": 12, "seed": i}
        match i % 8:
            case 0:
                yield "/v1/chat/completions", {**chat, "temperature": 0}
            case 1:
                yield "/v1/chat/completions", {**chat, "temperature": 1.2, "top_p": 0.9, "n": 2}
            case 2:
                format = {"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA}}
                yield "/v1/chat/completions", {**chat, "max_tokens": 60, "response_format": format, "temperature": 0}
            case 3:
                yield "/v1/chat/completions", {**chat, "max_tokens": 60, "tools": [TOOL], "tool_choice": "required"}
            case 4:
                yield "/v1/chat/completions", {**chat, "logprobs": True, "top_logprobs": 2, "temperature": 0}
            case 5:
                body = {"model": model, "prompt": text, "max_tokens": 10, "seed": i, "logprobs": 1, "echo": i % 16 == 5}
                yield "/v1/completions", body
            case 6:
                yield "/v1/messages", {"model": model, "messages": messages, "max_tokens": 12, "temperature": 0}
            case 7:
                options = {"num_predict": 12, "seed": i, "temperature": 0.8}
                yield "/api/chat", {"model": model, "messages": messages, "options": options, "stream": False}


def answer_of(body: dict[str, Any]) -> Any:
    """What of an answer does not depend on the moment: ids and times do."""
    if "choices" in body:
        choices = [{**choice} for choice in body["choices"]]
        for choice in choices:
            for call in (choice.get("message") or {}).get("tool_calls") or ():
                call.pop("id")
        usage = {name: body["usage"][name] for name in ("prompt_tokens", "completion_tokens")}
        return [choices, usage]
    if "content" in body:
        return [body["content"], body["stop_reason"], body["usage"]["output_tokens"]]
    return [body["message"], body["done_reason"], body["prompt_eval_count"], body["eval_count"]]
