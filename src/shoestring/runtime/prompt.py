"""From a request to the tokens of its prompt, and the boundaries where later requests may branch off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shoestring.checkpoint.text.text_work import proceed
from shoestring.engine.prefix import common_prefix
from shoestring.errors import RequestError
from shoestring.output.syntax import Vocabulary
from shoestring.runtime.request import ChatRequest, Message
from shoestring.runtime.turns import ordered

#: Characters of a conversation that is worth counting twice.
_LONG = 1 << 20


class Tokenizer(Vocabulary, Protocol):
    """What a model needs of a tokenizer (checkpoint/text/tokenizer.py), beside what output/ needs."""

    @property
    def bos_id(self) -> int | None: ...
    @property
    def add_bos(self) -> bool: ...


class Rendered(Protocol):
    """A rendered conversation (checkpoint/text/chat_template.py)."""

    @property
    def token_ids(self) -> tuple[int, ...]: ...
    @property
    def inside_thinking(self) -> bool: ...


class Template(Protocol):
    """What a model needs of a chat template."""

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Message] | None = None,
        enable_thinking: bool | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> Rendered: ...


@dataclass(frozen=True)
class Prompt:
    """The tokens of a prompt, its boundaries, and whether the answer begins inside of thinking or of a message."""

    tokens: tuple[int, ...]
    boundaries: tuple[int, ...] = ()
    chat: bool = False
    inside_thinking: bool = False
    continues: bool = False

    def __repr__(self) -> str:
        return f"Prompt({len(self.tokens)} tokens, {len(self.boundaries)} boundaries)"


def text_tokens(tokenizer: Tokenizer, text: str, *, allow_special: bool = False) -> list[int]:
    """Ids of a text, after the beginning-of-text token if the model uses one."""
    tokens = tokenizer.encode(text, allow_special=allow_special)
    return [tokenizer.bos_id, *tokens] if tokenizer.add_bos and tokenizer.bos_id is not None else tokens


def raw_prompt(tokenizer: Tokenizer, prompt: str | Sequence[int]) -> Prompt:
    """A text with its beginning-of-text token, or token ids unchanged. Raises RequestError if it is empty."""
    if not prompt:
        raise RequestError("the prompt is empty: give at least one token")
    tokens = text_tokens(tokenizer, prompt) if isinstance(prompt, str) else prompt
    proceed(len(tokens))
    return Prompt(tuple(tokens))


def refuse_long(tokenizer: Tokenizer, request: ChatRequest) -> None:
    """Raise CapacityError for a conversation that cannot fit, before it is rendered: rendering copies it many times.

    Counts the tokens of the messages that every template writes; earlier answers may be left out.
    """
    texts = [text for message in request.messages for text in _texts(message)]
    if sum(map(len, texts)) < _LONG:
        return
    tokens = 0
    for text in texts:
        tokens += len(tokenizer.encode(text.strip()))
        proceed(tokens)


def _texts(message: Any) -> list[str]:
    """The texts of a message's content; none of an answer."""
    if not isinstance(message, Mapping) or message.get("role") == "assistant":
        return []
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return [text for text in texts if isinstance(text, str)]


def chat_prompt(template: Template, request: ChatRequest) -> Prompt:
    """The conversation as its template renders it, ready for the answer. Raises RequestError, TokenizerError.

    Boundaries: before every message, and after the last one, where the next turn resumes. A template may rewrite an
    earlier answer (it drops old thinking), but never the text before a message that stays.
    """
    reserved = {"messages", "tools", "add_generation_prompt", "enable_thinking"} & set(request.template_arguments)
    if reserved:
        raise RequestError(f"chat_template_kwargs may not set {', '.join(sorted(reserved))}")
    # A tool_choice of "none" hides the tools, so the model cannot call them.
    tools = request.tools if request.tool_choice.mode != "none" else ()
    messages = ordered(request.messages)

    def render(opened: bool) -> Rendered:
        return template.render(
            messages, tools or None, request.thinking, add_generation_prompt=opened, **request.template_arguments
        )

    whole = render(True)
    tokens = tuple(whole.token_ids)
    end = common_prefix(tokens, tuple(render(False).token_ids))
    return Prompt(tokens, boundaries(tokens, end), chat=True, inside_thinking=whole.inside_thinking)


def boundaries(tokens: Sequence[int], end: int) -> tuple[int, ...]:
    """Positions before each message, and `end`, after the last one.

    The token at `end` opens the answer as it opened each message: an added token, which users cannot write.
    """
    if end >= len(tokens):
        return (end,)
    opener = tokens[end]
    return (*(position for position in range(1, end) if tokens[position] == opener), end)
