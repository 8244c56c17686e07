"""From a request to the tokens of its prompt, and to the places where later requests may branch off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoestring.checkpoint.text.chat_template import ROLES
from shoestring.errors import RequestError
from shoestring.runtime.model import Model, Prompt
from shoestring.server.request import ChatRequest, CompletionRequest


def chat_prompt(model: Model, request: ChatRequest) -> Prompt:
    """The conversation as its template writes it, ready for the answer. Raises RequestError, TokenizerError.

    Boundaries: before every message, so at the end of system and tools and before the last user message too; and
    behind the last message, where the next turn goes on. Templates rewrite what precedes an answer (old thinking
    goes), never what precedes a message that stays.
    """
    taken = {"messages", "tools", "add_generation_prompt", "enable_thinking"} & set(request.template_arguments)
    if taken:
        raise RequestError(f"chat_template_kwargs may not set {', '.join(sorted(taken))}")
    # A tool_choice of "none" hides the tools: a model that does not see them does not call them.
    tools = request.tools if request.tool_choice.mode != "none" else ()
    messages = [_known_role(message, number) for number, message in enumerate(request.messages)]

    def render(opened: bool) -> Any:
        return model.template.render(
            messages, tools or None, request.thinking, add_generation_prompt=opened, **request.template_arguments
        )

    whole = render(True)
    tokens = tuple(whole.token_ids)
    end = _common(tokens, render(False).token_ids)
    return Prompt(tokens, boundaries(tokens, end), chat=True, inside_thinking=whole.inside_thinking)


def boundaries(tokens: Sequence[int], end: int) -> tuple[int, ...]:
    """Before each message, and `end`, behind the last. The token there opens the answer, as it opened each message:
    an added token of the template, which users cannot write."""
    if end >= len(tokens):
        return (end,)
    opener = tokens[end]
    return (*(at for at in range(1, end) if tokens[at] == opener), end)


def completion_prompt(model: Model, request: CompletionRequest) -> Prompt:
    """A raw prompt: text with its beginning-of-text token, or token ids as they are."""
    if not request.prompt:
        raise RequestError("the prompt is empty: give at least one token")
    return model.prompt(request.prompt if isinstance(request.prompt, str) else list(request.prompt))


def _known_role(message: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """OpenAI's newer "developer" is what templates call "system"."""
    role = message.get("role")
    if role not in ROLES:
        raise RequestError(f"messages.{number}.role is {role!r}: choose one of {', '.join(ROLES)}")
    return {**message, "role": "system"} if role == "developer" else message


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
