"""A Web without a network: names with addresses of the test, and servers on loopback that say what the test says."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from shoestring.server.media.fetch import Web

PUBLIC, OTHER_PUBLIC = "93.184.215.14", "2606:4700::1111"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)

Script = Callable[[socket.socket, bytes], None]


def answer(body: bytes, *heads: str, status: str = "200 OK", kind: str = "image/png") -> Script:
    """A whole response; heads: more lines of its head."""

    def script(connection: socket.socket, head: bytes) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *heads]
        if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in heads):
            lines.append(f"Content-Length: {len(body)}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return script


def redirect(place: str, status: str = "302 Found") -> Script:
    return answer(b"", f"Location: {place}", status=status)


def dribble(piece: bytes, seconds: float, first: bytes = b"") -> Script:
    """One small piece after the other, for ever."""

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(piece)
            time.sleep(seconds)

    return script


@dataclass
class StandIn:
    """names: name → addresses, one list for each time that it is looked up, the last one from then on."""

    scripts: dict[str, Script] = field(default_factory=dict)
    names: dict[str, list[Sequence[str]]] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    #: (address, port) of each connection
    dialled: list[tuple[str, int]] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    #: None: plain HTTP
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    @property
    def web(self) -> Web:
        return Web(self._resolve, self._dial)

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        answers = self.names.get(host)
        if answers is None:
            with suppress(OSError):  # written as numbers
                return [str(a[4][0]) for a in socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)]
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _dial(self, address: str, port: int, seconds: float) -> socket.socket:
        self.dialled.append((address, port))
        return socket.create_connection(self._listening.getsockname(), seconds)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with plain, suppress(OSError):
            plain.settimeout(10)
            connection = plain if self.tls is None else self.tls.wrap_socket(plain, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(4096)
                    if not piece:
                        return
                    head += piece
                self.heads.append(head)
                script = self.scripts.get(head.split()[1].decode(), answer(b"", status="404 Not Found"))
                script(connection, head)
