"""Attack: one hostile request as bytes on a connection, and the client that sends it and notes what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

#: Bytes of a body, or seconds to pause.
Piece = bytes | float
#: What the client does once everything is sent: read the reply to its end, read it slowly, close or reset.
Then = Literal["read", "read slowly", "close", "reset"]

_BLOCK = 1 << 18
#: Most bytes of a reply that an outcome keeps.
_SHOWN = 1 << 20
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Attack:
    """One hostile request.

    pieces: makes what is sent; called when it is sent, so that a list of bombs is small. replied: whether the server
    has to reply; it may close the connection of a request that is not HTTP, or that never ends.
    """

    name: str
    pieces: Callable[[], Iterable[Piece]]
    then: Then = "read"
    replied: bool = True


@dataclass(frozen=True)
class Outcome:
    """What happened to an attack. status 0: no reply. sent: how the request begins."""

    name: str
    status: int
    seconds: float
    headers: Mapping[str, str]
    body: bytes
    sent: bytes
    problem: str = ""


def post(
    name: str,
    path: str,
    body: Callable[[], Iterable[bytes]] | bytes,
    *,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    then: Then = "read",
) -> Attack:
    """A well-formed request with a hostile body. The body comes in parts that are joined; its length is declared."""

    def pieces() -> Iterable[Piece]:
        parts = [body] if isinstance(body, bytes) else list(body())
        fields = {
            "Host": "127.0.0.1",
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(sum(map(len, parts))),
            **(headers or {}),
        }
        yield head(method, path, fields)
        yield from parts

    return Attack(f"{method} {path}: {name}", pieces, then)


def head(method: str, path: str, fields: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def send(attack: Attack, port: int, patience: float, source: str = "127.0.0.1") -> Outcome:
    """Send an attack from the address `source`, and wait at most `patience` seconds for the end of its reply."""
    start = time.perf_counter()
    sent = bytearray()
    received = bytearray()
    problem = ""
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), limit=1 << 20), patience
        )
    except (OSError, TimeoutError, asyncio.TimeoutError) as error:
        return Outcome(attack.name, 0, time.perf_counter() - start, {}, b"", b"", f"cannot connect: {error!r}")
    sending = asyncio.ensure_future(_send_pieces(writer, attack, sent))
    try:
        if attack.then in ("close", "reset"):
            await asyncio.wait_for(sending, patience)
            if attack.then == "reset":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        else:
            await asyncio.wait_for(_read(reader, received, slow=attack.then == "read slowly"), patience)
    except (TimeoutError, asyncio.TimeoutError):
        problem = f"no end of the reply within {patience:g} s"
    except OSError:  # the server may refuse a body while it is still being sent
        pass
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await sending
        # Not wait_closed: it waits until the server has read everything.
        writer.close() if attack.then == "close" else writer.transport.abort()
    status, headers, body = parsed(bytes(received))
    return Outcome(attack.name, status, time.perf_counter() - start, headers, body, bytes(sent), problem)


async def _send_pieces(writer: asyncio.StreamWriter, attack: Attack, sent: bytearray) -> None:
    for piece in attack.pieces():
        if isinstance(piece, float):
            await asyncio.sleep(piece)
            continue
        sent += piece[: max(0, 2000 - len(sent))]
        view = memoryview(piece)
        for start in range(0, len(view), _BLOCK):
            writer.write(view[start : start + _BLOCK])
            await writer.drain()


async def _read(reader: asyncio.StreamReader, received: bytearray, *, slow: bool) -> None:
    """Read to the end; slowly: 100 small parts, then leave."""
    parts = 0
    while data := await reader.read(64 if slow else _BLOCK):
        received += data[: max(0, _SHOWN - len(received))]
        parts += slow
        if parts == 100:
            break
        await asyncio.sleep(0.01 * slow)


def parsed(reply: bytes) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers by lower-case name, and body of a reply; status 0 if it is none."""
    start, _, body = reply.partition(b"\r\n\r\n")
    line, *fields = start.split(b"\r\n")
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        return 0, {}, reply
    pairs = (field.decode("latin-1").partition(":") for field in fields)
    return int(parts[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, body


def error_text(outcome: Outcome) -> str | None:
    """The message of an error in any API's shape; None: the body has none."""
    try:
        answer = json.loads(outcome.body)
    except ValueError:
        return None
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else None
