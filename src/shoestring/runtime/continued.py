"""An answer that continues the last message, the assistant's (prefill), instead of being a new turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shoestring.checkpoint.text.text_work import proceed
from shoestring.errors import RequestError
from shoestring.output.syntax import Syntax, Vocabulary
from shoestring.runtime.prompt import Prompt
from shoestring.runtime.request import ChatRequest, Message


@dataclass(frozen=True)
class Begun:
    """What a message contains that the answer continues: thinking, content, or both."""

    thought: str = ""
    content: str = ""


def begun(message: Message) -> Begun:
    """Raises RequestError for a message that no answer can continue."""
    if not isinstance(message, Mapping) or message.get("role") != "assistant":
        raise RequestError("the last message is not the assistant's: the answer cannot continue it")
    if message.get("tool_calls"):
        raise RequestError("the last message calls tools: send their results, the answer cannot continue it")
    content, thought = message.get("content"), message.get("reasoning_content")
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = "".join(text for text in texts if isinstance(text, str))
        if not all(isinstance(text, str) for text in texts):
            raise RequestError("the last message has a part that is not text: only text is supported")
    if content is not None and not isinstance(content, str):
        raise RequestError("the last message: content must be text or a list of parts")
    return Begun(thought if isinstance(thought, str) else "", content or "")


def before(request: ChatRequest) -> ChatRequest:
    """The request for a new turn in place of the last message, with thinking as that message has it."""
    start = begun(request.messages[-1]) if request.messages else Begun()
    thinking = bool(start.thought) if start.thought or start.content else request.thinking
    return replace(request, messages=request.messages[:-1], thinking=thinking, continues=False)


def continued(prompt: Prompt, message: Message, tokenizer: Vocabulary, syntax: Syntax) -> Prompt:
    """The prompt of the new turn, followed by the message as it is: no white space is removed.

    What the message contains is a text of its own to the tokenizer, as the answer will be.
    """
    start, tokens, inside = begun(message), list(prompt.tokens), prompt.inside_thinking
    if inside:
        tokens += tokenizer.encode(start.thought)
    if start.content:
        tokens += syntax.end_thinking(tokenizer) if inside else []
        tokens += tokenizer.encode(start.content)
        inside = False
    proceed(len(tokens))
    return replace(prompt, tokens=tuple(tokens), inside_thinking=inside, continues=len(tokens) > len(prompt.tokens))
