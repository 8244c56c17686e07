"""A model with scripted answers: no weights, but a family's tokenizer, template and the real engine.

For tests of servers, clients and pages, and to try an agent without waiting for a model: see shoestring/testing.py.

The vocabulary is the 256 bytes and the family's added tokens, the chat template is the family's documented format, and
the engine runs with its pages and slots (engine/scripted_runner.py). An answer depends on the prompt alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import Tokenizer, byte_characters
from shoestring.engine.engine import Engine
from shoestring.engine.pictures.encoder import ScriptedEncoder
from shoestring.engine.scripted_runner import ScriptedRunner
from shoestring.errors import RequestError
from shoestring.media.settings import LlamaSettings, QwenSettings
from shoestring.runtime.model import Model
from shoestring.runtime.pictures.reader import PictureReader

Family = Literal["qwen3_5", "llama4"]
#: The three ways in which Llama 4 writes a call; Qwen 3.5 has one.
CallSyntax = Literal["json", "pythonic", "function"]


@dataclass(frozen=True)
class Reply:
    """An answer: thinking, then content, then calls (name, arguments).

    raw: replaces all of these; spellings of added tokens in it become tokens. Thinking is omitted if the request turns
    it off or the family has none.
    """

    content: str = ""
    thinking: str = ""
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    raw: str | None = None


@dataclass(frozen=True)
class Asked:
    """The argument of a rule: who wrote the last message, its text, and the whole prompt.

    seen: a number below zero for each row of the message's pictures, from their pixels.
    """

    role: Literal["user", "tool"]
    text: str
    prompt: str
    seen: tuple[int, ...] = ()


Rule = Callable[[Asked], Reply | str]


@dataclass(frozen=True)
class _Words:
    """The added tokens of a family, and the texts that mark the parts of a prompt."""

    special: tuple[str, ...]
    plain: tuple[str, ...]
    pre: str
    bos: str | None
    end: str
    call_end: str
    answer: str
    user: str
    tool: str
    tool_end: str
    thinking: bool


_WORDS: Mapping[Family, _Words] = {
    "qwen3_5": _Words(
        special=(
            *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
            *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
        ),
        plain=("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
        pre="qwen35",
        bos=None,
        end="<|im_end|>",
        call_end="<|im_end|>",
        answer="<|im_start|>assistant\n",
        user="<|im_start|>user\n",
        tool="<tool_response>\n",
        tool_end="\n</tool_response>",
        thinking=True,
    ),
    "llama4": _Words(
        special=(
            *("<|begin_of_text|>", "<|end_of_text|>", "<|header_start|>", "<|header_end|>"),
            *("<|eom|>", "<|eot|>", "<|python_start|>", "<|python_end|>"),
            *("<|image_start|>", "<|image_end|>", "<|image|>", "<|patch|>"),
            *("<|tile_x_separator|>", "<|tile_y_separator|>"),
        ),
        plain=(),
        pre="llama4",
        bos="<|begin_of_text|>",
        end="<|eot|>",
        call_end="<|eom|>",
        answer="<|header_start|>assistant<|header_end|>\n\n",
        user="<|header_start|>user<|header_end|>\n\n",
        tool="<|header_start|>ipython<|header_end|>\n\n",
        tool_end="<|eot|>",
        thinking=False,
    ),
}

_THINK, _END_THINK = "<think>", "</think>"
_AND_SO_ON = b" and so on."
_BYTES = 256


def echo(asked: Asked) -> Reply:
    """The rule for messages without a reply."""
    return Reply(f"You said: {asked.text}")


def scripted_model(
    replies: Mapping[str, Reply | str] | Rule | None = None,
    *,
    family: Family = "qwen3_5",
    completions: Mapping[str, str] | None = None,
    call_syntax: CallSyntax = "json",
    context: int = 32768,
    sequences: int = 8,
    blind: str = "",
    **engine: Any,
) -> Model:
    """A model that answers `replies[text of the last message]`, or what a rule returns; without a reply it echoes.

    completions: raw prompt → continuation; default: " and so on.". call_syntax: how Llama 4 writes a call. blind: why
    it reads no pictures; "": it does. engine: more arguments of Engine.
    """
    words = _WORDS[family]
    tokenizer = scripted_tokenizer(family)
    script = _Script(tokenizer, words, _rule(replies), completions or {}, call_syntax)
    width = -(-tokenizer.vocab_size // 8) * 8
    chunk = 0 if family == "qwen3_5" else 256
    settings = QwenSettings() if family == "qwen3_5" else LlamaSettings()
    runner = ScriptedRunner(script.next, vocab_size=width, chunk_size=chunk, recurrent=family == "qwen3_5")
    return Model(
        Engine(runner, context=context, sequences=sequences, encoder=ScriptedEncoder(), **engine),
        tokenizer,
        ChatTemplate.of_family(family, tokenizer),
        family=family,
        vision=PictureReader(family, settings, tokenizer.encode, blind),
    )


def scripted_tokenizer(family: Family) -> Tokenizer:
    """A tokenizer with one token per byte, followed by the family's added tokens."""
    words = _WORDS[family]
    texts = [*words.special, *words.plain]
    keys: dict[str, Any] = {
        "model": "gpt2",
        "pre": words.pre,
        "tokens": [*byte_characters(), *texts],
        "token_type": [1] * _BYTES + [3] * len(words.special) + [4] * len(words.plain),
        "merges": [],
        "eos_token_id": _BYTES + texts.index(words.end),
        "add_bos_token": words.bos is not None,
    }
    if words.bos is not None:
        keys["bos_token_id"] = _BYTES + texts.index(words.bos)
    if words.call_end != words.end:
        keys["eom_token_id"] = _BYTES + texts.index(words.call_end)
    return Tokenizer.from_gguf({f"tokenizer.ggml.{key}": value for key, value in keys.items()}, "the scripted model")


def _rule(replies: Mapping[str, Reply | str] | Rule | None) -> Rule:
    if replies is None:
        return echo
    if callable(replies):
        return replies
    by_text = replies
    return lambda asked: by_text.get(asked.text, echo(asked))


@dataclass
class _Script:
    """Finds the next token from the tokens so far: the prompt, then the answer as far as it goes."""

    tokenizer: Tokenizer
    words: _Words
    rule: Rule
    completions: Mapping[str, str]
    call_syntax: CallSyntax
    #: prompt → reply, so that a rule runs once per answer
    _replies: dict[tuple[int, ...], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        words = self.words
        texts = (words.answer, words.user, words.tool, words.end, words.tool_end)
        ids = [tuple(self.tokenizer.encode(text, allow_special=True)) for text in texts]
        self._answer, self._user, self._tool, (self._end,), self._tool_end = ids
        self._marks = self.tokenizer.thinking

    def next(self, seen: tuple[int, ...]) -> int:
        start = _find_last(seen, self._answer)  # users cannot write its added tokens
        if start < 0:
            return self._after_raw_prompt(seen)
        prompt, said = seen[:start], list(seen[start:])
        if prompt not in self._replies:
            if len(self._replies) > 256:
                self._replies.clear()
            self._replies[prompt] = self._reply(prompt, said)
        return self._following(self._replies[prompt], said)

    def _after_raw_prompt(self, seen: tuple[int, ...]) -> int:
        """A raw prompt has no end marker: the answer so far is the text after the last occurrence of a known prompt."""
        text = bytes(token for token in seen if 0 <= token < _BYTES)
        for prompt, reply in sorted(self.completions.items(), key=lambda item: -len(item[0])):
            key, body = prompt.encode(), reply.encode()
            at = text.rfind(key)
            said = text[at + len(key) :]
            if at >= 0 and body.startswith(said):
                return body[len(said)] if len(said) < len(body) else self._end
        done = next(n for n in range(len(_AND_SO_ON), -1, -1) if text.endswith(_AND_SO_ON[:n]))
        return _AND_SO_ON[done] if done < len(_AND_SO_ON) else self._end

    def _reply(self, prompt: tuple[int, ...], said: list[int]) -> list[int]:
        reply = self.rule(self._asked(prompt))
        if isinstance(reply, str):
            reply = Reply(reply)
        encode = self.tokenizer.encode
        if reply.raw is not None:
            return [*encode(reply.raw, allow_special=True), self._end]
        tokens: list[int] = []
        if self.words.thinking:
            tokens = encode(f"{_THINK}\n", allow_special=True)
            tokens += encode(reply.thinking) + encode(f"\n{_END_THINK}\n\n", allow_special=True)
        tokens += encode(reply.content)
        if not reply.calls:
            return [*tokens, self._end]
        separator = "\n\n" if reply.content else ""
        text = separator + _calls(reply.calls, self.words, self.call_syntax)
        return [*tokens, *encode(text, allow_special=True), *encode(self.words.call_end, allow_special=True)]

    def _asked(self, prompt: tuple[int, ...]) -> Asked:
        tool, user = _find_last(prompt, self._tool), _find_last(prompt, self._user)
        role: Literal["user", "tool"] = "tool" if tool > user else "user"
        rest, end = (prompt[tool:], self._tool_end) if role == "tool" else (prompt[user:], (self._end,))
        stop = next((i for i in range(len(rest)) if rest[i : i + len(end)] == end), len(rest))
        text = self.tokenizer.decode(rest[:stop], skip_special=True)  # without the marks of pictures
        seen = tuple(token for token in rest[:stop] if token < 0)
        return Asked(role, text, self.tokenizer.decode(prompt), seen)

    def _following(self, reply: list[int], said: list[int]) -> int:
        """The token after `said`: by the reply, or, if its thinking was cut short, by the reply's content."""
        if said == reply[: len(said)]:
            return reply[len(said)] if len(said) < len(reply) else self._end
        if self._marks is None:
            return self._end
        end = self._marks[1]
        if end not in said:
            return end
        rest, spoken = (self._stripped(tokens[_last(tokens, end) + 1 :]) for tokens in (reply, said))
        if spoken == rest[: len(spoken)] and len(spoken) < len(rest):
            return rest[len(spoken)]
        return self._end

    @staticmethod
    def _stripped(tokens: list[int]) -> list[int]:
        start = next((i for i, token in enumerate(tokens) if token != ord("\n")), len(tokens))
        return tokens[start:]


def _find_last(tokens: tuple[int, ...], part: tuple[int, ...]) -> int:
    """The end of the last occurrence of `part`; -1: none."""
    length = len(part)
    for start in range(len(tokens) - length, -1, -1):
        if tokens[start] == part[0] and tokens[start : start + length] == part:
            return start + length
    return -1


def _last(tokens: list[int], token: int) -> int:
    return len(tokens) - 1 - tokens[::-1].index(token) if token in tokens else -1


def _calls(calls: Sequence[tuple[str, Mapping[str, Any]]], words: _Words, syntax: CallSyntax) -> str:
    """The calls in the family's syntax. Raises RequestError for an unknown `syntax`."""
    if words.thinking:
        return "\n".join(_xml_call(name, arguments) for name, arguments in calls)
    match syntax:
        case "json":
            return "; ".join(json.dumps({"name": n, "parameters": a}, ensure_ascii=False) for n, a in calls)
        case "function":
            return "".join(f"<function={n}>{json.dumps(a, ensure_ascii=False)}</function>" for n, a in calls)
        case "pythonic":
            texts = (f"{n}({', '.join(f'{k}={v!r}' for k, v in a.items())})" for n, a in calls)
            return f"[{', '.join(texts)}]"
    raise RequestError(f"call_syntax is {syntax!r}: choose json, pythonic or function")


def _xml_call(name: str, arguments: Mapping[str, Any]) -> str:
    def text_of(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    parameters = (f"<parameter={key}>\n{text_of(value)}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={name}>\n{''.join(parameters)}</function>\n</tool_call>"
