"""From the service's items to chunks of /v1/completions, and from chunks to one answer."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from shoestring.engine.request import FinishReason
from shoestring.ops.sampling import Sampled
from shoestring.output.events import Content, Thinking
from shoestring.server.request import Delta, Finished, Scored, Started, StreamItem

_FINISH: Mapping[FinishReason, Literal["stop", "length"]] = {
    "stop": "stop",
    "length": "length",
    "context": "length",
    "tool_calls": "stop",
}

Chunk = dict[str, Any]


class TokenTexts(Protocol):
    """What log-probabilities need of a tokenizer."""

    def token_bytes(self, id: int) -> bytes: ...


@dataclass
class _Place:
    """Where the next token of a choice begins, in characters of its text."""

    offset: int
    _decoder: Any = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def pass_by(self, data: bytes, final: bool = False) -> str:
        """The text that a token's bytes complete."""
        text: str = self._decoder.decode(data, final)
        self.offset += len(text)
        return text


class Chunks:
    """The chunks of one request. Its prompts are numbered, each has n answers; choices count through all of them.

    echoes: texts in front of the answers, by prompt; scored prompts bring their own. tokens: given where
    log-probabilities are asked for. added: tokens that begin every prompt and are no part of its text.
    """

    def __init__(
        self,
        id: str,
        model: str,
        n: int,
        *,
        echoes: Sequence[str] | None = None,
        tokens: TokenTexts | None = None,
        added: int = 0,
    ) -> None:
        self._head = {"id": id, "object": "text_completion", "created": int(time.time()), "model": model}
        self._n = n
        self._echoes = echoes
        self._tokens = tokens
        self._added = added
        self._places: dict[int, _Place] = {}
        self._usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        self._cached = 0

    def begin(self) -> list[Chunk]:
        """What comes before any token: the echoed prompts."""
        prompts = enumerate(self._echoes or ())
        return [self._chunk(number * self._n + i, text) for number, text in prompts for i in range(self._n)]

    def take(self, prompt: int, item: StreamItem) -> list[Chunk]:
        """The chunks that an item of prompt number `prompt` amounts to, perhaps none."""
        match item:
            case Started():
                self._count(prompt_tokens=item.prompt_tokens)
                self._cached += item.cached_tokens
            case Scored() if self._tokens is not None:
                return [self._scored(prompt * self._n + i, item.tokens) for i in range(self._n)]
            case Delta():
                self._count(completion_tokens=len(item.tokens))
                index = prompt * self._n + item.choice
                # A raw prompt has no thinking of its own: whatever comes is text.
                text = "".join(event.text for event in item.events if isinstance(event, Content | Thinking))
                logprobs = self._logprobs(index, item.tokens)[1]
                return [self._chunk(index, text, logprobs)] if text or logprobs else []
            case Finished():
                return [self._chunk(prompt * self._n + item.choice, "", reason=_FINISH[item.reason])]
        return []

    def _count(self, **tokens: int) -> None:
        for name, count in tokens.items():
            self._usage[name] += count
            self._usage["total_tokens"] += count

    def usage(self) -> dict[str, Any]:
        """Of all prompts together, complete when all streams have ended."""
        return {**self._usage, "prompt_tokens_details": {"cached_tokens": self._cached}}

    def usage_chunk(self) -> Chunk:
        return {**self._head, "choices": [], "usage": self.usage()}

    def _chunk(
        self, index: int, text: str, logprobs: dict[str, list[Any]] | None = None, reason: str | None = None
    ) -> Chunk:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return {**self._head, "choices": [choice]}

    def _scored(self, index: int, tokens: Sequence[Sampled]) -> Chunk:
        """The echo of a prompt with its log-probabilities. It is the text of the tokens, so that offsets agree."""
        text, logprobs = self._logprobs(index, tokens, self._added)
        return self._chunk(index, text + self._places[index].pass_by(b"", final=True), logprobs)

    def _logprobs(
        self, index: int, tokens: Sequence[Sampled], added: int = 0
    ) -> tuple[str, dict[str, list[Any]] | None]:
        """The text of the tokens behind the `added` ones, and what is reported of all."""
        if self._tokens is None or not tokens:
            return "", None
        place = self._places.setdefault(index, _Place(0))
        found: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        text = ""
        for number, token in enumerate(tokens):
            data = self._tokens.token_bytes(token.id)
            top = {written(self._tokens.token_bytes(id)): value for id, value in token.top}
            found["tokens"].append(written(data))
            found["token_logprobs"].append(token.logprob)
            found["top_logprobs"].append(None if token.logprob is None else {**top, written(data): token.logprob})
            found["text_offset"].append(place.offset)
            text += place.pass_by(data) if number >= added else ""
        return text, found

    def whole(self, chunks: Iterable[Chunk]) -> dict[str, Any]:
        """The answer that the chunks of all choices amount to."""
        choices: dict[int, dict[str, Any]] = {}
        for chunk in chunks:
            for piece in chunk["choices"]:
                choice = choices.setdefault(piece["index"], {**piece, "text": "", "logprobs": None})
                choice["text"] += piece["text"]
                choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]
                if piece["logprobs"] is not None:
                    before = choice["logprobs"] or {key: [] for key in piece["logprobs"]}
                    choice["logprobs"] = {key: [*before[key], *values] for key, values in piece["logprobs"].items()}
        return {**self._head, "choices": [choices[index] for index in sorted(choices)], "usage": self.usage()}


def written(data: bytes) -> str:
    """A token as text; where it is no UTF-8 by itself as bytes:\\x…, so that no two look alike."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
