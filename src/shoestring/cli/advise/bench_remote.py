"""`bench --url`: measure a server as its clients see it."""

from __future__ import annotations

import statistics
import time
from typing import Any

import typer

from shoestring.cli.progress import Progress
from shoestring.client import Client, End, Piece
from shoestring.errors import RequestError

#: Words for prompts; each is one token in most tokenizers.
_WORDS = ("time", "year", "people", "way", "day", "man", "thing", "life", "child", "world", "school", "hand")


def measured(client: Client, model: str, prompt: int, generate: int, repetitions: int) -> dict[str, Any]:
    """Time to first token, and prefill and decode tokens/s, as a client sees them. Discards the first repetition.

    Prompts differ from the first word on, so that no cache helps. Token counts are the server's.
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
    raise RequestError(f"{client.url} closed the stream before the answer ended")


def report(facts: dict[str, Any]) -> None:
    """Print the same lines as for a local model."""
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
