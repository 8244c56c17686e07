"""What a client asks for, free of any API's spelling. Endpoints translate to this, the service knows only this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.engine.request import FinishReason
from shoestring.engine.sampler import Sampled
from shoestring.output.events import Event
from shoestring.output.request import Constraint as Constraint
from shoestring.output.request import ToolChoice as ToolChoice


@dataclass(frozen=True)
class GenerationOptions:
    """What chat and raw completion share. Names left out of `sampling` follow the checkpoint's defaults."""

    #: fields of engine.sampler.Sampling by name
    sampling: Mapping[str, Any] = field(default_factory=dict)
    #: None: until the context is full
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    #: answers to one prompt
    n: int = 1
    ignore_eos: bool = False
    constraint: Constraint | None = None
    #: between clients the engine is fair: the API key, else the address
    client: str = ""


@dataclass(frozen=True)
class ChatRequest:
    """A conversation in the shape that chat templates expect (OpenAI's), to be answered."""

    messages: tuple[Mapping[str, Any], ...]
    options: GenerationOptions = field(default_factory=GenerationOptions)
    #: {"type": "function", "function": {"name", "description", "parameters", "strict"}}
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    #: None: the template's choice
    thinking: bool | None = None
    #: most tokens of thinking; None: no limit
    thinking_budget: int | None = None
    #: further variables of the chat template
    template_arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CompletionRequest:
    """A raw prompt, text or token ids, to be continued."""

    prompt: str | tuple[int, ...]
    options: GenerationOptions = field(default_factory=GenerationOptions)


# --- what the service gives back, in this order: Started, Progress…, then Delta and Finished of each choice, Usage


@dataclass(frozen=True)
class Started:
    """The request is admitted and its prompt begins to be computed."""

    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True)
class Progress:
    """`computed` of the prompt's tokens are done, the cached ones included. At most one a step."""

    computed: int
    prompt_tokens: int


@dataclass(frozen=True)
class Delta:
    """What one token adds to answer `choice`; `events` may be empty while characters are held back."""

    choice: int
    events: tuple[Event, ...]
    tokens: tuple[Sampled, ...]


@dataclass(frozen=True)
class Finished:
    """Answer `choice` is over. stop_sequence: the stop string that ended it."""

    choice: int
    reason: FinishReason
    stop_sequence: str | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens of the whole request; prompt_tokens includes cached_tokens, completion_tokens includes thinking."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    thinking_tokens: int


StreamItem = Started | Progress | Delta | Finished | Usage
