"""Requests to a model: a conversation or a raw prompt, and how to answer it. Independent of any HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shoestring.errors import RequestError
from shoestring.output.request import Constraint, ToolChoice
from shoestring.runtime.arguments import whole_numbers

Message = Mapping[str, Any]


@dataclass(frozen=True)
class GenerationOptions:
    """Options of chat and raw completion. Fields missing in `sampling` have the checkpoint's defaults."""

    #: fields of ops.sampling.Sampling by name
    sampling: Mapping[str, Any] = field(default_factory=dict)
    #: None: until the context is full. 0, with prompt_logprobs: no answer
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    #: tokens that end an answer, in addition to the model's own
    stop_ids: frozenset[int] = frozenset()
    #: answers to one prompt
    n: int = 1
    ignore_eos: bool = False
    constraint: Constraint | None = None
    #: also report the log-probabilities of the prompt's tokens
    prompt_logprobs: bool = False
    #: most rows of the prompt in one step; no bit depends on it
    chunk: int | None = None
    #: clients get equal turns in the engine; a server uses the API key's digest, else the address
    client: str = ""
    #: whose entries of the prefix cache it uses; a server uses the API key's digest, and "" without keys
    cache_owner: str = ""


@dataclass(frozen=True)
class ChatRequest:
    """A conversation in the shape that chat templates expect (OpenAI's)."""

    messages: tuple[Message, ...]
    options: GenerationOptions = field(default_factory=GenerationOptions)
    #: {"type": "function", "function": {"name", "description", "parameters", "strict"}}
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    #: None: the template's choice
    thinking: bool | None = None
    #: most tokens of thinking; None: no limit
    thinking_budget: int | None = None
    #: more variables of the chat template
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    #: the answer continues the last message, the assistant's, instead of being a new turn
    continues: bool = False


@dataclass(frozen=True)
class CompletionRequest:
    """A raw prompt: text or token ids."""

    prompt: str | tuple[int, ...]
    options: GenerationOptions = field(default_factory=GenerationOptions)


Request = ChatRequest | CompletionRequest


def requests_of(prompt: Any, messages: Any, options: GenerationOptions, **chat: Any) -> list[Request]:
    """One request for each prompt (text or token ids) or conversation; both may be one or a list.

    chat: fields of ChatRequest. Raises RequestError for both or none of prompt and messages, or for another shape,
    TypeError for prompts that are neither texts nor integers.
    """
    if prompt is not None and messages is not None:
        raise RequestError("give either a prompt or messages, not both")
    if messages is not None:
        if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
            raise RequestError("messages must be a list of messages, or a list of such lists")
        conversations = [messages] if isinstance(messages[0], Mapping) else messages
        return [ChatRequest(tuple(conversation), options, **chat) for conversation in conversations]
    if isinstance(prompt, str):
        return [CompletionRequest(prompt, options)]
    items = [*prompt] if hasattr(prompt, "__array__") else prompt
    if not isinstance(items, Sequence) or isinstance(items, bytes | bytearray) or not items:
        raise RequestError("the prompt must be a text, a list of token ids, or a list of either")
    if isinstance(items[0], Mapping):
        raise TypeError("the prompt is a conversation: give it as messages")
    if not isinstance(items[0], Sequence | np.ndarray):
        return [CompletionRequest(tuple(whole_numbers(prompt, "the prompt")), options)]
    return [
        CompletionRequest(item if isinstance(item, str) else tuple(whole_numbers(item, f"prompt {i}")), options)
        for i, item in enumerate(items)
    ]
