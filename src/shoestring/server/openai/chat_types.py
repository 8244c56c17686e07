"""Types of OpenAI's chat completions. chat_requests.py defines what the fields mean."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Tag

from shoestring.server import field_rules
from shoestring.server.constraints import ConstraintFields
from shoestring.server.http.fields import Body, Loose, LooseBody, Many, text_or_list
from shoestring.server.openai.sampling_fields import SamplingFields


class ContentPart(LooseBody):
    """A part of a message's content: text, a picture or a video. Tool results may have others, which are left out."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None
    file: dict[str, Any] | None = None
    #: {"url", "detail"}, or a URL; media/unread.py says which are read
    image_url: Any = None
    video_url: Any = None
    #: of a part of type input_image
    detail: Any = None


Content = Annotated[
    Annotated[str, Tag("text")] | Annotated[Many[ContentPart], Tag("list")], Discriminator(text_or_list)
]


class CalledFunction(LooseBody):
    name: str
    #: JSON text or its value; what is neither reaches the model as it is written
    arguments: Any = ""


class MessageToolCall(LooseBody):
    id: str | None = None
    type: str = "function"
    function: CalledFunction


class Message(Body):
    """A message of the conversation. Fields that other servers add are accepted without effect."""

    model_config = ConfigDict(extra="ignore", strict=True)
    rules: ClassVar = field_rules.OPENAI_MESSAGE

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: str | None = None
    tool_calls: Many[MessageToolCall] | None = None
    tool_call_id: str | None = None
    #: the thinking of an earlier answer, sent back
    reasoning_content: str | None = None
    reasoning: str | None = None


class StreamOptions(LooseBody):
    include_usage: bool | None = None
    #: our extension: chunks that report prefill progress
    include_progress: bool | None = None


class Reasoning(Body):
    """OpenRouter's field."""

    rules: ClassVar = field_rules.OPENAI_REASONING

    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None


def _switch(value: Any) -> Any:
    return {"type": "enabled" if value else "disabled"} if isinstance(value, bool) else value


class ThinkingSwitch(Body):
    """The field of GLM, DeepSeek and others, in the form of Anthropic's API."""

    type: Literal["enabled", "disabled", "adaptive", "auto"] | None = None
    budget_tokens: int | None = None


def _choice_kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "object"


ToolChoice = Annotated[
    Annotated[str, Tag("text")] | Annotated[dict[str, Any], Tag("object")], Discriminator(_choice_kind)
]


class ChatBody(SamplingFields, ConstraintFields):
    """A request for a chat completion."""

    rules: ClassVar = field_rules.OPENAI_CHAT

    messages: Many[Message]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    logprobs: bool | None = None
    top_logprobs: int | None = None

    tools: Many[dict[str, Any]] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None

    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    enable_thinking: bool | None = None
    thinking_budget: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    thinking: Annotated[ThinkingSwitch, BeforeValidator(_switch)] | None = None

    #: with `continue_final_message` the answer continues the last message, the assistant's
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


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
    #: vLLM's extension: the stop string that ended the answer
    stop_reason: str | None = None
    #: our extension: the answer ended before its thinking did, so it has no content
    ended_inside_thinking: bool | None = None


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
    #: only where the answers depend on more than the model: `--experts-per-token`
    system_fingerprint: str | None = None
    choices: list[Choice]
    usage: ChatUsage
