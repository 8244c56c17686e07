"""HTTPS: files that do not fit are refused before anything is loaded; clients, checks and streams work as over HTTP."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Pair, certificate, openssl

from shoestring.cli.app import run
from shoestring.errors import RequestError
from shoestring.server.http.settings import Settings
from shoestring.server.http.tls import server_context

CHAT = {"model": "demo-scripted", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return certificate(folder)


def settings(certfile: Path | None, keyfile: Path | None) -> Settings:
    first, second = (None if path is None else str(path) for path in (certfile, keyfile))
    return Settings(ssl_certfile=first, ssl_keyfile=second)


def test_a_pair_and_one_file_with_both(pair: Pair, folder: Path) -> None:
    assert server_context(Settings()) is None
    both = folder / "both.pem"
    both.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    for files in ((pair.certificate, pair.key), (both, None)):
        context = server_context(settings(*files))
        assert context is not None
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_files_that_do_not_fit_are_refused(pair: Pair, folder: Path) -> None:
    other = certificate(folder, "other")
    encrypted, damaged, text, pipe = (folder / name for name in ("encrypted.key", "damaged.crt", "text", "pipe"))
    openssl("pkey", "-in", str(pair.key), "-aes256", "-passout", "pass:secret", "-out", str(encrypted))
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    text.write_text("hello\n")
    os.mkfifo(pipe)
    unreadable = folder / "none.crt"
    cases: list[tuple[Path | None, Path | None, str]] = [
        (None, pair.key, "--ssl-keyfile needs --ssl-certfile"),
        (pair.certificate, None, "--ssl-certfile .* has no PEM private key: give its file as --ssl-keyfile"),
        (pair.certificate, other.key, "--ssl-keyfile .*other.key is not the key of --ssl-certfile .*server.crt"),
        (pair.certificate, encrypted, "--ssl-keyfile .* is encrypted"),
        (pair.certificate, text, "--ssl-keyfile .* has no PEM private key$"),
        (pair.certificate, folder, "--ssl-keyfile: .* is a folder"),
        (pair.certificate, pipe, "--ssl-keyfile: .* is a pipe"),
        (pair.certificate, unreadable, "--ssl-keyfile: .* does not exist"),
        (pair.key, pair.key, "--ssl-certfile .* has no PEM certificate"),
        (damaged, pair.key, "--ssl-certfile .* cannot be used"),
        (unreadable, pair.key, "--ssl-certfile: .* does not exist"),
    ]
    for certfile, keyfile, message in cases:
        with pytest.raises(RequestError, match=f"^{message}"):
            server_context(settings(certfile, keyfile))


def test_serve_and_doctor_refuse_in_one_line(pair: Pair, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = certificate(folder, "third")
    options = ["demo-scripted", "--port", "0", "--ssl-certfile", str(pair.certificate), "--ssl-keyfile"]
    assert run(["serve", *options, str(other.key)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: --ssl-keyfile")
    assert run(["doctor", *options, str(other.key)]) == 1
    assert "MISSING  tls" in capsys.readouterr().out
    assert run(["doctor", *options, str(pair.key)]) == 0
    assert "ok       tls" in capsys.readouterr().out


@dataclass(frozen=True)
class Served:
    url: str
    banner: str
    trust: ssl.SSLContext
    port: int
    process: int


@pytest.fixture(scope="module")
def served(pair: Pair) -> Iterator[Served]:
    """A process that serves the scripted model over HTTPS."""
    command = [sys.executable, "-m", "shoestring", "serve", "demo-scripted", "--port", "0"]
    command += ["--ssl-certfile", str(pair.certificate), "--ssl-keyfile", str(pair.key)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            lines = [server.stderr.readline()]
            while " open " not in lines[-1]:
                assert lines[-1], lines
                lines.append(server.stderr.readline())
            url = lines[-1].split()[1]
            trust = ssl.create_default_context(cafile=str(pair.certificate))
            yield Served(url, "".join(lines), trust, int(url.rsplit(":", 1)[1]), server.pid)
            server.terminate()
            assert server.wait(30) == 0
        finally:
            server.kill()


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, verify=served.trust, timeout=60) as client:
        end = time.monotonic() + 30
        while True:
            try:
                client.get("/health")
                break
            except httpx.TransportError:
                assert time.monotonic() < end
        yield client


def test_the_address_says_https(served: Served) -> None:
    assert served.url.startswith("https://127.0.0.1:")
    assert f"(API: {served.url}/v1)" in served.banner
    assert "no key, encrypted" in served.banner


def test_answers_and_streams(client: httpx.Client) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT).json()
    with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        events = [line for line in response.iter_lines() if line.startswith("data: {")]
    pieces = [choice["delta"] for event in events for choice in json.loads(event[6:])["choices"]]
    text = "".join(piece.get("content") or "" for piece in pieces)
    assert text == answer["choices"][0]["message"]["content"] != ""


def test_hosts_and_origins_are_checked(client: httpx.Client) -> None:
    for headers, status in (
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "evil.org"}, 403),
        ({"Origin": "https://localhost:9"}, 200),
        ({"Origin": "https://evil.org"}, 403),
    ):
        assert client.get("/v1/models", headers=headers).status_code == status, headers


def test_connections_without_a_handshake_stop_nobody(client: httpx.Client, served: Served) -> None:
    """Silent ones, ones that speak plain HTTP, and ones that send noise."""
    opened = []
    try:
        for data in (b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(100)):
            connection = socket.create_connection(("127.0.0.1", served.port), timeout=30)
            opened.append(connection)
            connection.sendall(data)
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert opened[1].recv(100)[:4] != b"HTTP"
    finally:
        for connection in opened:
            connection.close()
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{served.url}/health", timeout=30)


def test_thousands_of_connections_without_a_handshake_take_little_memory(client: httpx.Client, served: Served) -> None:
    """The oldest ones make way. Of 64 MiB for all, asyncio alone would take 400."""

    def resident() -> int:
        status = Path(f"/proc/{served.process}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) >> 10

    assert client.get("/health").status_code == 200
    before = resident()
    opened: list[socket.socket] = []
    try:
        for _ in range(900):
            opened.append(socket.create_connection(("127.0.0.1", served.port), timeout=30))
        with httpx.Client(base_url=served.url, verify=served.trust, timeout=60) as late:
            assert late.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert opened[0].recv(1) == b""
        opened[-1].settimeout(0.1)
        with pytest.raises(TimeoutError):
            opened[-1].recv(1)
        assert resident() - before < 64
    finally:
        for connection in opened:
            connection.close()


def test_batch_trusts_the_authority_that_the_user_names(
    client: httpx.Client, served: Served, pair: Pair, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    source.write_text(json.dumps(line) + "\n")
    command = [sys.executable, "-m", "shoestring", "batch", "--url", served.url, str(source), str(target)]

    def batch(**variables: str) -> Any:
        usual = {name: value for name, value in os.environ.items() if name not in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
        return subprocess.run(command, env=usual | variables, capture_output=True, text=True, timeout=120, check=False)

    refused = batch()
    assert refused.returncode == 2
    assert "SSL_CERT_FILE" in refused.stderr
    assert batch(SSL_CERT_FILE=str(pair.certificate)).returncode == 0
    assert json.loads(target.read_text())["response"]["status_code"] == 200
