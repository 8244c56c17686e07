"""Translate Ollama requests to ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoestring.server.errors import bad_request
from shoestring.server.media.unread import content_of, of_ollama
from shoestring.server.ollama import types as api
from shoestring.server.openai.sampling_fields import penalty_window, stop_texts
from shoestring.server.request import ChatRequest, CompletionRequest, Constraint, GenerationOptions
from shoestring.server.thinking import ThinkingWish, thinking_wish
from shoestring.server.tools import function_tool

#: Fields that are passed on unchanged.
_PLAIN = ("temperature", "top_k", "top_p", "min_p", "presence_penalty", "frequency_penalty")


def chat_request(body: api.ChatBody, client: str = "") -> ChatRequest:
    """A conversation to answer. Raises ApiError, RequestError."""
    return _chat(
        [_message(message, number) for number, message in enumerate(body.messages)],
        [_tool(tool) for tool in body.tools or ()],
        body,
        client,
    )


def generate_request(body: api.GenerateBody, client: str = "") -> ChatRequest | CompletionRequest:
    """A prompt to answer or, with `raw`, to continue. Raises ApiError, RequestError."""
    if body.raw:
        if body.system is not None:
            raise bad_request("raw uses the prompt unchanged: remove system", param="system")
        if body.images:
            raise bad_request("raw uses the prompt unchanged: remove images, or raw", param="images")
        return CompletionRequest(body.prompt, options(body, client))
    system = [{"role": "system", "content": body.system}] if body.system else []
    content = _content(body.prompt, body.images or (), "images", "user")
    return _chat([*system, {"role": "user", "content": content}], [], body, client)


def _chat(
    messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], body: api.Question, client: str
) -> ChatRequest:
    wish = thinking(body.think)
    return ChatRequest(
        messages=tuple(messages),
        options=options(body, client),
        tools=tuple(tools),
        thinking=wish.on,
        thinking_budget=wish.budget,
    )


def thinking(think: bool | str | None) -> ThinkingWish:
    """`think`: a switch or an effort; default: the template's choice, as in Ollama."""
    if isinstance(think, str):
        return thinking_wish(effort=think)
    return thinking_wish(switch=think)


def options(body: api.Question, client: str) -> GenerationOptions:
    """The generation options. Raises ApiError for options whose sampling differs from ours."""
    fields = body.options or api.Options()
    sampling = {name: getattr(fields, name) for name in _PLAIN if getattr(fields, name) is not None}
    if fields.repeat_penalty is not None:
        sampling["repetition_penalty"] = fields.repeat_penalty
    sampling |= penalty_window(fields.repeat_last_n)
    if fields.seed is not None and fields.seed >= 0:
        sampling["seed"] = fields.seed
    if body.logprobs or body.top_logprobs:
        sampling["logprobs"] = body.top_logprobs or 0
    return GenerationOptions(
        sampling=sampling,
        max_tokens=_max_tokens(fields.num_predict),
        stop=stop_texts(fields.stop),
        constraint=_constraint(body.format),
        client=client,
    )


def _max_tokens(num_predict: int | None) -> int | None:
    """None for -1 and -2: until the context is full."""
    return None if num_predict in (None, -1, -2) else num_predict


def _constraint(format: str | dict[str, Any] | None) -> Constraint | None:
    if not format and not isinstance(format, dict):
        return None
    return (
        Constraint("json_object", where="format")
        if isinstance(format, str)
        else Constraint("json_schema", format, "format")
    )


def _message(message: api.Message, number: int) -> dict[str, Any]:
    converted: dict[str, Any] = {
        "role": message.role,
        "content": _content(message.content, message.images or (), f"messages.{number}.images", message.role),
    }
    if message.thinking is not None:
        converted["reasoning_content"] = message.thinking
    if message.tool_calls:
        converted["tool_calls"] = [
            {
                "id": call.id or f"call_{number}",
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for number, call in enumerate(message.tool_calls)
        ]
    name = message.name if message.tool_name is None else message.tool_name
    if name is not None:
        converted["name"] = name
    if message.tool_call_id is not None:
        converted["tool_call_id"] = message.tool_call_id
    return converted


def _content(text: str, images: Sequence[Any], where: str, role: str) -> str | list[dict[str, Any]]:
    """A user's images stand before the text, as in Ollama; a tool's after it."""
    if images and role not in ("user", "tool"):
        raise bad_request(f"{where}: only messages of the roles user and tool may have images", param=where)
    unread, texts = of_ollama(images, where), [text] if text or not images else []
    return content_of([*texts, *unread] if role == "tool" else [*unread, *texts])


def _tool(tool: dict[str, Any]) -> Mapping[str, Any]:
    converted = function_tool(tool)
    function = converted.get("function")
    if not isinstance(function, Mapping):
        return converted
    return {**converted, "function": {"parameters": {"type": "object", "properties": {}}, **function}}
