"""All bodies together: their number and bytes are bounded, slow ones make way, refused ones may be tried again."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from running import running
from starlette.testclient import TestClient

from shoestring.server.errors import ApiError
from shoestring.server.http.app import create_app
from shoestring.server.http.bodies import in_flight
from shoestring.server.http.bodies.in_flight import InFlight
from shoestring.server.http.settings import Settings
from shoestring.server.limits import Limits
from shoestring.server.service import Service
from shoestring.testing import Reply, scripted_model

URL = "/v1/chat/completions"
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def play(scene: Callable[[InFlight], Coroutine[Any, Any, None]], **limits: Any) -> None:
    async def with_limits() -> None:
        await scene(InFlight(Limits(**limits)))

    asyncio.run(with_limits())


def test_the_number_of_bodies_is_bounded() -> None:
    async def scene(flight: InFlight) -> None:
        claims = [flight.enter() for _ in range(3)]
        with pytest.raises(ApiError, match="too many requests") as refusal:
            flight.enter()
        assert refusal.value.status == 503
        assert "Retry-After" in refusal.value.headers
        flight.release(claims[0])
        flight.release(claims[0])
        flight.enter()
        assert len(flight) == 3

    play(scene, bodies=3)


def test_the_bytes_of_all_bodies_are_bounded_but_one_alone_always_fits() -> None:
    async def scene(flight: InFlight) -> None:
        first, second = flight.enter(), flight.enter()
        flight.grow(first, 60)
        with pytest.raises(ApiError, match="too large together"):
            flight.grow(second, 60)
        flight.release(second)
        flight.grow(first, 1000)
        flight.release(first)
        assert flight.bytes == 0

    play(scene, bodies_bytes=100)


def test_large_bodies_do_not_keep_small_ones_out() -> None:
    async def scene(flight: InFlight) -> None:
        large, larger, *small = [flight.enter() for _ in range(20)]
        flight.grow(large, 2000)  # alone, it may take more than there is
        with pytest.raises(ApiError, match="too large together"):
            flight.grow(larger, 50)
        for claim in small[:16]:
            flight.grow(claim, 10)
        with pytest.raises(ApiError, match="too large together"):
            flight.grow(small[16], 10)

    play(scene, bodies_bytes=640)


def test_the_slow_body_that_began_first_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_SLOW_SECONDS", -1)

    async def scene(flight: InFlight) -> None:
        read, slow, slower = flight.enter(), flight.enter(), flight.enter()
        read.arriving = False
        flight.enter()
        assert slow.lost.done()
        assert not slower.lost.done()
        flight.grow(flight.enter(), 100)
        assert slower.lost.done()
        assert not read.lost.done()

    play(scene, bodies=3, bodies_bytes=1000)


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, **limits: Any) -> Iterator[TestClient]:
    monkeypatch.setattr(Settings, "limits", property(lambda settings: Limits(**limits)))
    with TestClient(create_app(Service(scripted_model(context=2048)), Settings()), "http://127.0.0.1") as client:
        yield client


def test_every_claim_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch, bodies=1, bodies_bytes=100_000) as client:
        for body in (CHAT, {**CHAT, "stream": True}, {}, {**CHAT, "user": "x" * 90_000}, {**CHAT, "foo": 1}):
            client.post(URL, json=body)
            flight = client.app.state.bodies._in_flight  # type: ignore[attr-defined]
            assert (len(flight), flight.bytes) == (0, 0)
        assert client.post(URL, json=CHAT).status_code == 200


def test_the_parsed_value_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second large body is there, so that this one is not alone."""
    with served(monkeypatch, bodies_bytes=100_000) as client:
        flight = client.app.state.bodies._in_flight  # type: ignore[attr-defined]

        async def another() -> None:
            flight.grow(flight.enter(), 40_000)

        client.portal.call(another)  # type: ignore[union-attr]
        assert client.post(URL, json={**CHAT, "metadata": [0] * 300}).status_code == 200
        refused = client.post(URL, json={**CHAT, "metadata": [0] * 3000})
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "overloaded"


def test_health_answers_while_large_bodies_are_read() -> None:
    """Bodies that took the event loop seconds each: a million messages, values, keys, brackets."""
    million = 1_000_000
    bombs = [
        b'{"messages":[' + b"{}," * million + b"{}]}",
        b'{"messages":[' + b"1," * million + b"1]}",
        b'{"messages":[{"role":"user","content":[' + b'{"type":"text"},' * 60_000 + b"1]}]}",
        b'{"messages":[{"role":"user","content":"hi"}],"metadata":{'
        + b",".join(b'"%d":1' % n for n in range(million))
        + b"}}",
        b'{"messages":[' + b"[" * million,
        b'{"messages":[],"stop":[' + b"1," * 900_000 + b"1]}",
        b'"' + b"\\" * 8_000_000,
    ]
    with running(create_app(Service(scripted_model(context=2048)))) as url, ExitStack() as stack:
        senders = [
            threading.Thread(
                target=lambda bomb=bomb: statuses.append(httpx.post(url + URL, content=bomb, timeout=120).status_code)
            )
            for bomb in bombs
        ]
        statuses: list[int] = []
        for sender in senders:
            sender.start()
            stack.callback(sender.join)
        waits = []
        with httpx.Client(base_url=url, timeout=60) as client:
            while any(sender.is_alive() for sender in senders):
                began = time.perf_counter()
                assert client.get("/health/live").status_code == 200
                waits.append(time.perf_counter() - began)
                time.sleep(0.02)
    assert len(statuses) == len(bombs)
    assert set(statuses) <= {400, 503}
    waits.sort()
    assert waits[len(waits) * 9 // 10] < 0.5, waits[-10:]  # on a loaded machine; the client is in this process, too


def test_lists_have_limits_and_one_error() -> None:
    with TestClient(create_app(Service(scripted_model(context=2048))), "http://127.0.0.1") as client:
        for body, words in (
            ({"messages": [1] * 5000}, "messages: 5000 are too many: the limit is 4096"),
            ({**CHAT, "stop": [1] * 3000}, "stop.0: expected a string"),
            ({**CHAT, "logit_bias": {str(n): 1 for n in range(70_000)}}, "logit_bias: 70000 are too many"),
        ):
            error = client.post(URL, content=json.dumps(body)).json()["error"]["message"]
            assert words in error


def test_a_body_is_released_before_its_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    model = scripted_model({"long": Reply("x" * 500)}, context=16384)
    runner, go_on, steps = model._engine.runner, threading.Event(), iter(range(10_000))
    compute = runner.forward

    def forward(*arguments: Any) -> Any:
        if next(steps) > 100:
            go_on.wait(30)
        return compute(*arguments)

    monkeypatch.setattr(runner, "forward", forward)
    app = create_app(Service(model))
    body = {"messages": [{"role": "user", "content": "long"}], "stream": True}
    with running(app) as url, httpx.stream("POST", url + URL, json=body, timeout=30) as response:
        lines = response.iter_lines()  # dropped, it would close the response
        next(lines)
        assert (len(app.state.bodies._in_flight), app.state.bodies._in_flight.bytes) == (0, 0)
        assert app.state.service.busy
        go_on.set()


def test_prompts_that_wait_for_others_of_their_request_stay_counted() -> None:
    model = scripted_model(completions={"a": "x" * 500}, context=16384)
    app = create_app(Service(model, queue=64))
    claims = app.state.bodies._in_flight
    body = {"prompt": ["a"] * 8 + ["b" * 40_000], "stream": True, "max_tokens": 300}
    with running(app) as url, httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        assert len(claims) == 1
        assert 40_000 <= claims.bytes < 50_000
        assert any("context_length_exceeded" in line for line in lines)
        until = time.monotonic() + 10
        while len(claims) and time.monotonic() < until:
            time.sleep(0.01)
        assert (len(claims), claims.bytes) == (0, 0)
