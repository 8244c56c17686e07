"""The transport of plain HTTP: any bytes are an answer or an error of httpx2, and connections are used again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.server.backends.remote.direct import Direct, reaches

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def at(server: Talk, scene: Callable[[httpx2.AsyncClient], Awaitable[Any]], **options: Any) -> Any:
    """What `scene` returns with a client of a server that talks so."""

    tasks: set[asyncio.Task[Any]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await server(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def run() -> Any:
        listening = await asyncio.start_server(talk, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/"
        try:
            async with httpx2.AsyncClient(base_url=url, transport=Direct(), **options) as client:
                return await asyncio.wait_for(scene(client), 20)
        finally:
            listening.close()
            if tasks:
                await asyncio.wait(tasks, timeout=5)

    return asyncio.run(run())


def saying(*answers: bytes, seen: list[bytes] | None = None, then: str = "wait") -> Talk:
    """Say one answer to each request of a connection, byte by byte where it is short; then close, or wait."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line.lower()), 0
            )
            body = await reader.readexactly(length)
            if seen is not None:
                seen.append(head + body)
            for i in range(0, len(answer), 1 if len(answer) < 200 else 1000):
                writer.write(answer[i : i + (1 if len(answer) < 200 else 1000)])
                await writer.drain()
                if len(answer) < 200:
                    await asyncio.sleep(0)
        if then == "wait":
            await reader.read()

    return talk


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nhell\r\n1\r\no\r\n0\r\nTrailer: t\r\n\r\n"
FIXED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nhello"


async def post(client: httpx2.AsyncClient, content: bytes = b"{}") -> httpx2.Response:
    return await client.post("chat", content=content, headers={"X-Y": "z"})


def test_answers_of_every_kind_are_read_and_the_connection_is_used_again() -> None:
    seen: list[bytes] = []

    async def scene(client: httpx2.AsyncClient) -> list[str]:
        return [(await post(client)).text for _ in range(3)]

    assert at(saying(CHUNKED, FIXED, CHUNKED, seen=seen), scene) == ["hello"] * 3
    assert len(seen) == 3  # of one connection
    assert seen[0].startswith(b"POST /v1/chat HTTP/1.1\r\n")
    assert b"X-Y: z\r\n" in seen[0]
    assert seen[0].endswith(b"\r\n\r\n{}")


def test_an_answer_up_to_the_connections_end_and_large_ones() -> None:
    whole = b"x" * 1_000_000

    async def scene(client: httpx2.AsyncClient) -> list[int]:
        return [len((await post(client, whole)).content) for _ in range(2)]

    until_the_end = saying(b"HTTP/1.1 200 OK\r\n\r\n" + whole, then="close")
    assert at(until_the_end, scene) == [1_000_000] * 2
    chunk = b"%x\r\n%s\r\n" % (len(whole), whole)
    in_chunks = saying(*[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"] * 2)
    assert at(in_chunks, scene) == [1_000_000] * 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200", httpx2.RemoteProtocolError),
        (b"SSH-2.0\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 many\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", httpx2.RemoteProtocolError),
    ],
    ids=range(7),
)
def test_what_is_no_answer_is_an_error(answer: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        at(saying(answer, then="close"), post)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    for answer in (data, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data, b"HTTP/1.1 200 " + data):
        with contextlib.suppress(httpx2.HTTPError):
            at(saying(answer, then="close"), post)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"])
def test_silence_is_a_timeout(answer: bytes) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        at(saying(answer), post, timeout=httpx2.Timeout(0.1))


def test_nobody_there_is_no_connection() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        await client.get("http://127.0.0.1:1/")

    with pytest.raises(httpx2.ConnectError):
        at(saying(FIXED), scene)


def test_proxies_and_tls_are_left_to_httpx2(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert reaches("http://10.0.0.9:8000/v1/")
    assert not reaches("https://10.0.0.9:8000/v1/")
    monkeypatch.setenv("http_proxy", "http://10.0.0.1:3128")
    monkeypatch.setenv("no_proxy", "10.0.0.8")
    assert not reaches("http://10.0.0.9:8000/v1/")
    assert reaches("http://10.0.0.8:8000/v1/")
    assert reaches("http://127.0.0.1:8000/v1/")
