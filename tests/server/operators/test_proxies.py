"""The examples for nginx and Caddy with the real programs: streams, disconnects, addresses, ids and large bodies."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Pair, certificate
from operator_examples import text_of

KEY = "sk-test"
LONG = {"model": "our-model", "messages": [{"role": "user", "content": "long"}], "stream": True}
SNI: Any = {"extensions": {"sni_hostname": "llm.example.org"}}
#: Another address of this machine than the proxy's, which the server trusts.
CLIENT = "127.0.0.2"


@dataclass(frozen=True)
class Behind:
    """A server behind a proxy. server: its own address. url: the proxy's. log: of the server."""

    server: str
    url: str
    log: Path
    trust: ssl.SSLContext

    def client(self, **more: Any) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=CLIENT, verify=self.trust)
        headers = {"Host": "llm.example.org", "Authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, transport=transport, timeout=30, **more)

    @property
    def running(self) -> int:
        return int(httpx.get(f"{self.server}/health", timeout=60).json()["running"])

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def until(condition: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A process with the settings of the example; its address and its log."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "keys").write_text(f"# ours\ntester {KEY}\n")
    log = folder / "serve.log"
    changes = {
        "/etc/shoestring/keys": str(folder / "keys"),
        "/var/log/shoestring/serve.log": str(log),
        "port = 8080": "port = 0",
    }
    (folder / "serve.toml").write_text(text_of("serve.toml", **changes))
    program, hold = Path(__file__).parent / "serve_slowly.py", log.with_name("hold")
    command = [sys.executable, str(program), str(folder / "serve.toml"), str(hold)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), log
        process.terminate()
        assert process.wait(60) == 0


def nginx(folder: Path, pair: Pair, port: int, upstream: str) -> list[str]:
    site = text_of(
        "nginx.conf",
        **{
            "server 127.0.0.1:8080": f"server {upstream}",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "    listen [::]:443 ssl;\n": "",
            "/etc/ssl/llm.example.org/fullchain.pem": str(pair.certificate),
            "/etc/ssl/llm.example.org/privkey.pem": str(pair.key),
        },
    )
    (folder / "site.conf").write_text(site)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    main = f"{user}daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{main}http {{\n  access_log off;\n{paths}  include {folder}/site.conf;\n}}\n")
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    subprocess.run([*command, "-t"], check=True)
    return command


def caddy(folder: Path, pair: Pair, port: int, upstream: str) -> list[str]:
    lines = f"\ttls {pair.certificate} {pair.key}\n\tbind 127.0.0.1"
    site = text_of(
        "Caddyfile",
        **{
            "llm.example.org {": f"https://llm.example.org:{port} {{\n{lines}",
            "127.0.0.1:8080": upstream,
        },
    )
    file = folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + site)
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]
    subprocess.run(["caddy", "validate", *command[2:]], check=True, capture_output=True)
    return command


PROXIES: dict[str, Callable[[Path, Pair, int, str], list[str]]] = {"nginx": nginx, "caddy": caddy}


@contextmanager
def process_of(command: list[str], port: int, folder: Path) -> Iterator[None]:
    variables = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with subprocess.Popen(command, env=variables, cwd=folder) as process:
        try:

            def listens() -> bool:
                assert process.poll() is None, "the proxy ended"
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            until(listens)
            yield
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module", params=PROXIES)
def behind(
    request: pytest.FixtureRequest, server: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    pair = certificate(folder, name="llm", host="llm.example.org")
    port, address = free_port(), server[0].removeprefix("http://")
    trust = ssl.create_default_context(cafile=str(pair.certificate))
    trust.check_hostname = False
    with process_of(PROXIES[request.param](folder, pair, port, address), port, folder):
        yield Behind(server[0], f"https://127.0.0.1:{port}", server[1], trust)


def first_piece(lines: Iterator[str]) -> str:
    text = ""
    while '"x"' not in text:
        text += next(lines)
    return text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_pieces_arrive_while_the_answer_is_written(behind: Behind, path: str) -> None:
    """The server stops before the answer is as large as a buffer of a proxy, and goes on when a piece has arrived."""
    hold = behind.log.with_name("hold")
    hold.touch()
    try:
        fields = {"options": {"num_predict": 20}} if path == "/api/chat" else {"max_tokens": 20}
        with behind.client() as client, client.stream("POST", path, json={**LONG, **fields}, **SNI) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            text = first_piece(lines)
            assert behind.running == 1
            hold.unlink()
            text += "".join(lines)
    finally:
        hold.unlink(missing_ok=True)
    assert text.count('"x"') >= 16
    until(lambda: behind.running == 0)


def test_a_client_that_leaves_ends_its_request(behind: Behind) -> None:
    """The answer would take minutes."""
    body = {**LONG, "max_tokens": 8000}
    with behind.client() as client, client.stream("POST", "/v1/chat/completions", json=body, **SNI) as answer:
        lines = answer.iter_lines()  # whose end would close the response
        first_piece(lines)
        assert behind.running == 1
    until(lambda: behind.running == 0)


def test_the_log_has_the_clients_address_key_and_id(behind: Behind) -> None:
    with behind.client() as client:
        headers = {"X-Request-Id": f"id-{time.monotonic_ns()}", "X-Forwarded-For": "203.0.113.9"}
        answer = client.get("/v1/models", headers=headers, **SNI)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == headers["X-Request-Id"]
    until(lambda: any(line.get("request_id") == headers["X-Request-Id"] for line in behind.lines()))
    (line,) = [line for line in behind.lines() if line.get("request_id") == headers["X-Request-Id"]]
    assert (line["client"], line["key"]) == (CLIENT, "tester")


@pytest.mark.parametrize(("sender", "shown"), [("127.0.0.1", "203.0.113.9"), (CLIENT, CLIENT)])
def test_only_a_trusted_proxy_tells_the_clients_address(server: tuple[str, Path], sender: str, shown: str) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Request-Id": f"id-{time.monotonic_ns()}"}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=sender), timeout=60) as client:
        assert client.get(f"{server[0]}/v1/models", headers=headers).status_code == 401

    def lines() -> list[dict[str, Any]]:
        every = [json.loads(line) for line in server[1].read_text().splitlines()]
        return [line for line in every if line.get("request_id") == headers["X-Request-Id"]]

    until(lambda: bool(lines()))
    assert (lines()[0]["client"], lines()[0]["key"]) == (shown, None)


def test_a_key_is_needed(behind: Behind) -> None:
    with behind.client() as client:
        assert client.get("/v1/models", headers={"Authorization": "Bearer wrong"}, **SNI).status_code == 401
        assert client.get("/", **SNI).status_code == 200


def test_a_body_beyond_the_limit_gets_the_servers_own_error(behind: Behind) -> None:
    body = b'{"model": "' + b"x" * (33 << 20) + b'"}'
    with behind.client() as client:
        answer = client.post("/v1/chat/completions", content=body, **SNI)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
