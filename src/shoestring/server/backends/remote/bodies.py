"""Translate our requests to the body of an OpenAI-compatible server. What it cannot honour is refused by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from shoestring.server.backends.remote.upstream import Upstream
from shoestring.server.errors import ApiError
from shoestring.server.media.unread import Unread
from shoestring.server.request import ChatRequest, CompletionRequest, Constraint, GenerationOptions, ToolChoice

Body = dict[str, Any]

#: max_tokens of a completion without a limit.
_NO_LIMIT: Mapping[str, int | None] = {"shoestring": -1, "llama.cpp": -1, "vllm": None}
#: vLLM's and llama.cpp's seeds are signed.
_SEED = 1 << 63


def unsupported(field: str, where: str = "") -> ApiError:
    """The refusal of a field that the server behind this one cannot honour."""
    what = f"{field} is not supported: the server that answers here cannot honour it"
    return ApiError(400, what, "unsupported_field", where or field)


def chat_body(upstream: Upstream, request: ChatRequest) -> Body:
    """The body of POST chat/completions, as a stream. Raises ApiError."""
    body: Body = {
        "model": upstream.model,
        "messages": [message(source) for source in request.messages],
        **_options(upstream, request.options, "chat"),
        **_prompt_fields(upstream, request),
    }
    # Without tools there is nothing to choose, and with the choice "none" the model must not see them.
    if request.tools and request.tool_choice.mode != "none":
        body["tool_choice"] = _tool_choice(request.tool_choice)
        if not request.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    if request.thinking_budget is not None:
        _need(upstream, "thinking_budget")
        name = "thinking_token_budget" if upstream.kind == "vllm" else "thinking_budget"
        body[name] = request.thinking_budget
    return body


def count_body(upstream: Upstream, request: ChatRequest) -> Body:
    """The body of POST /tokenize for the prompt of a conversation. Raises ApiError."""
    _need(upstream, "count_tokens")
    body = {"model": upstream.model, "messages": [message(source) for source in request.messages]}
    return {**body, **_prompt_fields(upstream, request)}


def completion_body(upstream: Upstream, request: CompletionRequest) -> Body:
    """The body of POST completions, as a stream. Raises ApiError."""
    if not isinstance(request.prompt, str):
        _need(upstream, "token_ids", "prompt")
    if request.options.prompt_logprobs:
        raise unsupported("echo with logprobs or without an answer", "echo")
    prompt = request.prompt if isinstance(request.prompt, str) else list(request.prompt)
    return {"model": upstream.model, "prompt": prompt, **_options(upstream, request.options, "text")}


def message(source: Mapping[str, Any]) -> Body:
    """A message on the wire: the arguments of calls are texts there. Raises ApiError, RequestError."""
    calls, content = source.get("tool_calls"), source.get("content")
    written = {**source, **({"tool_calls": [_call(call) for call in calls]} if calls else {})}
    return {**written, "content": [_part(part) for part in content]} if isinstance(content, list) else written


def _part(part: Any) -> Any:
    """A part of a message's content; a picture or video as a data URL, so that the other server fetches nothing."""
    media = part.get(part.get("type")) if isinstance(part, Mapping) else None
    if not isinstance(media, Unread):
        return part
    if media.is_remote:
        raise unsupported(f"a {media.kind} from the Web", media.where)
    data = base64.b64encode(media.data()).decode()  # as it is read here, without spaces
    form = "png" if media.kind == "image" else "mp4"  # servers look into the file
    url = {"url": f"data:{media.kind}/{form};base64,{data}", **({"detail": media.detail} if media.detail else {})}
    return {"type": f"{media.kind}_url", f"{media.kind}_url": url}


def _call(call: Mapping[str, Any]) -> Body:
    function = dict(call.get("function") or {})
    arguments = function.get("arguments", "")
    if not isinstance(arguments, str):
        function["arguments"] = json.dumps(arguments, ensure_ascii=False)
    return {**call, "type": "function", "function": function}


def _prompt_fields(upstream: Upstream, request: ChatRequest) -> Body:
    """The fields of a conversation that are part of its prompt, beside the messages."""
    body: Body = {}
    if request.tools and request.tool_choice.mode != "none":
        body["tools"] = [dict(tool) for tool in request.tools]
    variables = dict(request.template_arguments)
    if variables:
        _need(upstream, "chat_template_kwargs")
    if request.thinking is not None and (request.thinking or upstream.honours("thinking")):
        _need(upstream, "thinking")
        variables["enable_thinking"] = request.thinking
    if variables:
        body["chat_template_kwargs"] = variables
    if request.continues:
        _need(upstream, "continue_final_message")
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def _tool_choice(choice: ToolChoice) -> Any:
    return choice.mode if choice.name is None else {"type": "function", "function": {"name": choice.name}}


def _need(upstream: Upstream, field: str, where: str = "") -> None:
    if not upstream.honours(field):
        raise unsupported(field, where)


def _options(upstream: Upstream, options: GenerationOptions, api: str) -> Body:
    body: Body = {"stream": True, "stream_options": {"include_usage": True}}
    match upstream.kind:
        case "vllm":
            body["stream_options"]["continuous_usage_stats"] = True
        case "shoestring" if api == "chat":
            body["stream_options"]["include_progress"] = True
    for name, value in options.sampling.items():
        body |= _sampling(upstream, name, value, api)
    if options.max_tokens is not None:
        body["max_tokens"] = options.max_tokens
    elif api == "text":  # where a missing one means 16
        if upstream.kind not in _NO_LIMIT:
            raise unsupported("an answer without max_tokens", "max_tokens")
        body["max_tokens"] = _NO_LIMIT[upstream.kind]
    if options.stop:
        body["stop"] = list(options.stop)
    if options.n != 1:
        body["n"] = options.n
    if options.ignore_eos:
        _need(upstream, "ignore_eos")
        body["ignore_eos"] = True
    if options.constraint is not None:
        body |= _constraint(upstream, options.constraint)
    return body


def _sampling(upstream: Upstream, name: str, value: Any, api: str) -> Body:
    """One of our sampling fields in the server's words."""
    field = "repeat_last_n" if name == "penalty_window" else name
    _need(upstream, field)
    if name == "logprobs":
        return {"logprobs": True, "top_logprobs": value} if api == "chat" else {"logprobs": value}
    if name == "seed" and upstream.kind != "shoestring":
        return {"seed": value - (value >= _SEED) * 2 * _SEED}
    if name == "logit_bias":
        return {"logit_bias": {str(token): bias for token, bias in value.items()}}
    if name == "repetition_penalty" and upstream.kind == "llama.cpp":
        return {"repeat_penalty": value}
    if name == "top_k" and value == 0 and upstream.kind in ("vllm", "sglang"):
        return {"top_k": -1}
    return {field: value}


#: Constraints in the words of vLLM's structured_outputs; ours has all of them, vLLM reads both grammars as one field.
_STRUCTURED: Mapping[str, Callable[[str, Any], Body]] = {
    "regex": lambda kind, value: {"regex": value},
    "choice": lambda kind, value: {"choice": list(value)},
    "lark": lambda kind, value: {"lark" if kind == "shoestring" else "grammar": value},
    "gbnf": lambda kind, value: {"gbnf" if kind == "shoestring" else "grammar": value},
}


def _constraint(upstream: Upstream, constraint: Constraint) -> Body:
    kind, value = constraint.kind, constraint.value
    if not upstream.honours(kind):
        raise unsupported(constraint.where or kind)
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if kind == "json_schema":
        schema = {"name": "answer", "schema": value, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if upstream.kind == "llama.cpp":
        return {"grammar": value}
    if upstream.kind == "sglang":
        return {"regex": value}
    return {"structured_outputs": _STRUCTURED[kind](upstream.kind, value)}
