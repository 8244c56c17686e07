"""Translate OpenAI chat requests to ours. Refuses unsupported fields by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.media.source import Kind
from shoestring.printable import quoted
from shoestring.server.constraints import constraint
from shoestring.server.errors import bad_request
from shoestring.server.left_out import a_part, file_text, left_out
from shoestring.server.media.unread import Unread, content_of, of_openai
from shoestring.server.openai.chat_types import ChatBody, ContentPart, Message
from shoestring.server.openai.sampling_fields import sampling, stop_texts
from shoestring.server.request import ChatRequest, GenerationOptions, ToolChoice
from shoestring.server.thinking import ThinkingWish, thinking_wish
from shoestring.server.tools import function_tool

_MEDIA: Mapping[str, Kind] = {"image_url": "image", "input_image": "image", "video_url": "video"}
#: OpenAI's own limit.
MOST_TOP_LOGPROBS = 20


def chat_request(body: ChatBody, client: str) -> ChatRequest:
    """The conversation to answer. Raises ApiError and RequestError for invalid values."""
    wish = _thinking(body)
    return ChatRequest(
        tuple(message(m, number) for number, m in enumerate(body.messages)),
        GenerationOptions(
            sampling=_sampling(body),
            max_tokens=most_tokens(body.max_tokens, body.max_completion_tokens),
            stop=stop_texts(body.stop),
            n=1 if body.n is None else body.n,
            ignore_eos=bool(body.ignore_eos),
            constraint=constraint(body),
            client=client,
        ),
        tools=tuple(function_tool(tool) for tool in body.tools or ()),
        tool_choice=tool_choice(body.tool_choice),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        thinking=wish.on,
        thinking_budget=wish.budget,
        template_arguments=wish.template_arguments,
        continues=_continues(body),
    )


def message(source: Message, number: int) -> Mapping[str, Any]:
    """A message in the shape that chat templates expect."""
    content = source.content
    converted: dict[str, Any] = {"role": source.role, "content": content or ""}
    if isinstance(content, list):
        where = f"messages.{number}.content"
        parts = [_part(part, source.role, f"{where}.{i}") for i, part in enumerate(content)]
        # A line that stands for a part that was left out is a line of its own.
        separator = "\n" if source.role == "tool" and any(part.text is None for part in content) else ""
        converted["content"] = content_of(parts, separator)
    if source.name is not None:
        converted["name"] = source.name
    thought = source.reasoning_content if source.reasoning_content is not None else source.reasoning
    if source.role == "assistant" and thought is not None:
        converted["reasoning_content"] = thought
    if source.tool_calls:
        converted["tool_calls"] = [call.model_dump(exclude_unset=True) for call in source.tool_calls]
    if source.tool_call_id is not None:
        converted["tool_call_id"] = source.tool_call_id
    return converted


def _part(part: ContentPart, role: str, where: str) -> str | Unread:
    """The text of a part, or its picture or video."""
    if part.type not in _MEDIA:
        return _text(part, role, where)
    if role not in ("user", "tool"):
        raise bad_request(
            f"{where} is of type {quoted(part.type)}, which only messages of the roles user and tool may have",
            code="unsupported_content",
            param=where,
        )
    value = part.video_url if part.type == "video_url" else part.image_url
    if part.type == "input_image" and isinstance(value, str):
        value = {"url": value, "detail": part.detail}
    return of_openai(_MEDIA[part.type], value, f"{where}.{part.type}")


def _text(part: ContentPart, role: str, where: str) -> str:
    if part.type in ("text", "input_text", "output_text") and part.text is not None:
        return part.text
    if part.type == "refusal" and part.refusal is not None:
        return part.refusal
    file = part.file or {}
    text = file_text(file) if part.type == "file" else None
    if text is not None:
        return text
    if role == "tool" and part.type != "text":
        return left_out(part.type, file.get("filename"))
    what = "has no text" if part.type == "text" else f"is {a_part(part.type, file)}: send text, image_url or video_url"
    raise bad_request(f"{where} {what}", code="unsupported_content", param=where)


def _sampling(body: ChatBody) -> dict[str, Any]:
    fields = sampling(body)
    if body.logprobs:
        fields["logprobs"] = body.top_logprobs or 0
    top = body.top_logprobs
    if top is not None and not 0 <= top <= MOST_TOP_LOGPROBS:
        raise bad_request(f"top_logprobs is {top}: choose a value from 0 to {MOST_TOP_LOGPROBS}", param="top_logprobs")
    if top and not body.logprobs:
        raise bad_request("top_logprobs needs logprobs: true", param="top_logprobs")
    return fields


def most_tokens(old: int | None, new: int | None) -> int | None:
    """max_tokens, from its older or its newer name; -1 is no limit. Raises ApiError if they differ."""
    old, new = (None if limit == -1 else limit for limit in (old, new))
    if old is not None and new is not None and old != new:
        raise bad_request("max_tokens and max_completion_tokens differ: send one of them", param="max_tokens")
    return old if new is None else new


def tool_choice(choice: str | Mapping[str, Any] | None) -> ToolChoice:
    """The tool choice. LangChain's "any" means "required"."""
    match choice:
        case None | "" | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice("none")
        case "required" | "any":
            return ToolChoice("required")
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function" | "tool", "name": str(name)}:
            return ToolChoice("required", name)
        case {"type": "auto" | "none" | "required" | "any" as mode}:
            return tool_choice(mode)
        case {} if not choice:
            return ToolChoice()
    what = "none, auto, required or {type: 'function', function: {name}}"
    raise bad_request(f"tool_choice is not valid: send {what}", param="tool_choice")


def _continues(body: ChatBody) -> bool:
    """Whether the answer continues the last message. Raises ApiError for contradictions."""
    if not body.continue_final_message:
        if body.add_generation_prompt is False:
            what = "add_generation_prompt: false needs continue_final_message: true: every answer is a turn"
            raise bad_request(what, param="add_generation_prompt")
        return False
    if body.add_generation_prompt:
        what = "continue_final_message and add_generation_prompt contradict each other: send one of them"
        raise bad_request(what, param="continue_final_message")
    return True


def _thinking(body: ChatBody) -> ThinkingWish:
    efforts = {body.reasoning_effort, body.reasoning.effort if body.reasoning else None} - {None}
    if len(efforts) > 1:
        raise bad_request("reasoning_effort and reasoning.effort differ: send one of them", param="reasoning_effort")
    nested = body.reasoning.max_tokens if body.reasoning else None
    switches = {
        "enable_thinking": body.enable_thinking,
        "reasoning.enabled": body.reasoning.enabled if body.reasoning else None,
        "thinking": None,
    }
    if body.thinking is not None and body.thinking.type not in (None, "auto"):
        switches["thinking"] = body.thinking.type != "disabled"
        nested = body.thinking.budget_tokens if nested is None else nested
    given = {name: switch for name, switch in switches.items() if switch is not None}
    if len(set(given.values())) > 1:
        raise bad_request(f"{' and '.join(given)} differ: send one of them", param=next(iter(given)))
    return thinking_wish(
        effort=next(iter(efforts), None),
        switch=next(iter(given.values()), None),
        budget=nested if body.thinking_budget is None else body.thinking_budget,
        template_arguments=body.chat_template_kwargs,
    )
