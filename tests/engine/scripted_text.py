"""A scripted model with text: tokens are bytes; 256 begins and 257 ends a message, 258 and 259 mark thinking."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shoestring.engine.engine import Engine
from shoestring.engine.scripted_runner import ScriptedRunner
from shoestring.errors import RequestError
from shoestring.runtime.model import Model

BEGIN, END, THINK, END_THINK = 256, 257, 258, 259


class ByteDecoder:
    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def waits(self) -> bool:
        return bool(self._utf8.getstate()[0])

    def push(self, *ids: int) -> str:
        return self._utf8.decode(bytes(id for id in ids if id < 256))

    def finish(self) -> str:
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


class ByteTokenizer:
    vocab_size = 260
    eos_ids = frozenset({END})
    bos_id = BEGIN
    thinking = (THINK, END_THINK)
    added_ids = frozenset({BEGIN, END, THINK, END_THINK})

    def __init__(self, add_bos: bool = False) -> None:
        self.add_bos = add_bos

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        return bytes(id for id in ids if id < 256).decode("utf-8", "replace")

    def token_bytes(self, id: int) -> bytes:
        return bytes([id]) if id < 256 else b""

    def stream_decoder(self, skip_special: bool = False) -> ByteDecoder:
        return ByteDecoder()


@dataclass(frozen=True)
class Rendered:
    token_ids: tuple[int, ...]
    inside_thinking: bool


class ByteTemplate:
    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        enable_thinking: bool | None = None,
        add_generation_prompt: bool = True,
    ) -> Rendered:
        ids: list[int] = []
        for message in messages:
            if message["role"] not in ("system", "user", "assistant"):
                raise RequestError(f"message 0 has the role {message['role']!r}")
            ids += [BEGIN, *f"{message['role']}\n{message['content']}".encode(), END]
        if add_generation_prompt:
            ids += [BEGIN, *b"assistant\n"]
            if enable_thinking:
                ids += [THINK]
        return Rendered(tuple(ids), bool(enable_thinking and add_generation_prompt))


def scripted(answers: Mapping[str, Sequence[int]], *, add_bos: bool = False, **options: Any) -> Model:
    """A model with the answer `answers[key]`, then END, to a prompt that ends with a key.

    A key is the text of a user's last message, or of a raw prompt.
    """
    keys = {key: [*tokens, END] for key, tokens in answers.items()}

    def script(seen: tuple[int, ...]) -> int:
        for key, tokens in keys.items():
            said = _said(seen, key.encode())
            if said is not None and len(said) < len(tokens) and list(said) == tokens[: len(said)]:
                return tokens[len(said)]
        return END

    engine = Engine(
        ScriptedRunner(script, vocab_size=264, chunk_size=128), **{"context": 512, "sequences": 4, **options}
    )
    return Model(engine, ByteTokenizer(add_bos), ByteTemplate(), family="qwen3_5")


def _said(seen: tuple[int, ...], key: bytes) -> tuple[int, ...] | None:
    """The tokens after the last prompt that ends with `key`: a raw one, or a message followed by an answer's head."""
    head = [END, BEGIN, *b"assistant\n"]
    best = None
    for ending in ([*key], [*key, *head], [*key, *head, THINK]):
        for start in range(len(seen) - len(ending), -1, -1):
            if list(seen[start : start + len(ending)]) == ending:
                if best is None or start + len(ending) > best:
                    best = start + len(ending)
                break
    return None if best is None else seen[best:]
