"""Convert the service's items to chunks of /v1/completions, and chunks to one answer."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shoestring.ops.sampling import Sampled
from shoestring.output.events import Content, Thinking
from shoestring.server.answers import TokenBytes, stop_or_length
from shoestring.server.request import Delta, Finished, Scored, StreamItem, Usage

Chunk = dict[str, Any]

#: Tokens of a scored prompt in one chunk.
_SCORED_AT_ONCE = 256


@dataclass
class _Place:
    """The start of a choice's next token, in characters of its text."""

    offset: int = 0
    _decoder: Any = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def advance(self, data: bytes, final: bool = False) -> str:
        """Pass a token's bytes. Returns the text that they complete."""
        text: str = self._decoder.decode(data, final)
        self.offset += len(text)
        return text


class Chunks:
    """The chunks of one request. Each of its prompts has n answers; choices number the answers of all prompts.

    echoes: for each prompt, the text before its answers; scored prompts bring their own. token_bytes: given if the
    request wants log-probabilities. added: number of tokens at the start of every prompt that its text does not have.
    fingerprint: OpenAI's `system_fingerprint`, if there is one.
    """

    def __init__(
        self,
        id: str,
        model: str,
        n: int,
        *,
        echoes: Sequence[str] | None = None,
        token_bytes: TokenBytes | None = None,
        added: int = 0,
        fingerprint: Mapping[str, str] | None = None,
    ) -> None:
        head = {"id": id, "object": "text_completion", "created": int(time.time()), "model": model}
        self._head = {**head, **(fingerprint or {})}
        self._n = n
        self._echoes = echoes
        self._token_bytes = token_bytes
        self._added = added
        self._places: dict[int, _Place] = {}
        self._prompt_tokens = self._completion_tokens = self._cached_tokens = 0

    def begin(self) -> list[Chunk]:
        """The chunks before any token: the echoed prompts."""
        prompts = enumerate(self._echoes or ())
        return [self._chunk(number * self._n + i, text) for number, text in prompts for i in range(self._n)]

    def take(self, prompt: int, item: StreamItem) -> Iterable[Chunk]:
        """Convert an item of prompt number `prompt` to chunks, perhaps none. Those of a scored prompt come one by one.

        A long prompt with many log-probabilities takes seconds: the event loop has turns between its chunks.
        """
        match item:
            case Scored() if self._token_bytes is not None:
                return self._scored(range(prompt * self._n, (prompt + 1) * self._n), item.tokens)
            case Delta():
                index = prompt * self._n + item.choice
                # The answer to a raw prompt has no thinking: everything is text.
                text = "".join(event.text for event in item.events if isinstance(event, Content | Thinking))
                logprobs = self._logprobs(index, item.tokens)[1]
                return [self._chunk(index, text, logprobs)] if text or logprobs else []
            case Finished():
                return [self._chunk(prompt * self._n + item.choice, "", reason=stop_or_length(item.reason))]
            case Usage():
                self._prompt_tokens += item.prompt_tokens
                self._cached_tokens += item.cached_tokens
                self._completion_tokens += item.completion_tokens
        return []

    def usage(self) -> dict[str, Any]:
        """The usage of all prompts together, complete when all streams have ended."""
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "total_tokens": self._prompt_tokens + self._completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self._cached_tokens},
        }

    def usage_chunk(self) -> Chunk:
        return {**self._head, "choices": [], "usage": self.usage()}

    def _chunk(
        self, index: int, text: str, logprobs: dict[str, list[Any]] | None = None, reason: str | None = None
    ) -> Chunk:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return {**self._head, "choices": [choice]}

    def _scored(self, choices: Iterable[int], tokens: Sequence[Sampled]) -> Iterator[Chunk]:
        """The echo of a prompt with its log-probabilities. Its text comes from the tokens, to match the offsets."""
        for index in choices:
            for first in range(0, len(tokens), _SCORED_AT_ONCE):
                part = tokens[first : first + _SCORED_AT_ONCE]
                text, logprobs = self._logprobs(index, part, max(0, self._added - first))
                final = first + len(part) == len(tokens)
                yield self._chunk(index, text + self._places[index].advance(b"", final=final), logprobs)

    def _logprobs(
        self, index: int, tokens: Sequence[Sampled], added: int = 0
    ) -> tuple[str, dict[str, list[Any]] | None]:
        """The text of the tokens after the first `added` ones, and the log-probabilities of all."""
        if self._token_bytes is None or not tokens:
            return "", None
        place = self._places.setdefault(index, _Place())
        columns: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        text = ""
        for number, token in enumerate(tokens):
            data = self._token_bytes(token.id)
            name, top = token_text(data), {token_text(self._token_bytes(id)): value for id, value in token.top}
            columns["tokens"].append(name)
            columns["token_logprobs"].append(token.logprob)
            columns["top_logprobs"].append(None if token.logprob is None else {**top, name: token.logprob})
            columns["text_offset"].append(place.offset)
            text += place.advance(data) if number >= added else ""
        return text, columns

    def whole(self, chunks: Iterable[Chunk]) -> dict[str, Any]:
        """Merge the chunks of all choices into one answer."""
        choices: dict[int, dict[str, Any]] = {}
        for chunk in chunks:
            for piece in chunk["choices"]:
                choice = choices.setdefault(piece["index"], {**piece, "text": "", "logprobs": None})
                choice["text"] += piece["text"]
                choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]
                if piece["logprobs"] is not None:
                    choice["logprobs"] = choice["logprobs"] or {key: [] for key in piece["logprobs"]}
                    for key, values in piece["logprobs"].items():
                        choice["logprobs"][key] += values
        return {**self._head, "choices": [choices[index] for index in sorted(choices)], "usage": self.usage()}


def token_text(data: bytes) -> str:
    """A token as text. One that is not UTF-8 by itself becomes bytes:\\x…, so that no two tokens look alike."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
