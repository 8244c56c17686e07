"""What `serve --on URL` adds to a request: one client, at a server and through the front door before it, in turn.

    python bench/front_door.py [--ray] [--rounds 5] [--requests 40]

The server is the scripted model. For the time of a request its steps take no time, for tokens/s each takes 40 ms, which
is 25 tokens/s. Prints medians, and exits with 1 if a request takes 5 ms longer, or tokens/s are 3 % lower.

--ray: instead, one process beside `serve --on ray` with one replica on this machine; the time of a request, no limit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

#: The most that a request may take longer, and the part of tokens/s that may be lost.
MOST_SECONDS, MOST_SHARE = 0.005, 0.03
STEP_SECONDS = 0.04

UPSTREAM = """
import sys, time
from shoestring.server.http.run import serve
from shoestring.server.http.settings import Settings
from shoestring.server.http.sockets import address_of, bind
from shoestring.server.service import Service
from shoestring.testing import Reply, scripted_model

model, seconds = scripted_model({"long": Reply("x" * 400)}, context=4096), float(sys.argv[1])
runner, forward = model.engine.runner, model.engine.runner.forward
if seconds:
    runner.forward = lambda *arguments: (time.sleep(seconds), forward(*arguments))[1]
with bind("127.0.0.1", 0) as listening:
    print(address_of(listening), flush=True)
    serve(Service(model), Settings(), listening)
"""


@contextmanager
def upstream(step_seconds: float) -> Iterator[str]:
    """The address of a server with a scripted model whose steps take so long."""
    command = [sys.executable, "-c", UPSTREAM, str(step_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def served(*options: str) -> Iterator[str]:
    """The address of `serve` with these options."""
    command = [sys.executable, "-m", "shoestring", "serve", *options, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if line.split()[:1] == ["open"]:
                    yield line.split()[1]
                    break
            else:
                raise SystemExit("the front door did not start")
        finally:
            process.terminate()


def ask(client: httpx.Client, url: str, tokens: int) -> tuple[float, float]:
    """Seconds of a streamed request, and its tokens/s after the first."""
    body = {"messages": [{"role": "user", "content": "long"}], "stream": True, "max_tokens": tokens, "temperature": 0}
    body["chat_template_kwargs"] = {"enable_thinking": False}
    began, times = time.perf_counter(), []
    with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                times.append(time.perf_counter())
    rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
    return time.perf_counter() - began, rate


def measured(step_seconds: float, tokens: int, requests: int, rounds: int) -> tuple[list[float], list[float]]:
    """Medians of seconds and of tokens/s: [at the server, through the front door]."""
    with upstream(step_seconds) as url, served("--on", url) as door:
        return medians((url, door), tokens, requests, rounds)


def medians(places: Sequence[str], tokens: int, requests: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds and tokens/s at each place, which are asked in turn, request by request: the machine's speed drifts."""
    seconds: list[list[float]] = [[] for _ in places]
    rates: list[list[float]] = [[] for _ in places]
    with httpx.Client(timeout=60, trust_env=False) as client:
        for place in places:
            ask(client, place, tokens)
        for _ in range(rounds * requests):
            for side, place in enumerate(places):
                spent, rate = ask(client, place, tokens)
                seconds[side].append(spent)
                rates[side].append(rate)
    return [statistics.median(side) for side in seconds], [statistics.median(side) for side in rates]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40, help="requests of a round")
    parser.add_argument("--ray", action="store_true", help="measure --on ray; needs Ray")
    arguments = parser.parse_args()
    if arguments.ray:
        with served("demo-scripted") as url, served("demo-scripted", "--on", "ray") as door:
            (direct, through), _ = medians((url, door), 4, arguments.requests, arguments.rounds)
        print(f"a request of 4 tokens: {1e3 * direct:.2f} ms in one process, {1e3 * through:.2f} ms through Ray")
        return
    (direct, through), _ = measured(0.0, 4, arguments.requests, arguments.rounds)
    added = through - direct
    print(f"a request of 4 tokens: {1e3 * direct:.2f} ms at the server, {1e3 * through:.2f} ms through the front door")
    _, (alone, passed) = measured(STEP_SECONDS, 64, 1, arguments.rounds)
    lost = 1 - passed / alone
    print(f"tokens/s: {alone:.2f} at the server, {passed:.2f} through the front door")
    print(f"added: {1e3 * added:.2f} ms a request, {100 * lost:.2f} % of tokens/s")
    sys.exit(int(added > MOST_SECONDS or lost > MOST_SHARE))


if __name__ == "__main__":
    main()
