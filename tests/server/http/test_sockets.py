"""Real sockets and signals: disconnects, missing bodies, clients that do not read, graceful shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import running

from shoestring.errors import RequestError
from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.http.sockets import bind
from shoestring.server.http.streaming import EventStream
from shoestring.server.limits import Limits
from shoestring.server.service import Service
from shoestring.testing import Reply, scripted_model

LONG = {"messages": [{"role": "user", "content": "long"}], "stream": True}


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def request(body: bytes, length: int | None = None) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["prompt", "answer"])
def test_a_disconnected_client_frees_its_slot(stream: bool, phase: str) -> None:
    """The script would run for ever; only the cancellation ends it."""
    model = scripted_model({"long": Reply("x" * 5000)}, context=16384)
    service = Service(model)
    text = "p" * 12000 if phase == "prompt" else "long"
    body = json.dumps({"messages": [{"role": "user", "content": text}], "stream": stream}).encode()
    with running(create_app(service)) as url:
        with connected(url) as connection:
            connection.sendall(request(body))
            if phase == "prompt":
                until(lambda: model.engine.runner.rows > 0)  # type: ignore[attr-defined]
            else:
                until(lambda: any(ticket.latest for ticket in list(service._open)))
        until(lambda: not service.busy and model.engine.idle)
        assert model.engine.runner.rows < (5000 if phase == "answer" else 12000)  # type: ignore[attr-defined]
        answer = httpx.post(f"{url}/v1/chat/completions", json={"messages": [{"role": "user", "content": "a"}]})
        assert answer.json()["choices"][0]["message"]["content"] == "You said: a"


def test_a_missing_body_times_out() -> None:
    settings = Settings(body_timeout=0.2)
    with running(create_app(Service(scripted_model()), settings)) as url, connected(url) as connection:
        connection.sendall(request(b'{"messages": ', 100))
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("blocked", range(4))
def test_a_client_that_does_not_read_is_disconnected(blocked: int) -> None:
    """Any write that blocks closes the source of the response."""
    closed: list[str] = []

    class Source:
        async def aclose(self) -> None:
            closed.append("source")

    async def chunks() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: x\n\n"
        finally:
            closed.append("chunks")

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def scene() -> int:
        sent = 0

        async def send(message: Any) -> None:
            nonlocal sent
            if sent == blocked:
                await asyncio.Event().wait()
            sent += 1

        response = EventStream(chunks(), source=Source(), limits=Limits(write_seconds=0.05))
        await asyncio.wait_for(response({"type": "http", "path": "/"}, receive, send), 10)
        return sent

    assert asyncio.run(scene()) == blocked
    assert closed[-1] == "source"
    assert ("chunks" in closed) == (blocked > 0)


def test_a_quiet_stream_sends_keep_alives() -> None:
    limits = Limits(keep_alive_seconds=0.05)
    model = scripted_model(context=4096)
    runner: Any = model.engine.runner
    real, go = runner.forward, threading.Event()

    def held(*arguments: Any) -> Any:
        go.wait(20)
        return real(*arguments)

    runner.forward = held
    with (
        running(create_app(Service(model, limits=limits))) as url,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=LONG, timeout=30) as response,
    ):
        lines = response.iter_lines()
        seen = [next(lines) for _ in range(4)]
        assert seen.count(": keep-alive") == 2
        go.set()
        assert list(lines)[-2] == "data: [DONE]"


def test_a_used_address_is_an_error() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(RequestError, match="--port"):
        bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(RequestError, match="--host"):
        bind("no such host", 80)


# --- a process, and its signals


@contextmanager
def process(seconds: float, *stuck: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    script = Path(__file__).parents[1] / "serve_scripted.py"
    command = [sys.executable, str(script), str(seconds), *stuck]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            until(lambda: _healthy(url))
            yield server, url
        finally:
            server.kill()


def _healthy(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/health").status_code == 200
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_answers_finish_and_refuses_new_ones(number: signal.Signals) -> None:
    with (
        process(20) as (server, url),
        httpx.stream("POST", f"{url}/v1/chat/completions", json=LONG, timeout=30) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        server.send_signal(number)
        until(lambda: httpx.get(f"{url}/health").status_code == 503)
        assert httpx.post(f"{url}/v1/chat/completions", json=LONG).status_code == 503
        rest = list(lines)
        assert "data: [DONE]" in rest
        assert server.wait(20) == 0
        out, log = server.communicate()
        assert out.strip() == "ended"
        assert re.search(r"200  prompt \d+ .*  stop  ", log)
        assert "failed: the server is shutting down" in log
        assert "Traceback" not in log


@pytest.mark.parametrize("twice", [False, True])
def test_answers_that_do_not_finish_in_time_end_with_an_error(twice: bool) -> None:
    """A second signal has the same effect at once."""
    with (
        process(20 if twice else 0.3) as (server, url),
        httpx.stream("POST", f"{url}/v1/chat/completions", json=LONG, timeout=30) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        server.send_signal(signal.SIGTERM)
        if twice:
            until(lambda: httpx.get(f"{url}/health").status_code == 503)
            server.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line.startswith("data:")]
        assert "shutting down" in rest[-1]
        assert server.wait(10) == 0


def test_bodies_that_are_still_arriving_at_the_end_get_an_error_and_no_traceback() -> None:
    with process(0.2) as (server, url), connected(url) as silent, connected(url) as late:
        whole = request(b'{"messages": []}')
        for connection in (silent, late):
            connection.sendall(whole[:-5])
        until(lambda: httpx.get(f"{url}/health").status_code == 200)
        server.send_signal(signal.SIGTERM)
        for connection in (silent, late):
            answer = connection.recv(4096).lower()
            assert answer.startswith(b"http/1.1 503 ")
            assert b"retry-after: " in answer
        assert server.wait(20) == 0
        log = server.communicate()[1]
        assert "Traceback" not in log
        assert log.count("failed: the server is shutting down") == 2


@pytest.mark.parametrize("stuck", ["thread", "lock"])
def test_the_process_ends_although_a_thread_does_not(stuck: str) -> None:
    """A worker that waits for ever; a thread that takes the interpreter lock after the signal."""
    with process(0.2, stuck) as (server, url), connected(url) as connection:
        connection.sendall(request(json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()))
        until(lambda: httpx.get(f"{url}/health").json()["waiting"] == 1)
        server.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert server.wait(30) == (0 if stuck == "thread" else 1)
        assert time.monotonic() - began < 20  # 7 s on an idle machine


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """The pipe of standard error is full after some hundred lines."""
    with process(5) as (server, url), httpx.Client(base_url=url, timeout=30) as client:
        for _ in range(1500):
            assert client.post("/v1/chat/completions", content=b"{}" + b" " * 300).status_code == 400
        assert client.get("/health").status_code == 200
        server.send_signal(signal.SIGTERM)
        server.wait(30)
