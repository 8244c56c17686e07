"""Types of OpenAI's older completions API."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from shoestring.server import field_rules
from shoestring.server.constraints import ConstraintFields
from shoestring.server.http.fields import Each, at_most
from shoestring.server.openai.chat_types import CompletionUsage, StreamOptions
from shoestring.server.openai.sampling_fields import SamplingFields

#: Maximum prompts of one request.
MOST_PROMPTS = 256


def _prompt_kind(value: Any) -> str:
    if not isinstance(value, list):
        return "prompt"
    first = value[0] if value else None
    return "texts" if isinstance(first, str) else "lists" if isinstance(first, list) else "ids"


_Ids = Annotated[Each[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Prompt = Annotated[
    Annotated[str, Tag("prompt")]
    | Annotated[_Ids, Tag("ids")]
    | Annotated[Each[str], at_most(MOST_PROMPTS), Tag("texts")]
    | Annotated[Each[_Ids], at_most(MOST_PROMPTS), Tag("lists")],
    Discriminator(_prompt_kind),
]


class CompletionBody(SamplingFields, ConstraintFields):
    """POST /v1/completions."""

    rules: ClassVar = field_rules.OPENAI_COMPLETION

    model: str | None = None
    prompt: Prompt
    #: default: 16, as in OpenAI's API
    max_tokens: int | None = None
    echo: bool | None = None
    logprobs: int | None = Field(default=None, ge=0)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    #: accepted if it asks for no more than `n` answers
    best_of: int | None = None


# --- the answer


class Logprobs(BaseModel):
    """Log-probabilities of one choice's tokens; None for a prompt's first token.

    A token that is not UTF-8 by itself has the text bytes:\\x… top_logprobs: the likeliest tokens and the token itself.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    #: number of characters before each token
    text_offset: list[int]


class Choice(BaseModel):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Completion(BaseModel):
    """The answer, or a chunk of a stream of them."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    #: only where the answers depend on more than the model: `--experts-per-token`
    system_fingerprint: str | None = None
    choices: list[Choice]
    usage: CompletionUsage | None = None
