"""A soak: a mixed load with faults on a tiny random model, and thousands of connections beside it.

    python bench/soak.py [--requests 2000] [--connections 10000] [--at-once 12] [--seed 1]

Requests use three APIs, tools, schemas, several answers, seeds, several keys and conversations that continue; clients
disconnect, do not read, and send what is refused. Checks that no request failed because of the server, that gauges of
running and waiting requests and used pages return to zero while clients that do not read are still connected, that
memory grew by less than a leak would take compared with a first such load, that the log has no traceback, and that
every completed answer equals the one that the same request gets alone, without a cache. The exit status is 1 if a
check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import soak_answers
from servers import Server, shoestring
from soak_connections import waves
from soak_requests import KEYS, MOST_BODY, Ask, asks
from tiny_files import tiny_llama, tiny_qwen

CONTEXT = 1024
OPTIONS = (
    *("--context", str(CONTEXT), "--threads", "2", "--max-body", str(MOST_BODY), "--write-timeout", "2"),
    *(part for key in KEYS for part in ("--api-key", key)),
)
#: Smaller than what the load would store, so that entries are evicted.
CACHE = ("--cache-memory", "16MB")
#: Bytes that memory may grow by after a first load, for each request and connection: what a leak takes. The allocator
#: reaches its level only after some 25,000 connections, so a part of the size says nothing. STEP: of the allocator.
GROWTH, STEP = 2048, 4 << 20
TIMEOUT = httpx.Timeout(300)


@dataclass
class Outcome:
    """statuses: count of each; 0: the client left. answers: request and text of each completed answer.

    unread: open connections of clients that do not read their answers.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    answers: list[tuple[Ask, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    unread: list[socket.socket] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    complaints = []
    for model in (tiny_qwen, tiny_llama):
        with model() as file:
            complaints += check(
                file, arguments.requests, arguments.connections, at_once=arguments.at_once, seed=arguments.seed
            )
    sys.exit("\n".join(complaints) or None)


def check(file: Path, requests: int, connections: int, *, at_once: int, seed: int) -> list[str]:
    """Run the load; return one line per failed check."""
    load = asks(requests, seed)
    with shoestring(file, *OPTIONS, *CACHE, "--parallel", "4") as server:
        at_a_time = min(1000, max(1, connections // 10))
        warm = asks(max(150, requests // 4), seed + 1)
        _close(asyncio.run(_both(server, warm, connections // 4, at_a_time, at_once, seed + 1))[0])
        before = resident(server)
        outcome, refused = asyncio.run(_both(server, load, connections, at_a_time, at_once, seed))
        complaints = [*outcome.complaints, *at_rest(server)]
        _close(outcome)
        growth = resident(server) - before
        if refused:
            complaints.append(f"{refused} connections were refused")
        complaints += [f"the log has {line!r}" for line in _errors(server.log.read_text(errors="replace"))]
        if growth >= max(STEP, GROWTH * (requests + connections)):
            complaints.append(f"memory grew by {growth / 2**20:.1f} MiB, {before / 2**20:.0f} MiB before")
    alone = [replace(ask, follow_ups=()) for ask, _ in outcome.answers]
    with shoestring(file, *OPTIONS, "--cache-memory", "0", "--parallel", "1") as server:
        complaints += differing(outcome.answers, asyncio.run(play(server, alone, 1)).answers)
    statuses = ", ".join(f"{count} × {status or 'left'}" for status, count in sorted(outcome.statuses.items()))
    print(
        f"{file.stem}: {requests} requests beside {connections} connections: {statuses}; "
        f"{len(outcome.answers)} answers compared; memory {growth / 2**20:+.1f} MiB of {before / 2**20:.0f}"
    )
    return complaints


def differing(load: Sequence[tuple[Ask, str]], alone: Sequence[tuple[Ask, str]]) -> list[str]:
    """The answers that the same request does not get alone."""
    single = {(ask.path, ask.body): text for ask, text in alone}
    return [
        f"{ask.path} {ask.body[:300]!r}: {text!r} in the load, {single.get((ask.path, ask.body))!r} alone"
        for ask, text in load
        if text != single.get((ask.path, ask.body))
    ]


def _errors(log: str) -> list[str]:
    """The last lines of tracebacks, each once."""
    return sorted(set(re.findall(r"^Traceback .*\n(?: .*\n)*(.*)", log, re.M)))


def _close(outcome: Outcome) -> None:
    for connection in outcome.unread:
        connection.close()


async def _both(
    server: Server, load: Sequence[Ask], connections: int, at_a_time: int, at_once: int, seed: int
) -> tuple[Outcome, int]:
    """The load's outcome, and the number of refused connections; `at_a_time` of these are opened in a wave."""
    outcome, refused = await asyncio.gather(
        play(server, load, at_once), waves(server.url, connections, at_a_time, seed)
    )
    return outcome, refused


async def play(server: Server, load: Sequence[Ask], at_once: int) -> Outcome:
    """Send all requests in order, `at_once` at a time; conversations continue with what was answered."""
    outcome = Outcome()
    waiting = iter(load)

    async def client() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT) as http:
            for first in waiting:
                ask: Ask | None = first
                while ask is not None:
                    ask = await _turn(server, http, ask, outcome)

    await asyncio.gather(*(client() for _ in range(at_once)))
    return outcome


async def _turn(server: Server, http: httpx.AsyncClient, ask: Ask, outcome: Outcome) -> Ask | None:
    """Send one request and note what came of it; the next turn of its conversation, if there is one."""
    if ask.fault == "reads nothing":
        outcome.unread.append(await _ask_unread(server, ask))
        return None
    try:
        status, answer = await send(http, ask)
    except httpx.HTTPError as error:
        # The server may refuse a large body while it is still being sent.
        status, answer = (413 if ask.fault == "refused" else 599), repr(error)
    outcome.statuses[status] += 1
    if ask.fault == "leaves":
        return None
    if status >= 500 or (status < 400) == (ask.fault == "refused"):
        outcome.complaints.append(f"{status} {str(answer)[:300]} for {ask.method} {ask.path} {ask.body[:200]!r}")
    elif status == 200:
        text = soak_answers.pieces(answer) if isinstance(answer, list) else soak_answers.whole(answer)
        outcome.answers.append((replace(ask, follow_ups=()), text))
        if ask.follow_ups:
            return ask.continued(soak_answers.content(answer))
    return None


async def send(http: httpx.AsyncClient, ask: Ask) -> tuple[int, Any]:
    """Send a request; its status and answer: an object, the pieces of a stream, or text. 0: the client left."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {ask.key}"}
    async with http.stream(ask.method, ask.path, content=ask.body, headers=headers) as response:
        kind = response.headers.get("content-type", "")
        if response.status_code != 200:
            return response.status_code, (await response.aread()).decode(errors="replace")
        if "event-stream" not in kind and "ndjson" not in kind:
            return 200, json.loads(await response.aread())
        chunks: list[dict[str, Any]] = []
        async for line in response.aiter_lines():
            if ask.fault == "leaves" and len(chunks) >= ask.leaves:
                return 0, None
            data = line.removeprefix("data: ")
            if data.startswith("{"):
                chunks.append(json.loads(data))
                if "error" in chunks[-1]:
                    return 599, str(chunks[-1])
        return 200, chunks


async def _ask_unread(server: Server, ask: Ask) -> socket.socket:
    """Ask for much, and read nothing. The connection stays open: the server has to end the request by itself."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    start = (
        f"{ask.method} {ask.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ask.key}\r\n"
        f"Content-Length: {len(ask.body)}\r\n\r\n"
    )
    await loop.sock_connect(connection, ("127.0.0.1", int(server.url.rpartition(":")[2])))
    await loop.sock_sendall(connection, start.encode() + ask.body)
    return connection


def at_rest(server: Server) -> list[str]:
    """Gauges that are not zero 15 seconds after the last request."""
    names = r'^(shoestring_requests_(?:running|waiting)|shoestring_\w+\{state="used"\}) (\S+)$'
    until = time.monotonic() + 15
    while True:
        headers = {"authorization": f"Bearer {KEYS[0]}"}
        text = httpx.get(f"{server.url}/metrics", timeout=30, headers=headers).text
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
