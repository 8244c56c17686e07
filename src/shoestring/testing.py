"""A model whose answers are written down: no weights, but a family's real tokenizer, template and engine.

For tests of servers, clients and pages, and to try an agent without waiting for a model:

    model = scripted_model({"What is 6 × 7?": Reply("42", thinking="six sevens")})

Its vocabulary is the 256 bytes and the family's added tokens, its chat template the family's documented format, and
below it runs the engine with its pages and slots (engine/scripted_runner.py). What it says depends on the prompt alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import Tokenizer, byte_characters
from shoestring.engine.engine import Engine
from shoestring.engine.scripted_runner import ScriptedRunner
from shoestring.errors import RequestError
from shoestring.runtime.model import Model

Family = Literal["qwen3_5", "llama4"]
#: How Llama 4 writes a call; Qwen 3.5 has one form.
CallSyntax = Literal["json", "pythonic", "function"]


@dataclass(frozen=True)
class Reply:
    """What the model says: thinking, then content, then calls (name, arguments).

    raw: said instead of all that, added tokens written in it are tokens. Thinking is left out where the request
    switches it off or the family has none.
    """

    content: str = ""
    thinking: str = ""
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    raw: str | None = None


@dataclass(frozen=True)
class Asked:
    """What a rule sees: the text of the last message, whether a user or a tool wrote it, and the whole prompt."""

    role: Literal["user", "tool"]
    text: str
    prompt: str


Rule = Callable[[Asked], Reply | str]


@dataclass(frozen=True)
class _Words:
    """The added tokens of a family by their part in a conversation; texts that a prompt is read by."""

    added: tuple[tuple[str, bool], ...]
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
        added=(
            ("<|endoftext|>", True),
            ("<|im_start|>", True),
            ("<|im_end|>", True),
            ("<tool_call>", False),
            ("</tool_call>", False),
            ("<tool_response>", False),
            ("</tool_response>", False),
            ("<think>", False),
            ("</think>", False),
        ),
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
        added=(
            ("<|begin_of_text|>", True),
            ("<|end_of_text|>", True),
            ("<|header_start|>", True),
            ("<|header_end|>", True),
            ("<|eom|>", True),
            ("<|eot|>", True),
            ("<|python_start|>", True),
            ("<|python_end|>", True),
        ),
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
    """The rule for what no other covers."""
    return Reply(f"You said: {asked.text}")


def scripted_model(
    replies: Mapping[str, Reply | str] | Rule | None = None,
    *,
    family: Family = "qwen3_5",
    completions: Mapping[str, str] | None = None,
    call_syntax: CallSyntax = "json",
    context: int = 32768,
    sequences: int = 8,
    **engine: Any,
) -> Model:
    """A model that answers `replies[text of the last message]`, or what a rule says; else it echoes.

    completions: what follows raw prompts; others are followed by " and so on.". call_syntax: Llama 4's form of a
    call. engine: further arguments of Engine.
    """
    words = _WORDS[family]
    tokenizer = scripted_tokenizer(family)
    script = _Script(tokenizer, words, _rule(replies), completions or {}, call_syntax)
    width = -(-tokenizer.vocab_size // 8) * 8
    chunk = 0 if family == "qwen3_5" else 256
    runner = ScriptedRunner(script.next, vocab_size=width, chunk_size=chunk, recurrent=family == "qwen3_5")
    return Model(
        Engine(runner, context=context, sequences=sequences, **engine),
        tokenizer,
        ChatTemplate.of_family(family, tokenizer),
        family=family,
    )


def scripted_tokenizer(family: Family) -> Tokenizer:
    """Every byte a token, and behind them the family's added tokens."""
    words = _WORDS[family]
    texts = [text for text, _ in words.added]
    keys: dict[str, Any] = {
        "model": "gpt2",
        "pre": words.pre,
        "tokens": [*byte_characters(), *texts],
        "token_type": [1] * _BYTES + [3 if special else 4 for _, special in words.added],
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
    written = replies

    def rule(asked: Asked) -> Reply | str:
        found = written.get(asked.text)
        return echo(asked) if found is None else found

    return rule


@dataclass
class _Script:
    """The token that follows a prompt and what was said after it."""

    tokenizer: Tokenizer
    words: _Words
    rule: Rule
    completions: Mapping[str, str]
    call_syntax: CallSyntax
    #: prompt → reply, so that a rule is asked once an answer
    _known: dict[tuple[int, ...], list[int]] = field(default_factory=dict)

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
        if prompt not in self._known:
            if len(self._known) > 256:
                self._known.clear()
            self._known[prompt] = self._reply(prompt, said)
        return self._following(self._known[prompt], said)

    def _after_raw_prompt(self, seen: tuple[int, ...]) -> int:
        """A raw prompt has no end of its own: what was said is what stands behind the last known prompt."""
        text = bytes(token for token in seen if token < _BYTES)
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
        return Asked(role, self.tokenizer.decode(rest[:stop]), self.tokenizer.decode(prompt))

    def _following(self, reply: list[int], said: list[int]) -> int:
        """What comes after `said`: the reply where it was followed, else from behind the thinking that was ended."""
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
    """Behind the last place where `part` stands, -1: nowhere."""
    length = len(part)
    for at in range(len(tokens) - length, -1, -1):
        if tokens[at] == part[0] and tokens[at : at + length] == part:
            return at + length
    return -1


def _last(tokens: list[int], token: int) -> int:
    return len(tokens) - 1 - tokens[::-1].index(token) if token in tokens else -1


def _calls(calls: Sequence[tuple[str, Mapping[str, Any]]], words: _Words, syntax: CallSyntax) -> str:
    """The calls as the family writes them."""
    if words.thinking:
        return "\n".join(_xml_call(name, arguments) for name, arguments in calls)
    match syntax:
        case "json":
            return "; ".join(json.dumps({"name": n, "parameters": a}, ensure_ascii=False) for n, a in calls)
        case "function":
            return "".join(f"<function={n}>{json.dumps(a, ensure_ascii=False)}</function>" for n, a in calls)
        case "pythonic":
            written = (f"{n}({', '.join(f'{k}={v!r}' for k, v in a.items())})" for n, a in calls)
            return f"[{', '.join(written)}]"
    raise RequestError(f"call_syntax is {syntax!r}: choose json, pythonic or function")


def _xml_call(name: str, arguments: Mapping[str, Any]) -> str:
    def written(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    parameters = (f"<parameter={key}>\n{written(value)}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={name}>\n{''.join(parameters)}</function>\n</tool_call>"
