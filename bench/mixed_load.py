"""Run a mixed load on a tiny random model: valid requests of three APIs, clients that disconnect, invalid bodies.

    python bench/mixed_load.py [--requests 500] [--at-once 12] [--seed 1]

Checks that no request failed because of the server, that gauges of running and waiting requests and used pages return
to zero, that memory grew by less than 3 % compared with a first such load, and that every completed answer equals the
one that the same request gets alone from a new server. The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
from servers import CONFIG, Server, shoestring, use_whole_vocabulary

from shoestring.checkpoint.config.types import Qwen3_5Config
from shoestring.samples.synthetic import read_config, write_synthetic

CONTEXT = 512
MOST_BODY = 65536
#: The first load fills the cache; memory growth after that is a leak.
OPTIONS = ("--cache-memory", "16MB", "--context", str(CONTEXT), "--threads", "2", "--max-body", str(MOST_BODY))
GROWTH = 0.03
TIMEOUT = httpx.Timeout(300)
OPENINGS = [f"You are helper {n}. " + "Say what you know about rivers, stones and lamps. " * 3 for n in range(3)]
WRONG: list[tuple[str, str, bytes]] = [
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "hi"'),
    ("POST", "/v1/chat/completions", b'{"messages": []}'),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "hi"}], "temperature": "hot"}'),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "hi"}], "functions": []}'),
    ("POST", "/v1/chat/completions", b"\xff\xfe\x00"),
    ("POST", "/v1/completions", b'{"prompt": [99999999]}'),
    ("POST", "/v1/completions", b'{"prompt": {"a": 1}}'),
    ("POST", "/v1/messages", b"[]"),
    ("POST", "/v1/messages", b'{"model": "x", "max_tokens": -1, "messages": [{"role": "user", "content": "hi"}]}'),
    ("POST", "/api/chat", b'{"model": "nobody", "messages": [{"role": "user", "content": "hi"}]}'),
    ("GET", "/v1/messages", b""),
    ("DELETE", "/nothing/here", b""),
]


@dataclass(frozen=True)
class Ask:
    """One request. leaves: the client disconnects after this many pieces of its stream; wrong: expect a refusal."""

    method: str
    path: str
    body: bytes
    streamed: bool = False
    leaves: int | None = None
    wrong: bool = False


@dataclass
class Outcome:
    """statuses: count of each; answers: of valid requests that were read to their end, by index."""

    statuses: Counter[int]
    answers: dict[int, Any]
    complaints: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tiny_model() as file:
        complaints = check(file, arguments.requests, arguments.at_once, arguments.seed)
    sys.exit("\n".join(complaints) or None)


@contextmanager
def tiny_model() -> Iterator[Path]:
    config = read_config(CONFIG)
    assert isinstance(config, Qwen3_5Config)
    small = replace(
        config, vocab_size=1024, hidden_size=256, intermediate_size=512, num_hidden_layers=4,
        layer_types=config.layer_types[:4], num_attention_heads=4, num_key_value_heads=2, head_dim=64,
        rotary=replace(config.rotary, dims=32, sections=(6, 5, 5)), linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=64, linear_value_head_dim=64, mtp_num_hidden_layers=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tiny.gguf"
        write_synthetic(small, file, "Q8_0", seed=7)
        use_whole_vocabulary(file)
        yield file


def check(file: Path, requests: int, at_once: int, seed: int) -> list[str]:
    """Run the load; return one line per failed check."""
    asks = load(requests, seed)
    with shoestring(file, *OPTIONS, "--parallel", "4") as server:
        asyncio.run(play(server, load(max(150, requests // 2), seed + 1), at_once))
        before = resident(server)
        outcome = asyncio.run(play(server, asks, at_once))
        complaints = [*outcome.complaints, *at_rest(server)]
        growth = resident(server) / before - 1
    if growth >= GROWTH:
        complaints.append(f"memory grew by {growth:.1%}, {before / 2**20:.0f} MiB before")
    with shoestring(file, *OPTIONS, "--parallel", "1") as alone:
        places = list(outcome.answers)
        single = asyncio.run(play(alone, [replace(asks[place], leaves=None) for place in places], 1)).answers
    for number, place in enumerate(places):
        if single.get(number) != outcome.answers[place]:
            complaints.append(f"request {place}: {outcome.answers[place]!r} in the load, {single.get(number)!r} alone")
    statuses = ", ".join(f"{count} × {status or 'left'}" for status, count in sorted(outcome.statuses.items()))
    print(f"{requests} requests: {statuses}; {len(places)} answers compared; memory {growth:+.2%}")
    return complaints


def load(requests: int, seed: int) -> list[Ask]:
    """Requests, the same for the same seed: seven in ten are valid; the others disconnect, are invalid or too large."""
    source = random.Random(seed)
    return [ask(source) for _ in range(requests)]


def ask(source: random.Random) -> Ask:
    kind = source.choices(("good", "leaves", "wrong", "large"), (70, 12, 10, 8))[0]
    if kind == "wrong":
        method, path, body = source.choice(WRONG)
        return Ask(method, path, body, wrong=True)
    text = source.choice(OPENINGS) + f"Question {source.randrange(40)}: " + "why? " * source.randrange(1, 12)
    if kind == "large":  # longer than the context or than the body limit
        text *= source.choice((8, 400))
    sampling = {"temperature": 0} if source.random() < 0.5 else {"temperature": 0.9, "seed": source.randrange(1000)}
    streamed = kind == "leaves" or source.random() < 0.5
    common: dict[str, Any] = {"max_tokens": source.randrange(2, 24), "stream": streamed, **sampling}
    messages = [{"role": "user", "content": text}]
    match source.choice(("chat", "completions", "messages")):
        case "chat":
            path, body = "/v1/chat/completions", {"messages": messages, **common}
        case "completions":
            path, body = "/v1/completions", {"prompt": text, **common}
        case _:
            common.pop("seed", None)
            path, body = "/v1/messages", {"model": "tiny", "messages": messages, **common, "temperature": 0}
    leaves = source.randrange(6) if kind == "leaves" else None
    return Ask("POST", path, json.dumps(body).encode(), streamed, leaves, kind == "large")


async def play(server: Server, asks: Sequence[Ask], at_once: int) -> Outcome:
    """Send all requests in order, `at_once` at a time."""
    outcome = Outcome(Counter(), {}, [])
    waiting = iter(enumerate(asks))

    async def client() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT) as http:
            for place, one in waiting:
                try:
                    status, answer = await send(http, one)
                except httpx.HTTPError as error:
                    # The server may refuse a large body while it is still being sent.
                    status, answer = (413 if one.wrong else 599), repr(error)
                outcome.statuses[status] += 1
                if one.leaves is None and (status >= 500 or (status < 400) == one.wrong):
                    outcome.complaints.append(f"request {place}: {status} {str(answer)[:200]} for {one.body[:80]!r}")
                elif status == 200 and not one.wrong and one.leaves is None:
                    outcome.answers[place] = answer

    await asyncio.gather(*(client() for _ in range(at_once)))
    return outcome


async def send(http: httpx.AsyncClient, one: Ask) -> tuple[int, Any]:
    """Send a request; return its status and answer. Status 0: the client disconnected."""
    async with http.stream(
        one.method, one.path, content=one.body, headers={"content-type": "application/json"}
    ) as response:
        if response.status_code != 200 or not one.streamed:
            text = (await response.aread()).decode(errors="replace")
            return response.status_code, answer_text(json.loads(text)) if response.status_code == 200 else text
        pieces = []
        if one.leaves == 0:
            return 0, None
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            pieces.append(json.loads(line[6:]))
            if len(pieces) == one.leaves:
                return 0, None
            if "error" in pieces[-1]:
                return 599, pieces[-1]
        return 200, "".join(streamed(piece) for piece in pieces)


def answer_text(body: dict[str, Any]) -> str:
    """The text of an answer, thinking first."""
    if "content" in body:
        return "".join(block.get("thinking", "") + block.get("text", "") for block in body["content"])
    (choice,) = body["choices"]
    message = choice.get("message", {})
    return str(choice.get("text") or (message.get("reasoning_content") or "") + (message.get("content") or ""))


def streamed(piece: dict[str, Any]) -> str:
    """The text that a piece of a stream adds."""
    if piece.get("type") == "content_block_delta":
        return str(piece["delta"].get("thinking", "") + piece["delta"].get("text", ""))
    for choice in piece.get("choices") or ():
        delta = choice.get("delta", {})
        return str(choice.get("text") or (delta.get("reasoning_content") or "") + (delta.get("content") or ""))
    return ""


def at_rest(server: Server) -> list[str]:
    """Gauges that are not zero 15 seconds after the last request."""
    names = r'^(shoestring_requests_(?:running|waiting)|shoestring_\w+\{state="used"\}) (\S+)$'
    until = time.monotonic() + 15
    while True:
        text = httpx.get(f"{server.url}/metrics", timeout=30).text
        gauges = re.findall(names, text, re.M)
        busy = [f"{name} is {value}" for name, value in gauges if float(value)]
        if len(gauges) < 3:
            return [f"/metrics tells only {gauges}"]
        if not busy or time.monotonic() > until:
            return busy
        time.sleep(0.2)


def resident(server: Server) -> int:
    return int(psutil.Process(server.pid).memory_info().rss)


if __name__ == "__main__":
    main()
