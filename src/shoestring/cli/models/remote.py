"""What `chat` and `bench` do with --url: another server is talked to, or measured from outside."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from shoestring.cli import options
from shoestring.cli.models.chat import PLAIN, Conversation, interrupts
from shoestring.cli.progress import Progress
from shoestring.client import Client, End, Piece
from shoestring.errors import RequestError

#: Words of a prompt to measure with; most tokenizers make one token of each.
_WORDS = ("time", "year", "people", "way", "day", "man", "thing", "life", "child", "world", "school", "hand")
#: Fields of a request that our options are called the same in; the others are ours alone.
_FIELDS = ("max_tokens", *options.SAMPLING)


@contextmanager
def open_client(url: str, api_key_env: str | None, model: str | None) -> Iterator[tuple[Client, str]]:
    """A client, and the name of the model there: the one that was named, else the first that is served."""
    client = Client(url, options.api_key(api_key_env))
    try:
        served = [model] if model is not None else client.models()
        if not served:
            raise RequestError(f"{client.url} serves no model")
        yield client, served[0]
    finally:
        client.close()


class RemoteConversation(Conversation):
    """The same loop, answered by a server."""

    def __init__(self, client: Client, model: str, system: str | None, wanted: dict[str, Any]) -> None:
        if wanted["stop_ids"]:
            raise RequestError("--stop-id is not known to servers: use --stop")
        super().__init__(None, system, wanted)  # type: ignore[arg-type]
        self._client = client
        self._name = model

    def _greet(self) -> None:
        typer.echo(f"{self._name} at {self._client.url}; /help lists commands.", err=True)

    def _answer(self, text: str) -> None:
        question = [*self.messages, {"role": "user", "content": text}]
        fields = {name: self._wanted[name] for name in _FIELDS if self._wanted.get(name) is not None}
        if self._wanted["stop"]:
            fields["stop"] = list(self._wanted["stop"])
        if self._wanted.get("logit_bias"):
            fields["logit_bias"] = {str(token): bias for token, bias in self._wanted["logit_bias"].items()}
        if self._wanted["thinking"] is not None:
            fields["chat_template_kwargs"] = {"enable_thinking": self._wanted["thinking"]}
        said, times, was_thinking = "", [], False
        end: End | None = None
        self._stopped = False
        with interrupts(self._stop):
            pieces = self._client.chat(self._name, question, **fields)
            for piece in pieces:
                if isinstance(piece, End):
                    end = piece
                    break
                times.append(piece.seconds)
                was_thinking = self._print(piece.text, piece.kind == "thinking", was_thinking)
                said += piece.text if piece.kind == "text" else ""
                if self._stopped:
                    break
            pieces.close()  # type: ignore[attr-defined]
        typer.echo(PLAIN if self._dim and was_thinking else "")
        self.messages = [*question, {"role": "assistant", "content": said.strip()}]
        typer.echo(f"[{'stopped; ' if self._stopped else ''}{_line(times, end)}]", err=True)


def _line(times: list[float], end: End | None) -> str:
    facts = [f"first token after {times[0]:.2f} s"] if times else ["no text"]
    if end is not None and end.prompt_tokens is not None:
        facts.insert(0, f"{end.prompt_tokens} prompt tokens")
    if end is not None and end.completion_tokens is not None:
        facts.append(f"{end.completion_tokens} tokens")
        if len(times) > 1 and times[-1] > times[0]:
            facts.append(f"{(end.completion_tokens - 1) / (times[-1] - times[0]):.1f} tokens/s")
    return ", ".join(facts)


def measured(client: Client, model: str, prompt: int, generate: int, repetitions: int) -> dict[str, Any]:
    """Time to first token, prompt and decode tokens/s, as a client sees them. The first repetition is not counted.

    Prompts differ from their first word on, so that no cache helps. Counts of tokens are the server's.
    """
    firsts: list[float] = []
    prefills: list[float] = []
    decodes: list[float] = []
    began = time.time_ns()
    with Progress(f"measuring {client.url}", "repetitions") as progress:
        for repetition in range(repetitions + 1):
            words = [_WORDS[(began + repetition * 7 + i * i) % len(_WORDS)] for i in range(max(1, prompt))]
            question = [{"role": "user", "content": f"{began + repetition} {' '.join(words)}"}]
            times, end = _timed(client, model, question, generate)
            first, last = times[0], times[-1]
            firsts.append(first)
            if end.prompt_tokens:
                prefills.append(end.prompt_tokens / first)
            if end.completion_tokens and end.completion_tokens > 1 and last > first:
                decodes.append((end.completion_tokens - 1) / (last - first))
            progress(repetition + 1, repetitions + 1)
    facts: dict[str, Any] = {"url": client.url, "model": model, "repetitions": repetitions}
    samples = {
        "first_token_seconds": firsts[1:],
        "prefill_tokens_per_second": prefills[1:],
        "decode_tokens_per_second": decodes[1:],
    }
    facts |= {name: statistics.median(values) if values else None for name, values in samples.items()}
    return {**facts, "samples": samples, "prompt_tokens": end.prompt_tokens}


def _timed(client: Client, model: str, question: list[dict[str, str]], generate: int) -> tuple[list[float], End]:
    times: list[float] = []
    for piece in client.chat(model, question, max_tokens=generate, temperature=0):
        if isinstance(piece, Piece):
            times.append(piece.seconds)
        else:
            if not times:
                raise RequestError(f"{client.url} answered with no text: nothing can be measured")
            return times, piece
    raise RequestError(f"{client.url} ended its answer without an end")


def report(facts: dict[str, Any]) -> None:
    """The same lines as for a model here."""
    typer.echo(
        f"{facts['url']} {facts['model']}, {facts['repetitions']} repetitions, {facts['prompt_tokens']} prompt tokens"
    )
    for name, field, unit in (
        ("first", "first_token_seconds", "s to the first token"),
        ("prefill", "prefill_tokens_per_second", "tokens/s"),
        ("decode", "decode_tokens_per_second", "tokens/s"),
    ):
        samples = facts["samples"][field]
        shown = f"{facts[field]:10.2f} {unit}  ({min(samples):.2f} … {max(samples):.2f})" if samples else "unknown"
        typer.echo(f"{name:8}{shown}")
