"""`shoestring run`: one prompt, one answer."""

from __future__ import annotations

import json as json_module
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import options
from shoestring.cli.find import find, load_model
from shoestring.cli.progress import Progress
from shoestring.cli.say import say
from shoestring.cli.shared import spread
from shoestring.errors import RequestError
from shoestring.files import read_input_text
from shoestring.streaming.counters import Totals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shoestring.output.pieces import Piece
    from shoestring.runtime.model import Model
    from shoestring.runtime.stream import Stream
    from shoestring.runtime.streamed.info import StreamingInfo
    from shoestring.streaming.report import Report

#: Bytes
LARGEST_PROMPT = 64 << 20

HELP = """Complete PROMPT and stream the text. With --chat, --system, --image or --video, answer it as a chat message.

Without PROMPT, or with "-", the prompt comes from stdin. Speed and token counts go to stderr."""


@spread
def run(
    model: options.ModelName,
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT", help="Text to complete or answer.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Answer PROMPT as a user message.")] = False,
    system: options.System = None,
    *,
    shown: options.Shown,
    generation: options.Generation,
    logprobs: Annotated[
        int | None,
        typer.Option("--logprobs", metavar="N", help="With --json: report the N likeliest tokens at each position."),
    ] = None,
    loading: options.Loading,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="Compute in plain numpy float64: slow, and not bit-reproducible."),
    ] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    arguments = generation.arguments()
    if logprobs is not None:
        if not json:
            raise RequestError("--logprobs needs --json: add it")
        arguments["logprobs"] = logprobs
    text = read_prompt(prompt)
    question: dict[str, Any] = {"prompt": text}
    pictures = shown.parts()
    if chat or system is not None or pictures:
        first = [{"role": "system", "content": system}] if system is not None else []
        content = [*pictures, {"type": "text", "text": text}] if pictures else text
        question = {"messages": [*first, {"role": "user", "content": content}]}
    if reference:
        if pictures:
            raise RequestError("--reference reads no pictures: leave --image and --video out")
        from shoestring.cli.models.reference import answer_by_reference

        for name, value in (
            ("--experts-per-token", loading.experts_per_token),
            ("--record-routes", loading.record_routes),
        ):
            if value is not None:
                raise RequestError(f"{name} cannot be combined with --reference: leave one out")
        answer_by_reference(find(model), question, arguments, json=json)
        return
    began = time.perf_counter()
    loaded = load_model(model, loading=loading)
    start = time.perf_counter()
    stream = loaded.generate(**question, **arguments)
    result = Result(stream.usage.prompt_tokens, start, loaded.streaming)
    for piece in encoding_shown(stream):
        result.add(piece)
        if not json:
            say(piece.text, nl=False)
            sys.stdout.flush()
    if json:
        facts = {"model": model, **identity(loaded), **result.as_json(), "load_seconds": round(start - began, 3)}
        say(json_module.dumps(facts))
        return
    say()
    say(f"[{result.line()}; loaded in {start - began:.1f} s]", err=True)
    if result.experts_line is not None:
        say(f"[{result.experts_line}]", err=True)


def encoding_shown(stream: Stream) -> Iterator[Piece]:
    """The pieces of an answer, with a progress bar while its pictures are encoded."""
    with Progress("reading the pictures", "rows") as progress:
        first = stream.first(progress)
    if first is not None:
        yield first
        yield from stream


def identity(model: Model) -> dict[str, str]:
    """What JSON names beside the model, because the answers depend on it: KV type, and a changed number of experts."""
    changed = {} if model.changed_experts is None else {"changed_experts": model.changed_experts}
    return {"kv_type": model.engine.kv_type, **changed}


def read_prompt(prompt: str | None) -> str:
    """PROMPT, or the text on stdin. Raises RequestError."""
    if prompt is not None and prompt != "-":
        return prompt
    if sys.stdin is None or sys.stdin.isatty():
        raise RequestError("there is no prompt: give it after MODEL or on stdin")
    text = read_input_text(Path("-"), LARGEST_PROMPT)
    if not text:
        raise RequestError("stdin is empty: send a prompt")
    return text


class Result:
    """An answer with its times: `first` and `last` are the times of the first and last piece.

    streaming: of a model whose experts stream: its counts are taken at the same times.
    """

    def __init__(self, prompt_tokens: int, start: float, streaming: StreamingInfo | None = None) -> None:
        self.prompt_tokens = prompt_tokens
        self.start = start
        self.first: float | None = None
        self.last = start
        self.pieces: list[Piece] = []
        self._streaming = streaming
        self._first_totals = self._last_totals = Totals()

    def add(self, piece: Piece) -> None:
        self.last = time.perf_counter()
        if self._streaming is not None:
            self._last_totals = self._streaming.totals
        if self.first is None:
            self.first = self.last
            self._first_totals = self._last_totals
        self.pieces.append(piece)

    @property
    def tokens(self) -> int:
        return sum(len(piece.tokens) for piece in self.pieces)

    @property
    def decode_rate(self) -> float | None:
        """Tokens per second after the first one; None for an answer of one token."""
        if self.first is None or self.tokens < 2 or self.last <= self.first:
            return None
        return (self.tokens - 1) / (self.last - self.first)

    @property
    def experts(self) -> Report | None:
        """What streaming did after the first token; None for a model in memory and an answer of one token."""
        if self._streaming is None or self.first is None or not self.decode_rate:
            return None
        done = self._last_totals - self._first_totals
        return self._streaming.report(done, self.tokens - 1, self.last - self.first)

    @property
    def experts_line(self) -> str | None:
        """`experts` in one line."""
        if self.experts is None:
            return None
        from shoestring.streaming.report import sentence

        return sentence(self.experts)

    @property
    def text(self) -> str:
        """The answer without its thinking."""
        return "".join(piece.text for piece in self.pieces if not piece.thinking)

    def line(self) -> str:
        """One line with counts and speed."""
        first = (self.first or self.last) - self.start
        rate = f", {self.decode_rate:.1f} tokens/s" if self.decode_rate else ""
        return f"{self.prompt_tokens} prompt tokens, first token after {first:.2f} s, {self.tokens} tokens{rate}"

    def as_json(self) -> dict[str, Any]:
        tokens = [token for piece in self.pieces for token in piece.tokens]
        facts: dict[str, Any] = {
            "text": self.text,
            "thinking": "".join(piece.text for piece in self.pieces if piece.thinking),
            "finish_reason": next((p.finish_reason for p in reversed(self.pieces) if p.finish_reason), None),
            "ended_inside_thinking": any(piece.ended_inside_thinking for piece in self.pieces),
            "tokens": [token.id for token in tokens],
            "prompt_tokens": self.prompt_tokens,
            "first_token_seconds": round((self.first or self.last) - self.start, 4),
            "decode_tokens_per_second": self.decode_rate,
        }
        if self.experts is not None:
            facts["streaming"] = asdict(self.experts)
        if any(token.logprob is not None for token in tokens):
            facts["logprobs"] = [
                {"id": token.id, "logprob": token.logprob, "top": [list(pair) for pair in token.top]}
                for token in tokens
            ]
        return facts
