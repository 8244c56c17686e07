"""What the service takes and gives back. Endpoints translate an API's fields to these, and these to an API's fields."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.output.request import Constraint as Constraint
from shoestring.output.request import ToolChoice as ToolChoice
from shoestring.runtime.answers import AnswerItem
from shoestring.runtime.answers import Delta as Delta
from shoestring.runtime.answers import Finished as Finished
from shoestring.runtime.answers import Scored as Scored
from shoestring.runtime.answers import Usage as Usage
from shoestring.runtime.request import ChatRequest as ChatRequest
from shoestring.runtime.request import CompletionRequest as CompletionRequest
from shoestring.runtime.request import GenerationOptions as GenerationOptions


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


#: In this order: Started, Progress…, then what the answers bring, Usage last.
StreamItem = Started | Progress | AnswerItem
