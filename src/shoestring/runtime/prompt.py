"""From a request to the tokens of its prompt, and the boundaries where later requests may branch off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from shoestring.checkpoint.text.text_work import proceed
from shoestring.engine.pictures.placed import PromptPictures
from shoestring.engine.prefix import common_prefix
from shoestring.errors import RequestError
from shoestring.media.source import sources_of
from shoestring.ops import Int64
from shoestring.output.syntax import Vocabulary
from shoestring.runtime.pictures.messages import for_template, out_of_tools
from shoestring.runtime.pictures.reader import PictureReader
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
    #: rows of pictures and videos, whose tokens are placeholders
    pictures: PromptPictures | None = None

    def __repr__(self) -> str:
        rows = sum(part.part.count for part in self.pictures.parts) if self.pictures is not None else 0
        pictures = f", {rows} rows of pictures" if rows else ""
        return f"Prompt({len(self.tokens)} tokens{pictures}, {len(self.boundaries)} boundaries)"

    @property
    def rows(self) -> list[int]:
        """What the engine computes: the tokens, with an id below zero for every row of a picture."""
        rows = list(self.tokens)
        for part in self.pictures.parts if self.pictures is not None else ():
            rows[part.start : part.end] = part.part.row_ids()
        return rows

    @property
    def rotary_positions(self) -> Int64:
        """Time, height and width position of every token, [tokens, 3]; equal for text."""
        if self.pictures is None:
            return np.repeat(np.arange(len(self.tokens), dtype=np.int64)[:, None], 3, axis=1)
        return self.pictures.rotary_positions(0, len(self.tokens))


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


def chat_prompt(template: Template, request: ChatRequest, vision: PictureReader | None = None) -> Prompt:
    """The conversation as its template renders it, ready for the answer. Raises RequestError, TokenizerError.

    Boundaries: before every message, behind every picture, and after the last message, where the next turn resumes. A
    template may rewrite an earlier answer (it drops old thinking), but never the text before a message that stays.
    vision: reads the pictures; None: there are none.
    """
    reserved = {"messages", "tools", "add_generation_prompt", "enable_thinking"} & set(request.template_arguments)
    if reserved:
        raise RequestError(f"chat_template_kwargs may not set {', '.join(sorted(reserved))}")
    # A tool_choice of "none" hides the tools, so the model cannot call them.
    tools = request.tools if request.tool_choice.mode != "none" else ()
    messages = ordered(request.messages)
    sources = sources_of(messages)
    if sources and vision is None:
        raise RequestError("pictures and videos are not read here: leave them out")
    prepared = [vision.prepare(source) for source in sources] if vision is not None else []
    proceed(sum(part.count for each in prepared for part in each.parts))

    def render(opened: bool) -> Rendered:
        return template.render(
            for_template(messages),
            tools or None,
            request.thinking,
            add_generation_prompt=opened,
            **request.template_arguments,
        )

    whole = render(True)
    if prepared and vision is not None and vision.lacks(whole.token_ids, prepared):
        messages = out_of_tools(messages)
        whole = render(True)
    tokens = tuple(whole.token_ids)
    end = common_prefix(tokens, tuple(render(False).token_ids))
    prompt = Prompt(tokens, boundaries(tokens, end), chat=True, inside_thinking=whole.inside_thinking)
    if not prepared or vision is None:
        return prompt
    expanded = vision.expand(tokens, prepared)
    places = {*(expanded.places[boundary] for boundary in prompt.boundaries), *expanded.ends}
    return replace(prompt, tokens=expanded.tokens, boundaries=tuple(sorted(places)), pictures=expanded.pictures)


def boundaries(tokens: Sequence[int], end: int) -> tuple[int, ...]:
    """Positions before each message, and `end`, after the last one.

    The token at `end` opens the answer as it opened each message: an added token, which users cannot write.
    """
    if end >= len(tokens):
        return (end,)
    opener = tokens[end]
    return (*(position for position in range(1, end) if tokens[position] == opener), end)
