"""A client that sends all of its body first still reads a response that came before the end of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from running import running

from shoestring.server.http.app import create_app
from shoestring.server.http.bodies import linger
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import scripted_model

LARGE = 8 << 20


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    settings = Settings(api_keys=("k",), max_body=5000)
    with running(create_app(Service(scripted_model()), settings)) as url:
        yield url


def answer(url: str, head: str, body: bytes, *, ends: bool = True) -> bytes:
    """All that the server sends, after the client has sent everything. ends: the client closes its side."""
    address = urlsplit(url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        connection.sendall(body)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_early_refusals_arrive(address: str) -> None:
    length = f"Content-Length: {LARGE}"
    for _ in range(5):
        assert answer(address, f"Authorization: Bearer k\r\n{length}", b"x" * LARGE).startswith(b"HTTP/1.1 413 ")
        assert answer(address, length, b"x" * LARGE).startswith(b"HTTP/1.1 401 ")


def test_a_client_that_waits_is_not_asked_for_its_body(address: str) -> None:
    head = f"Authorization: Bearer k\r\nContent-Length: {LARGE}\r\nExpect: 100-continue"
    assert answer(address, head, b"", ends=False).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_never_ends_is_not_read_for_long(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linger, "_SECONDS", 0.1)
    head = f"Authorization: Bearer k\r\nContent-Length: {LARGE}"
    assert answer(address, head, b"x", ends=False).startswith(b"HTTP/1.1 413 ")
