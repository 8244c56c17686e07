"""Types of Ollama's API. requests.py defines what the fields mean."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from shoestring.server.http.fields import Body, Loose, Many, at_most
from shoestring.server.openai.sampling_fields import StopTexts

# --- what both requests share


def _schema_or_text(value: Any) -> str:
    return "schema" if isinstance(value, dict) else "text"


def _words_or_switch(value: Any) -> str:
    return "effort" if isinstance(value, str) else "switch"


Format = Annotated[
    Annotated[Literal["", "json"], Tag("text")] | Annotated[dict[str, Any], Tag("schema")],
    Discriminator(_schema_or_text),
]
Think = Annotated[
    Annotated[bool, Tag("switch")] | Annotated[Literal["low", "medium", "high", "max"], Tag("effort")],
    Discriminator(_words_or_switch),
]


class Options(Body):
    """Sampling options. Ollama's other options are about loading a model and have no effect here."""

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
    #: checked together with repeat_penalty
    repeat_last_n: int | None = None
    # accepted only if they are off
    mirostat: Literal[0] | None = None
    typical_p: Annotated[float, Field(ge=1, le=1)] | None = None
    tfs_z: Annotated[float, Field(ge=1, le=1)] | None = None
    penalize_newline: Literal[True] | None = None
    # accepted, no effect
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    num_ctx: int | None = None
    num_keep: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    num_thread: int | None = None
    numa: bool | None = None
    low_vram: bool | None = None
    f16_kv: bool | None = None
    logits_all: bool | None = None
    vocab_only: bool | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None
    embedding_only: bool | None = None


class Question(Body):
    """Fields that /api/chat and /api/generate share."""

    model: str
    stream: bool | None = None
    format: Format | None = None
    options: Options | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    # accepted, no effect: the model stays loaded, and a prompt that does not fit is refused
    keep_alive: float | str | None = None
    truncate: bool | None = None
    shift: bool | None = None


# --- /api/chat


class FunctionCall(Body):
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    description: str | None = None
    index: int | None = None


class ToolCall(Body):
    function: FunctionCall
    id: str | None = None
    type: Literal["function"] | None = None


class Message(Body):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    tool_calls: Many[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    images: Annotated[list[Any], at_most(0)] | None = None


class Function(Body):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Body):
    type: Literal["function"] | None = None
    function: Function


class ChatBody(Question):
    """POST /api/chat."""

    messages: Many[Message] = Field(default_factory=list)
    tools: Many[Tool] | None = None


# --- /api/generate


class GenerateBody(Question):
    """POST /api/generate."""

    refused: ClassVar = {
        "template": "the checkpoint's own chat template is used; with raw the prompt is used unchanged",
        "width": "no images are generated",
        "height": "no images are generated",
        "steps": "no images are generated",
    }

    prompt: str = ""
    system: str | None = None
    raw: bool | None = None
    # accepted only if they are empty
    suffix: Literal[""] | None = None
    context: Annotated[list[int], at_most(0)] | None = None
    images: Annotated[list[Any], at_most(0)] | None = None


class ShowBody(Body):
    """POST /api/show."""

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


class ChatLine(AnswerLine):
    message: dict[str, Any]


class GenerateLine(AnswerLine):
    response: str
    thinking: str | None = None
