"""The service's requests and result items. Endpoints translate an API's fields to requests, and items to an answer."""

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
    """The engine has admitted the request and starts to compute its prompt."""

    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True)
class Progress:
    """The number of computed prompt tokens, including cached ones. At most one item per step."""

    computed: int
    prompt_tokens: int


#: In this order: Started, any Progress, then the items of the answers; Usage is last.
StreamItem = Started | Progress | AnswerItem
