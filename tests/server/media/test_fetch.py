"""Fetching media from the Web: what is refused before anything leaves, and what a hostile server cannot do."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import certificate
from web_stand_in import OTHER_PUBLIC, PNG, PUBLIC, StandIn, answer, dribble, redirect

from shoestring.errors import RequestError
from shoestring.server.media.fetch import Fetch, FetchLimits, Web, checked

LIMITS = FetchLimits(bytes=4096, seconds=3.0, redirects=3)


@pytest.fixture
def web() -> Iterator[StandIn]:
    stand_in = StandIn(names={"example.com": [[PUBLIC]], "inside.example": [["10.0.0.5"]]})
    yield stand_in
    stand_in.close()


def fetch(web: StandIn, url: str, limits: FetchLimits = LIMITS) -> bytes:
    return Fetch(url, "the picture", limits, web.web).run()


def test_a_picture_arrives_and_the_request_says_nothing_of_us(web: StandIn) -> None:
    web.scripts["/a.png?x=1"] = answer(PNG)
    assert fetch(web, "http://example.com/a.png?x=1#part") == PNG
    assert web.dialled == [(PUBLIC, 80)]
    names = {line.split(b":")[0].lower() for line in web.heads[0].split(b"\r\n")[1:] if line}
    assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}


@pytest.mark.parametrize("kind", ["chunked", "until the end"])
def test_a_body_of_unknown_length_arrives(web: StandIn, kind: str) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (PNG[:9], PNG[9:])) + b"0\r\n\r\n"
    web.scripts["/"] = (
        answer(chunks, "Transfer-Encoding: chunked")
        if kind == "chunked"
        else lambda connection, head: connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + PNG)
    )
    assert fetch(web, "http://example.com") == PNG


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/a", "file:///etc/passwd", "gopher://example.com", "//example.com/a", "a.png", ""),
        *("http://", "http:///a", "http://[::1/a", "http://exa mple.com/", "http://example.com\\@inside.example/"),
        *("http://user:pass@example.com/", "http://example.com:22/", "http://example.com:99999/", "http://a/\r\nX: y"),
        *("http://example.com/ä", "http://-a.com/", "http://a%00.com/", "http://a\x00.com/", "http://example.com/\n"),
        "http://example.com/" + "a" * 5000,
    ],
)
def test_a_url_that_is_not_of_the_web_is_refused_before_a_name_is_looked_up(web: StandIn, url: str) -> None:
    with pytest.raises(RequestError, match="the picture cannot be fetched: "):
        fetch(web, url)
    assert not web.looked_up
    assert not web.dialled


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost.", "10.1.2.3", "192.168.0.1", "172.31.255.255", "169.254.169.254", "0.0.0.0"),
        *("100.100.100.200", "168.63.129.16", "255.255.255.255", "224.0.0.1", "198.51.100.7"),
        *("2130706433", "0x7f.1", "017700000001", "127.1"),
        *("[::1]", "[::]", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[64:ff9b::a00:1]"),
        *("[::127.0.0.1]", "[2002:7f00:1::]", "[2001:0:1::1]", "[ff02::1]", "[2001:db8::1]", "[fec0::1]"),
    ],
)
def test_an_address_that_is_not_public_is_never_connected_to(web: StandIn, host: str) -> None:
    web.names["localhost"] = [["127.0.0.1", "::1"]]
    with pytest.raises(RequestError, match=r"private, reserved or of this machine|has no address"):
        fetch(web, f"http://{host}/a.png")
    assert not web.dialled


def test_a_name_with_one_inner_address_is_refused_and_the_error_does_not_tell_it(web: StandIn) -> None:
    web.names["mixed.example"] = [[PUBLIC, "10.0.0.5"]]
    with pytest.raises(RequestError) as caught:
        fetch(web, "http://mixed.example/")
    assert "10.0.0.5" not in str(caught.value)
    assert not web.dialled


def test_the_connection_goes_to_the_address_that_was_checked(web: StandIn) -> None:
    """A name that is public when it is looked up, and inside from then on, gains nothing."""
    web.names["turning.example"] = [[OTHER_PUBLIC], ["127.0.0.1"]]
    web.scripts["/"] = answer(PNG)
    assert fetch(web, "http://turning.example/") == PNG
    assert web.looked_up == ["turning.example"]
    assert web.dialled == [(OTHER_PUBLIC, 80)]


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_redirects_are_followed_and_each_is_checked(web: StandIn, status: str) -> None:
    web.scripts |= {"/": redirect("/b", status), "/b": redirect("http://example.com:8080/c"), "/c": answer(PNG)}
    assert fetch(web, "http://example.com/") == PNG
    assert [port for _, port in web.dialled] == [80, 80, 8080]


@pytest.mark.parametrize(
    "place",
    [
        *("http://inside.example/", "http://127.0.0.1/", "//10.0.0.5/", "file:///etc/passwd", "http://example.com:25/"),
        *("ftp://example.com/", "http://[::1]/", "", "http://u:p@example.com/", "http://example.com/" + "a" * 5000),
    ],
)
def test_a_redirect_to_what_is_refused_is_refused(web: StandIn, place: str) -> None:
    web.scripts["/"] = redirect(place)
    with pytest.raises(RequestError, match="cannot be fetched"):
        fetch(web, "http://example.com/")
    assert len(web.dialled) == 1


def test_a_name_that_changes_between_redirects_is_checked_again(web: StandIn) -> None:
    web.names["turning.example"] = [[PUBLIC], ["169.254.169.254"]]
    web.scripts["/"] = redirect("http://turning.example/latest/meta-data")
    with pytest.raises(RequestError, match="private, reserved"):
        fetch(web, "http://turning.example/")
    assert web.looked_up == ["turning.example"] * 2
    assert len(web.dialled) == 1


def test_redirects_end(web: StandIn) -> None:
    web.scripts["/"] = redirect("/")
    with pytest.raises(RequestError, match="more than 3 times"):
        fetch(web, "http://example.com/")
    assert len(web.dialled) == 4


@pytest.mark.parametrize(
    ("head", "match"),
    [
        (["Content-Length: 999999999"], "at most 4.00 KiB"),
        (["Transfer-Encoding: chunked"], "more than 4.00 KiB"),
        (["Content-Encoding: gzip"], "compressed"),
        (["Content-Length: 4000"], "before the end"),
    ],
)
def test_bytes_are_bounded_whatever_the_head_says(web: StandIn, head: list[str], match: str) -> None:
    endless = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    web.scripts["/"] = answer(endless * 40 if "chunked" in head[0] else PNG, *head)
    with pytest.raises(RequestError, match=match):
        fetch(web, "http://example.com/")


def test_what_is_no_picture_is_refused_by_its_type(web: StandIn) -> None:
    web.scripts |= {"/": answer(b"<html>", kind="text/html; charset=utf-8"), "/2": answer(b"", status="404 No")}
    with pytest.raises(RequestError, match="'text/html'"):
        fetch(web, "http://example.com/")
    with pytest.raises(RequestError, match="status 404"):
        fetch(web, "http://example.com/2")


@pytest.mark.parametrize(
    "script",
    [
        dribble(b"x", 0.05),
        dribble(b"H: x\r\n", 0.05, b"HTTP/1.1 200 OK\r\n"),
        dribble(b"x", 0.05, b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"),
        dribble(b"1\r\nx\r\n", 0.05, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        lambda connection, head: time.sleep(2),
    ],
    ids=["no head", "endless head", "slow body", "slow chunks", "silence"],
)
def test_a_slow_server_costs_the_seconds_and_no_more(web: StandIn, script: object) -> None:
    web.scripts["/"] = script  # type: ignore[assignment]
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"within 0\.3 seconds"):
        fetch(web, "http://example.com/", replace(LIMITS, seconds=0.3))
    assert time.monotonic() - began < 1.5


def test_a_fetch_can_be_stopped(web: StandIn) -> None:
    web.scripts["/"] = dribble(b"x", 0.05)
    job = Fetch("http://example.com/", "the picture", replace(LIMITS, seconds=30), web.web)
    threading.Timer(0.2, job.stop).start()
    began = time.monotonic()
    with pytest.raises(RequestError):
        job.run()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("reply", [b"", b"\x16\x03\x01", b"HTTP/9.9 abc\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK"])
def test_a_server_that_speaks_no_http_is_an_error(web: StandIn, reply: bytes) -> None:
    web.scripts["/"] = lambda connection, head: connection.sendall(reply)
    with pytest.raises(RequestError, match="cannot be fetched"):
        fetch(web, "http://example.com/")


@pytest.mark.parametrize("seed", range(40))
def test_heads_of_random_bytes_are_an_error_or_an_answer(web: StandIn, seed: int) -> None:
    noise = random.Random(seed)
    reply = bytearray(b"HTTP/1.1 302 Found\r\nLocation: http://example.com/b\r\nContent-Length: 5\r\n\r\nhello")
    for _ in range(noise.randint(1, 6)):
        reply[noise.randrange(len(reply))] = noise.randrange(256)
    web.scripts |= {"/": lambda connection, head: connection.sendall(reply), "/b": answer(PNG)}
    with suppress(RequestError):
        fetch(web, "http://example.com/", replace(LIMITS, seconds=1.0))
    assert all(address == PUBLIC for address, _ in web.dialled)


def test_certificates_are_checked_and_https_does_not_become_http(tmp_path: Path) -> None:
    pair = certificate(tmp_path, host="secure.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    web = StandIn(names={"secure.example": [[PUBLIC]], "other.example": [[PUBLIC]]}, tls=server)
    web.scripts |= {"/": answer(PNG), "/down": redirect("http://secure.example/")}

    def run(url: str, trusting: bool = True) -> bytes:
        context = ssl.create_default_context(cafile=pair.certificate if trusting else None)
        return Fetch(url, "the picture", LIMITS, replace(web.web, tls=lambda: context)).run()

    assert run("https://secure.example/") == PNG
    assert web.dialled == [(PUBLIC, 443)]
    for url, trusting in (("https://secure.example/", False), ("https://other.example/", True)):
        with pytest.raises(RequestError, match="cannot be fetched"):
            run(url, trusting)
    with pytest.raises(RequestError, match="from https to another scheme"):
        run("https://secure.example/down")
    web.close()


def test_the_defaults_use_the_systems_resolver() -> None:
    assert "127.0.0.1" in Web().resolve("127.0.0.1", 80)
    target = checked("https://Example.COM./a/b?c=d#e", "x")
    assert (target.scheme, target.host, target.port, target.path) == ("https", "example.com", 443, "/a/b?c=d")
