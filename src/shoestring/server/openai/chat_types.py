"""Types of OpenAI's chat completions. chat_requests.py defines what the fields mean."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from shoestring.server.constraints import UNSUPPORTED, ConstraintFields
from shoestring.server.http.fields import Body, Loose, Many
from shoestring.server.openai.sampling_fields import SamplingFields


class ContentPart(Loose):
    """A part of a message's content; only text is supported."""

    type: str
    text: str | None = None
    refusal: str | None = None


class CalledFunction(Loose):
    name: str
    arguments: str | dict[str, Any] = ""


class MessageToolCall(Loose):
    id: str | None = None
    type: str = "function"
    function: CalledFunction


class Message(Body):
    """A message of the conversation. Fields that other servers add are accepted without effect."""

    model_config = ConfigDict(extra="ignore", strict=True)
    refused: ClassVar = {
        "audio": "only text is supported",
        "function_call": "send tool_calls",
        "prefix": "the client cannot start the answer",
        "partial": "the client cannot start the answer",
    }

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Many[ContentPart] | None = None
    name: str | None = None
    tool_calls: Many[MessageToolCall] | None = None
    tool_call_id: str | None = None
    #: the thinking of an earlier answer, sent back
    reasoning_content: str | None = None
    reasoning: str | None = None


class StreamOptions(Loose):
    include_usage: bool | None = None
    #: our extension: chunks that report prefill progress
    include_progress: bool | None = None


class Reasoning(Body):
    """OpenRouter's field."""

    refused: ClassVar = {"exclude": "thinking is sent in a field of its own, which a client may ignore"}

    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None
    summary: Any = None


class ChatBody(SamplingFields, ConstraintFields):
    """A request for a chat completion."""

    refused: ClassVar = {
        "functions": "send tools",
        "function_call": "send tool_choice",
        "audio": "only text is supported",
        "web_search_options": "there is no web search: give the model a tool",
        "verbosity": "ask for it in the system message",
        "best_of": "use n",
        **UNSUPPORTED,
        "add_generation_prompt": "it is always added",
        "continue_final_message": "the client cannot start the answer",
        "chat_template": "the checkpoint's template is always used",
    }

    messages: Many[Message]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    logprobs: bool | None = None
    top_logprobs: int | None = None

    tools: Many[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    enable_thinking: bool | None = None
    thinking_budget: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    # accepted, no effect on the answer
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    prediction: Any = None
    modalities: Many[Literal["text"]] | None = None


# --- what is answered, for OpenAPI


class AnswerFunction(Loose):
    name: str
    arguments: str


class AnswerToolCall(Loose):
    id: str
    type: Literal["function"]
    function: AnswerFunction


class AnswerMessage(Loose):
    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[AnswerToolCall] | None = None


class TokenLogprob(Loose):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[dict[str, Any]]


class ChoiceLogprobs(Loose):
    content: list[TokenLogprob]
    refusal: None = None


class Choice(Loose):
    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class PromptDetails(Loose):
    cached_tokens: int


class CompletionDetails(Loose):
    reasoning_tokens: int


class CompletionUsage(Loose):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class ChatUsage(CompletionUsage):
    completion_tokens_details: CompletionDetails


class ChatCompletion(Loose):
    """An answer that is not streamed."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
