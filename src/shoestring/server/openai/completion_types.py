"""OpenAI's older completions API as types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from shoestring.server.constraints import GUIDED, ConstraintFields
from shoestring.server.openai.chat_types import StreamOptions
from shoestring.server.openai.sampling_fields import SamplingFields

#: prompts of one request
MOST_PROMPTS = 256


def _prompt_kind(value: Any) -> str:
    if not isinstance(value, list):
        return "text"
    first = value[0] if value else None
    return "texts" if isinstance(first, str) else "lists" if isinstance(first, list) else "ids"


_Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Prompt = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[_Ids, Tag("ids")]
    | Annotated[list[str], Field(max_length=MOST_PROMPTS), Tag("texts")]
    | Annotated[list[_Ids], Field(max_length=MOST_PROMPTS), Tag("lists")],
    Discriminator(_prompt_kind),
]


class CompletionBody(SamplingFields, ConstraintFields):
    """POST /v1/completions."""

    refused: ClassVar[Mapping[str, str]] = {
        "prompt_logprobs": "use echo with logprobs",
        "use_beam_search": "answers are sampled",
        "min_tokens": "use ignore_eos with max_tokens, or a grammar",
        "stop_token_ids": "use stop",
        **GUIDED,
    }

    model: str | None = None
    prompt: Prompt
    #: as OpenAI's, 16 where it is absent
    max_tokens: int | None = None
    echo: bool | None = None
    logprobs: int | None = Field(default=None, ge=0)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # accepted where they change nothing
    suffix: Literal[""] | None = None
    best_of: int | None = None
    # without effect on an answer
    user: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    store: bool | None = None
    prompt_cache_key: str | None = None
    cache_prompt: bool | None = None


# --- the answer


class Logprobs(BaseModel):
    """Of the tokens of one choice. A token that is no UTF-8 by itself is written bytes:\\x…

    A prompt's first token has none. top_logprobs: of the likeliest tokens, and of the token itself.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    #: characters of the text in front of each token
    text_offset: list[int]


class Choice(BaseModel):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class PromptDetails(BaseModel):
    cached_tokens: int


class CompletionUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class Completion(BaseModel):
    """The answer, or a chunk of a stream of them."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage | None = None
