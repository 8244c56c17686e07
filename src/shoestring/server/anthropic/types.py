"""Types of Anthropic's Messages API: the fields of requests and answers, and which fields are refused by name.

requests.py defines what they mean.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from shoestring.server import field_rules
from shoestring.server.http.fields import Body, LooseBody, Many, Object, text_or_list

PlainText = Annotated[str, Tag("text")]


# --- content blocks


class Block(Body):
    rules: ClassVar = field_rules.ANTHROPIC_BLOCK


class Text(Block):
    type: Literal["text"]
    text: str


class Thinking(Block):
    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class RedactedThinking(Block):
    """Thinking that only Anthropic can read: accepted and dropped."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUse(Block):
    type: Literal["tool_use"]
    id: str
    name: str
    #: an object; anything else reaches the model as it is written
    input: Any = None


class ToolResult(Block):
    type: Literal["tool_result"]
    tool_use_id: str
    content: ResultContent = ""
    is_error: bool | None = None


class Image(Block):
    """An image. media/unread.py reads its source."""

    type: Literal["image"]
    source: Any = None


class Other(LooseBody):
    """A block that is no text. requests.py reads a document's text, and says or refuses the rest by name."""

    model_config = ConfigDict(extra="allow")

    type: Literal[
        "document",
        "search_result",
        "server_tool_use",
        "tool_reference",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "container_upload",
        "mcp_tool_use",
        "mcp_tool_result",
        "browser_state",
        "compaction",
    ]


_ResultPart = Annotated[Text | Image | Other, Field(discriminator="type")]
ResultContent = Annotated[PlainText | Annotated[Many[_ResultPart], Tag("list")], Discriminator(text_or_list)]
ContentBlock = Annotated[
    Text | Image | Thinking | RedactedThinking | ToolUse | ToolResult | Other, Field(discriminator="type")
]
MessageContent = Annotated[PlainText | Annotated[Many[ContentBlock], Tag("list")], Discriminator(text_or_list)]
SystemContent = Annotated[PlainText | Annotated[Many[Text], Tag("list")], Discriminator(text_or_list)]


class Message(Body):
    role: Literal["user", "assistant", "system"]
    content: MessageContent


# --- tools


class Tool(Body):
    rules: ClassVar = field_rules.ANTHROPIC_TOOL

    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    input_schema: Object
    type: Literal["custom"] | None = None
    strict: bool | None = None


class ServerTool(LooseBody):
    """web_search_20250305, bash_20250124 and the like; requests.py refuses them by type."""

    type: str
    name: str = ""


def _tool_kind(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return "server" if isinstance(kind, str) and kind != "custom" else "custom"


AnyTool = Annotated[Annotated[Tool, Tag("custom")] | Annotated[ServerTool, Tag("server")], Discriminator(_tool_kind)]


class ToolChoice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


# --- the request


class ThinkingEnabled(Body):
    type: Literal["enabled"]
    budget_tokens: int = Field(ge=1)
    display: Literal["summarized", "omitted"] | None = None


class ThinkingDisabled(Body):
    type: Literal["disabled"]


class ThinkingAdaptive(Body):
    type: Literal["adaptive"]
    display: Literal["summarized", "omitted"] | None = None


ThinkingConfig = Annotated[ThinkingEnabled | ThinkingDisabled | ThinkingAdaptive, Field(discriminator="type")]


class OutputFormat(Body):
    type: Literal["json_schema"]
    schema_: Object = Field(alias="schema")
    name: str | None = None


class OutputConfig(Body):
    rules: ClassVar = field_rules.ANTHROPIC_OUTPUT

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Edit(LooseBody):
    #: templates drop old thinking by themselves; other edits would change the prompt
    type: Literal["clear_thinking_20251015"]


class ContextManagement(Body):
    edits: Many[Edit] | None = None


class CountTokensBody(Body):
    """POST /v1/messages/count_tokens."""

    rules: ClassVar = field_rules.ANTHROPIC

    model: str
    messages: Many[Message]
    system: SystemContent | None = None
    tools: Many[AnyTool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    context_management: ContextManagement | None = None


class MessagesBody(CountTokensBody):
    """POST /v1/messages."""

    max_tokens: int = Field(ge=1)
    stream: bool | None = None
    stop_sequences: Many[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


# --- the answer

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]


class TextBlock(BaseModel):
    type: Literal["text"] = "text"
    text: str


class ThinkingBlock(BaseModel):
    type: Literal["thinking"] = "thinking"
    thinking: str
    #: always "": nothing is signed
    signature: str = ""


class ToolUseBlock(BaseModel):
    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: dict[str, Any]


AnswerBlock = Annotated[TextBlock | ThinkingBlock | ToolUseBlock, Field(discriminator="type")]


class OutputTokensDetails(BaseModel):
    thinking_tokens: int


class MessageUsage(BaseModel):
    """input_tokens + cache_read_input_tokens + cache_creation_input_tokens is the whole prompt."""

    input_tokens: int
    cache_read_input_tokens: int
    #: always 0: tokens that a prompt adds to the cache are not counted separately
    cache_creation_input_tokens: int = 0
    output_tokens: int
    output_tokens_details: OutputTokensDetails | None = None
    service_tier: Literal["standard"] = "standard"


class AnswerMessage(BaseModel):
    """`ended_inside_thinking`: our extension, true if the answer ended before its thinking did, so it has no text."""

    model_config = ConfigDict(extra="allow")

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnswerBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage


class TokensCount(BaseModel):
    input_tokens: int
