"""Attacks on HTTP itself: hosts, origins, keys, lengths, encodings, and what is no HTTP at all."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from hostile.attack import Attack, head, post
from hostile.endpoints import VALID
from hostile.forms import CHAT

BODY = json.dumps(VALID[CHAT]).encode()
HOSTS = (
    *("[::1].evil.com", "[::1", "]", "[", "[]:80", "127.0.0.1.evil.com", "127.0.0.1:x", "localhost:99999999", ""),
    *("evil.com", "localhost@evil.com", "user:pw@localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]", "[::1%25lo]"),
    *(
        "localhost, evil.com",
        "\x1b[31mlocalhost",
        "x" * 20_000,
        "localhost.",
        "LOCALHOST",
        "127.0.0.1\t",
        "%6cocalhost",
    ),
)
ORIGINS = (
    *(
        "http://[",
        "http://[::1].evil.com",
        "http://]",
        "null",
        "",
        "http://",
        "//",
        "localhost",
        "file://",
        "http://:80",
    ),
    *(
        "http://localhost:99999999",
        "http://[::1%25]",
        "http://evil.com",
        "http://a@localhost",
        "http://[v1.x]",
        "\x1b]0;",
    ),
    *(
        "http://localhost evil",
        "http://" + "x" * 20_000,
        "chrome-extension://x",
        "http://127.0.0.1\\@evil.com",
        "http:///",
    ),
)
KEYS = (
    *(
        "Bearer ",
        "Bearer",
        "bearer \xff\xfe",
        "Basic dXNlcjpwdw==",
        "Bearer " + "k" * 20_000,
        "Bearer a b c",
        "\x1b[31m",
    ),
    *("Bearer \x7f", "Bearer null", "Digest username=x", "Bearer k,Bearer k", "BEARER\tkey"),
)
LENGTHS = (
    "-1",
    "0",
    "5",
    "x",
    "1e3",
    "99999999999999999999999",
    "\xd9\xa3",
    "5, 6",
    "5, 5",
    "+5",
    "0x10",
    " ",
    "1_0",
    "5 5",
)
ENCODINGS = ("gzip", "chunked, chunked", "identity", "chunked, gzip", "xchunked", "chunked\x0b", "", "CHUNKED")
CHUNKS = (
    b"zz\r\nabc\r\n0\r\n\r\n",
    b"-5\r\nabcde\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFFFFF\r\nabc",
    b"5" + b";x=y" * 5000 + b"\r\nabcde\r\n0\r\n\r\n",
    b"5\r\nabcdefgh\r\n0\r\n\r\n",
    b"5\nabcde\n0\n\n",
    b"0\r\n" + b"Trailer: x\r\n" * 5000 + b"\r\n",
    b"1\r\n{\r\n" * 3000 + b"0\r\n\r\n",
    b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
NOT_HTTP = (
    b"\r\n" * 2000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /health\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    b"GET  /  HTTP/1.1\r\n\r\n",
    b"GET /\x00\x1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"G" * 100_000,
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nX\x00Y: a\r\nHost: localhost\r\n\r\n",
    b"GET http://evil.com/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"CONNECT evil.com:443 HTTP/1.1\r\nHost: evil.com\r\nConnection: close\r\n\r\n",
    bytes(range(256)) * 40,
)
#: header → values
FIELDS = {
    "Host": HOSTS,
    "Origin": ORIGINS,
    "Authorization": KEYS,
    "x-api-key": KEYS,
    "Content-Length": LENGTHS,
    "Transfer-Encoding": ENCODINGS,
    "Expect": ("100-continue", "200-ok", "\x7f"),
    "Connection": ("Upgrade, HTTP2-Settings", "keep-alive, close, x" * 50, "\x1b"),
    "Upgrade": ("websocket", "h2c"),
    "If-None-Match": ('"' + "x" * 20_000, "W/" * 9000, ", " * 9000),
    "Range": ("bytes=0-,0-,0-", "bytes=-1"),
    "Accept": ("*/*;q=" + "9" * 5000, "\xff"),
    "Cookie": ("a=" + "b" * 20_000,),
    "X-Forwarded-For": ("127.0.0.1, " * 2000, "\x1b[2J"),
}


def hostile_heads(source: random.Random) -> Iterator[Attack]:
    """Without end: each header, each chunking, and each text that is no HTTP once before any comes again."""
    attacks = [
        *(_with(name, value) for name, values in FIELDS.items() for value in values),
        *(_chunked(number, chunks) for number, chunks in enumerate(CHUNKS)),
        *(_raw(number, data) for number, data in enumerate(NOT_HTTP)),
        _both_lengths(),
        _pipelined(),
    ]
    while True:
        source.shuffle(attacks)
        yield from attacks


def _with(name: str, value: str) -> Attack:
    """A valid request with one hostile header. A wrong length may keep it from ending."""
    attack = post(f"{name}: {value[:40]!r}", CHAT, BODY, headers={name: value})
    framing = name in ("Content-Length", "Transfer-Encoding", "Connection", "Upgrade")
    return Attack(attack.name, lambda: (*attack.pieces(), 0.2), "close", False) if framing else _maybe(attack)


def _maybe(attack: Attack) -> Attack:
    """h11 closes the connection of some of these without a reply."""
    return Attack(attack.name, attack.pieces, attack.then, replied=False)


def _chunked(number: int, chunks: bytes) -> Attack:
    fields = {"Host": "localhost", "Transfer-Encoding": "chunked", "Connection": "close"}
    return Attack(f"chunks {number}", lambda: (head("POST", CHAT, fields), chunks, 0.2), "close", False)


def _raw(number: int, data: bytes) -> Attack:
    return Attack(f"not HTTP {number}: {data[:30]!r}", lambda: (data, 0.2), "close", False)


def _both_lengths() -> Attack:
    fields = {"Host": "localhost", "Content-Length": "4", "Transfer-Encoding": "chunked", "Connection": "close"}
    smuggled = b"0\r\n\r\nPOST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    return Attack("two lengths", lambda: (head("POST", CHAT, fields), smuggled, 0.2), "close", False)


def _pipelined() -> Attack:
    """Many requests on one connection, without waiting for replies."""
    one = head("GET", "/v1/models", {"Host": "localhost"})
    return Attack("200 requests at once", lambda: (one * 200, 0.2), "close", False)
