"""Translate Anthropic requests to ours: blocks become the messages that chat templates expect, in the same order.

It refuses by name what the models cannot use (documents that are no text, tools that the API would run itself). In a
tool's result a line says what was left out. It drops only redacted thinking, which cannot be read here, and Claude
Code's billing line. A last message of the assistant is continued.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shoestring.printable import quoted
from shoestring.server.anthropic import types as api
from shoestring.server.errors import bad_request
from shoestring.server.left_out import a_block, document_text, left_out
from shoestring.server.media.unread import Unread, content_of, of_anthropic
from shoestring.server.request import ChatRequest, Constraint, GenerationOptions, ToolChoice
from shoestring.server.thinking import ThinkingWish, thinking_wish

#: Claude Code puts this line in front of its system prompt. It contains a number that changes with each request, so
#: nothing after it could come from the cache.
_BILLING = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n?")

Message = dict[str, Any]


def chat_request(body: api.CountTokensBody, client: str = "") -> ChatRequest:
    """The conversation to answer or to count. Raises ApiError, RequestError."""
    wish = thinking(body)
    tools = [_tool(tool) for tool in body.tools or ()]
    choice = body.tool_choice or api.ToolChoice(type="auto")
    return ChatRequest(
        messages=tuple(messages(body)),
        options=_options(body, client),
        tools=tuple(tools),
        tool_choice=_tool_choice(choice, bool(tools)),
        parallel_tool_calls=not choice.disable_parallel_tool_use,
        thinking=wish.on,
        thinking_budget=wish.budget,
        continues=body.messages[-1].role == "assistant",
    )


def thinking(body: api.CountTokensBody) -> ThinkingWish:
    """The thinking settings of a request. Default: off, since clients that do not ask expect text first."""
    effort = body.output_config.effort if body.output_config else None
    match body.thinking:
        case api.ThinkingEnabled(budget_tokens=budget):
            return thinking_wish(switch=True, budget=budget)
        case api.ThinkingAdaptive():
            return thinking_wish(switch=True, effort=effort)
        case api.ThinkingDisabled():
            return thinking_wish(switch=False)
    return thinking_wish(effort=effort or "none")


def _options(body: api.CountTokensBody, client: str) -> GenerationOptions:
    constraint = None
    if body.output_config is not None and body.output_config.format is not None:
        constraint = Constraint("json_schema", body.output_config.format.schema_, "output_config.format.schema")
    if not isinstance(body, api.MessagesBody):
        return GenerationOptions(constraint=constraint, client=client)
    sampling = {"temperature": body.temperature, "top_p": body.top_p, "top_k": body.top_k}
    return GenerationOptions(
        sampling={name: value for name, value in sampling.items() if value is not None},
        max_tokens=body.max_tokens,
        stop=tuple(text for text in body.stop_sequences or () if text),
        constraint=constraint,
        client=client,
    )


# --- tools


def _tool(tool: api.Tool | api.ServerTool) -> Message:
    if isinstance(tool, api.ServerTool):
        raise bad_request(
            f"the tool type {quoted(tool.type)} is not supported: "
            "send tools with an input_schema, which your program runs",
            param="tools",
        )
    function: Message = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: api.ToolChoice, has_tools: bool) -> ToolChoice:
    if choice.name is not None and choice.type != "tool":
        raise bad_request(f"tool_choice of type {quoted(choice.type)} takes no name: remove it", param="tool_choice")
    match choice.type:
        case "any":
            return ToolChoice("required")
        case "tool" if choice.name is None:
            raise bad_request("tool_choice of type 'tool' needs the tool's name", param="tool_choice")
        case "tool":
            return ToolChoice("required", choice.name)
        case "none":
            return ToolChoice("none")
    return ToolChoice("auto")


# --- messages


def messages(body: api.CountTokensBody) -> list[Message]:
    """The conversation in OpenAI's shape. Raises ApiError for blocks that the model cannot read."""
    if not body.messages:
        raise bad_request("messages is empty: give at least one with the role 'user'", param="messages")
    converted: list[Message] = []
    system = _system(body.system)
    if system is not None:
        converted.append({"role": "system", "content": system})
    tool_names = {
        block.id: block.name for message in body.messages for block in message.content if isinstance(block, api.ToolUse)
    }
    for number, message in enumerate(body.messages):
        where = f"messages.{number}"
        blocks = _blocks(message.content, where)
        match message.role:
            case "user":
                converted += _user(blocks, tool_names, where)
            case "assistant":
                converted += _assistant(blocks, where)
            case "system":
                converted.append({"role": "system", "content": _joined(blocks, where)})
    return converted


def _system(system: str | Sequence[api.Text] | None) -> str | None:
    """The system prompt, blocks joined by line breaks; None if it is empty."""
    texts = [system] if isinstance(system, str) else [block.text for block in system or ()]
    if texts:
        texts[0] = _BILLING.sub("", texts[0])
    text = "\n".join(text for text in texts if text)
    return text or None


def _blocks(content: str | Sequence[Any], where: str) -> list[Any]:
    """The blocks of a message, documents of text as text, images unread. Raises ApiError for all others."""
    blocks = [api.Text(type="text", text=content)] if isinstance(content, str) else list(content)
    return [
        _read(block, where, f"{where}.content.{number}") if isinstance(block, api.Image | api.Other) else block
        for number, block in enumerate(blocks)
    ]


def _read(block: api.Image | api.Other, where: str, place: str) -> api.Text | Unread:
    if isinstance(block, api.Image):
        return of_anthropic(block.source, f"{place}.source")
    fields = block.model_dump()
    text = document_text(fields)
    if text is None:
        what = f"{where} has {a_block(fields)}, which is not supported"
        raise bad_request(f"{what}: send text or images", param=where)
    return api.Text(type="text", text=text)


def _user(blocks: Iterable[Any], tool_names: Mapping[str, str], where: str) -> list[Message]:
    """Texts, images and tool results in order; adjacent texts and images become one message."""
    converted: list[Message] = []
    parts: list[str | Unread] = []

    def flush() -> None:
        if parts:
            converted.append({"role": "user", "content": content_of(parts, "\n")})
            parts.clear()

    for number, block in enumerate(blocks):
        match block:
            case api.Text(text=text):
                parts.append(text)
            case Unread():
                parts.append(block)
            case api.ToolResult():
                flush()
                converted.append(_tool_result(block, tool_names, f"{where}.content.{number}"))
            case _:
                raise _misplaced(block, "user", where)
    flush()
    return converted


def _tool_result(block: api.ToolResult, tool_names: Mapping[str, str], where: str) -> Message:
    given = block.content
    parts: list[str | Unread] = (
        [given]
        if isinstance(given, str)
        else [_result_part(part, f"{where}.content.{number}") for number, part in enumerate(given)]
    )
    first = parts[0] if parts else ""
    if block.is_error and not (isinstance(first, str) and first.lower().startswith("error")):
        parts = [f"Error: {first}", *parts[1:]] if isinstance(first, str) else ["Error: ", *parts]
    message: Message = {"role": "tool", "tool_call_id": block.tool_use_id, "content": content_of(parts, "\n")}
    if block.tool_use_id in tool_names:
        message["name"] = tool_names[block.tool_use_id]
    return message


def _result_part(part: api.Text | api.Image | api.Other, where: str) -> str | Unread:
    """A part of a tool's result: text, an image, or a line for what cannot be read."""
    if isinstance(part, api.Text):
        return part.text
    if isinstance(part, api.Image):
        return of_anthropic(part.source, f"{where}.source")
    fields = part.model_dump()
    text = document_text(fields)
    if text is not None:
        return text
    return left_out(part.type, fields.get("tool_name") if part.type == "tool_reference" else fields.get("title"))


def _assistant(blocks: Iterable[Any], where: str) -> list[Message]:
    """A message holds thinking, then text, then calls; blocks in another order start a new message."""
    converted: list[Message] = []
    message: Message = {}

    def begin_unless(*later: str) -> Message:
        nonlocal message
        if not message or any(key in message for key in later):
            message = {"role": "assistant"}
            converted.append(message)
        return message

    for block in blocks:
        match block:
            case api.Thinking(thinking=text):
                _append(begin_unless("content", "tool_calls"), "reasoning_content", text)
            case api.Text(text=text):
                _append(begin_unless("tool_calls"), "content", text)
            case api.ToolUse(id=id, name=name, input=arguments):
                calls = begin_unless().setdefault("tool_calls", [])
                calls.append({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
            case api.RedactedThinking():
                continue
            case _:
                raise _misplaced(block, "assistant", where)
    for message in converted:
        message.setdefault("content", "")
    return converted


def _append(message: Message, key: str, text: str) -> None:
    message[key] = f"{message[key]}\n{text}" if key in message else text


def _joined(blocks: Iterable[Any], where: str) -> str:
    texts = []
    for block in blocks:
        if not isinstance(block, api.Text):
            raise _misplaced(block, "system", where)
        texts.append(block.text)
    return "\n".join(texts)


def _misplaced(block: Any, role: str, where: str) -> Exception:
    kind = "image" if isinstance(block, Unread) else block.type
    what = f"{where} has a block of type {quoted(kind)}"
    return bad_request(f"{what}, which a message of the role {quoted(role)} cannot contain", param=where)
