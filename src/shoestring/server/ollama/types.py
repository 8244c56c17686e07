"""Types of Ollama's API. requests.py defines what the fields mean."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from shoestring.server import field_rules
from shoestring.server.http.fields import Body, Loose, Many
from shoestring.server.openai.sampling_fields import StopTexts

# --- what both requests share


def _schema_or_text(value: Any) -> str:
    return "schema" if isinstance(value, dict) else "json"


def _words_or_switch(value: Any) -> str:
    return "effort" if isinstance(value, str) else "switch"


Format = Annotated[
    Annotated[Literal["", "json"], Tag("json")] | Annotated[dict[str, Any], Tag("schema")],
    Discriminator(_schema_or_text),
]
Think = Annotated[
    Annotated[bool, Tag("switch")] | Annotated[Literal["low", "medium", "high", "max"], Tag("effort")],
    Discriminator(_words_or_switch),
]


class Options(Body):
    """Sampling options. Ollama's other options are about loading a model and have no effect here."""

    rules: ClassVar = field_rules.OLLAMA_OPTIONS

    num_predict: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    #: negative: a new answer each time
    seed: int | None = None
    stop: StopTexts | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    #: the tokens that penalties look back at: 0 none, -1 all; missing: all
    repeat_last_n: int | None = Field(default=None, ge=-1)


class Question(Body):
    """Fields that /api/chat and /api/generate share."""

    rules: ClassVar = field_rules.OLLAMA

    model: str
    stream: bool | None = None
    format: Format | None = None
    options: Options | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    #: accepted without effect: the model stays loaded
    keep_alive: float | str | None = None


# --- /api/chat


class Part(Body):
    rules: ClassVar = field_rules.OLLAMA


class FunctionCall(Part):
    name: str
    #: an object; anything else reaches the model as it is written
    arguments: Any = None


class ToolCall(Part):
    function: FunctionCall
    id: str | None = None


class Message(Part):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str = ""
    thinking: str | None = None
    tool_calls: Many[ToolCall] | None = None
    tool_name: str | None = None
    #: the older name of `tool_name`
    name: str | None = None
    tool_call_id: str | None = None
    images: Many[Any] | None = None


class ChatBody(Question):
    """POST /api/chat."""

    messages: Many[Message] = Field(default_factory=list)
    tools: Many[dict[str, Any]] | None = None


# --- /api/generate


class GenerateBody(Question):
    """POST /api/generate."""

    rules: ClassVar = field_rules.OLLAMA_GENERATE

    prompt: str = ""
    system: str | None = None
    images: Many[Any] | None = None
    raw: bool | None = None


class ShowBody(Body):
    """POST /api/show."""

    rules: ClassVar = field_rules.OLLAMA

    model: str | None = None
    #: the older name of `model`
    name: str | None = None
    verbose: bool | None = None


# --- answers


class Details(BaseModel):
    parent_model: str = ""
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class ListedModel(BaseModel):
    name: str
    model: str
    modified_at: str
    size: int
    #: identifies a model; not a checksum of the file
    digest: str
    details: Details


class Tags(BaseModel):
    models: list[ListedModel]


class RunningModel(BaseModel):
    name: str
    model: str
    size: int
    digest: str
    details: Details
    #: the served model stays loaded
    expires_at: str
    size_vram: int
    context_length: int


class Running(BaseModel):
    models: list[RunningModel]


class Shown(BaseModel):
    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class Version(BaseModel):
    #: the Ollama release whose API this is; some clients compare it
    version: str
    shoestring: str


class AnswerLine(Loose):
    """A line of a stream, or the whole answer. The last line has the counts and durations (in ns)."""

    model: str
    created_at: str
    done: bool
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    logprobs: list[dict[str, Any]] | None = None
    #: our extension: the answer ended before its thinking did, so it has no content
    ended_inside_thinking: bool | None = None


class ChatLine(AnswerLine):
    message: dict[str, Any]


class GenerateLine(AnswerLine):
    response: str
    thinking: str | None = None
