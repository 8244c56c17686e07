"""Measure the cost of a second turn: an 8k-token history, cold, then its next turn, then that turn edited.

    python bench/second_turn.py [--tokens 8192] [--rounds 3] [--threads 2] [--file FILE] [--json FILE]

The file has Qwen3.5-0.8B's shape in Q8_0 and random weights (--file keeps it). A round sends a new history, asks again
with a reply of 16 tokens and a new message after it, then with that message edited. Reports computed prompt tokens and
seconds to the first token, medians of rounds. Each round may compute at most its new tokens and one stride; otherwise
the last line says so and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from machine import cpu, version
from servers import model_file, shoestring
from serving import WORDS

#: Required: the time to first token is at least this many times shorter than cold.
TIMES_SHORTER = 20
ANSWER = 16
MESSAGE_TOKENS = 400

Message = dict[str, str]


@dataclass(frozen=True)
class Turn:
    """One request. new: tokens after the common prefix with an earlier request."""

    prompt: int
    new: int
    computed: int
    first_token_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="the model; written if it is missing (default: a temporary file)")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of the history")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stride", type=int, default=default_stride(), help="tokens between two snapshots")
    parser.add_argument("--json", type=Path, help="also write all samples to this file")
    arguments = parser.parse_args()

    context = arguments.tokens + 2048
    with (
        model_file(arguments.file) as file,
        shoestring(file, "--context", str(context), "--threads", str(arguments.threads), "--parallel", "1") as server,
        httpx.Client(base_url=server.url, timeout=httpx.Timeout(3600)) as client,
    ):
        ask(client, [user("warm up")])
        rounds = [play(client, number, arguments.tokens) for number in range(arguments.rounds)]
    machine = {"cpu": cpu(), "shoestring": version(), "threads": arguments.threads, "stride": arguments.stride}
    print(table(rounds, machine))
    if arguments.json:
        failures = [{name: asdict(turn) for name, turn in turns.items()} for turns in rounds]
        arguments.json.write_text(json.dumps({"machine": machine, "rounds": failures}, indent=1))
    sys.exit(complaints(rounds, arguments.stride))


def default_stride() -> int:
    """The engine's stride, if it has one."""
    from shoestring.engine import engine

    return int(getattr(engine, "STRIDE", 512))


def play(client: httpx.Client, number: int, tokens: int) -> dict[str, Turn]:
    """Run a round: the history, its next turn, and that turn with another last message."""
    history = conversation(number, tokens)
    cold = ask(client, history)
    # Not the model's answer: random weights generate unused words, which encode to ten times as many tokens.
    reply = {"role": "assistant", "content": " ".join(WORDS)[:ANSWER]}
    following, edited = ([*history, reply, user(f"{word} of {number}: go on, please.")] for word in ("More", "Less"))
    second = ask(client, following, before=history)
    third = ask(client, edited, before=[*history, reply])
    print(f"round {number + 1}: first token after {cold.first_token_seconds:.2f} s cold, "
          f"{second.first_token_seconds:.2f} and {third.first_token_seconds:.2f} s", file=sys.stderr)  # fmt: skip
    return {"cold": cold, "second turn": second, "last message edited": third}


def conversation(number: int, tokens: int) -> list[Message]:
    """Alternating messages of about `tokens` tokens, the user's last; each round differs from the first word on."""
    source = random.Random(number)
    messages = [user(f"{source.randrange(10**9)}, round {number}.")]
    for turn in range(2 * (tokens // MESSAGE_TOKENS // 2)):
        text = ""
        while len(text) < MESSAGE_TOKENS - 8:  # nearly one token per character, plus the template's
            text += source.choice(WORDS) + " "
        messages.append({"role": "assistant" if turn % 2 == 0 else "user", "content": text})
    return messages


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def ask(client: httpx.Client, messages: Sequence[Message], before: Sequence[Message] = ()) -> Turn:
    """Send a streamed request. before: messages that an earlier request also started with."""
    known = count(client, before) if before else 0
    body = {
        "messages": messages,
        "max_tokens": ANSWER,
        "temperature": 0,
        "ignore_eos": True,
        "chat_template_kwargs": {"enable_thinking": False},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    first, usage = 0.0, {}
    began = time.perf_counter()
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            raise SystemExit(f"{response.status_code} {response.read().decode()[:300]}")
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            usage = chunk.get("usage") or usage
            answer = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            if answer and not first:
                first = time.perf_counter()
    prompt, cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
    return Turn(prompt, prompt - known, prompt - cached, (first or time.perf_counter()) - began)


def count(client: httpx.Client, messages: Sequence[Message]) -> int:
    """Count the tokens of the messages, without the start of the answer."""
    body = {"messages": messages, "add_generation_prompt": False}
    return int(client.post("/tokenize", json=body).raise_for_status().json()["count"])


def table(rounds: Sequence[dict[str, Turn]], machine: dict[str, Any]) -> str:
    """A Markdown table of medians."""
    lines = [
        f"{machine['cpu']}; shoestring {machine['shoestring']}, {machine['threads']} threads, "
        f"a stride of {machine['stride']}; medians of {len(rounds)} rounds",
        "",
        "| request | prompt tokens | new | computed | first token s | times shorter than cold |",
        "|---|---|---|---|---|---|",
    ]
    for name in rounds[0]:
        numbers = [median(rounds, name, field) for field in ("prompt", "new", "computed", "first_token_seconds")]
        shorter = median(rounds, "cold", "first_token_seconds") / numbers[3]
        lines.append("| {} | {:.0f} | {:.0f} | {:.0f} | {:.3f} | {:.1f} |".format(name, *numbers, shorter))
    return "\n".join(lines)


def median(rounds: Sequence[dict[str, Turn]], name: str, field: str) -> float:
    return statistics.median(getattr(turns[name], field) for turns in rounds)


def complaints(rounds: Sequence[dict[str, Turn]], stride: int) -> str | None:
    """A line with the failed checks; None if all pass."""
    for number, turns in enumerate(rounds):
        for name in ("second turn", "last message edited"):
            if turns[name].computed > turns[name].new + stride:
                return f"round {number + 1}, {name}: {turns[name].computed} tokens computed, {turns[name].new} are new"
    cold = median(rounds, "cold", "first_token_seconds")
    for name in ("second turn", "last message edited"):
        times = cold / median(rounds, name, "first_token_seconds")
        if times < TIMES_SHORTER:
            return f"{name}: the first token comes {times:.1f} times sooner than cold, not {TIMES_SHORTER}"
    return None


if __name__ == "__main__":
    main()
