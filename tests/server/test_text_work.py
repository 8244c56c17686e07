"""Text work of all endpoints: in one queue, bounded, stopped with its client or the server, never in the event loop."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from answering import answering
from starlette.testclient import TestClient

from shoestring.checkpoint.text.text_work import proceed
from shoestring.runtime.model import Model
from shoestring.server.errors import ApiError
from shoestring.server.http import record
from shoestring.server.http.app import create_app
from shoestring.server.limits import SMALL, Limits
from shoestring.server.request import ChatRequest, CompletionRequest, GenerationOptions
from shoestring.server.service import Service
from shoestring.testing import scripted_model

#: Path → a body whose text is `text`
BODIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/v1/completions": lambda text: {"prompt": text},
    "/v1/messages": lambda text: {**_message(text), "max_tokens": 5},
    "/v1/messages/count_tokens": lambda text: _message(text),
    "/api/chat": lambda text: {"model": "scripted", "messages": [{"role": "user", "content": text}]},
    "/api/generate": lambda text: {"model": "scripted", "prompt": text},
    "/tokenize": lambda text: {"content": text},
    "/apply-template": lambda text: {"messages": [{"role": "user", "content": text}]},
}
COUNTED = 5000


def _message(text: str) -> dict[str, Any]:
    return {"model": "scripted", "messages": [{"role": "user", "content": text}]}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with answering(limits=Limits(counted_tokens=COUNTED)) as client:
        yield client


def play(scene: Callable[[Service], Coroutine[Any, Any, None]], model: Model | None = None, **options: Any) -> Service:
    service = Service(model or scripted_model(context=4096), **options)
    service.start()
    try:
        asyncio.run(asyncio.wait_for(scene(service), 60))
    finally:
        service.close()
    assert not service._stops
    return service


def until_stopped(started: threading.Event) -> None:
    """Work as a tokenizer does it: pieces, and `proceed` between them. Ends only when it is stopped."""
    started.set()
    for _ in range(3000):
        proceed()
        time.sleep(0.01)
    raise AssertionError("nobody stopped it")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("path", BODIES)
def test_a_text_beyond_the_limit_is_refused(path: str, client: TestClient) -> None:
    answer = client.post(path, json=BODIES[path]("word " * 300_000))
    assert answer.status_code == 400
    assert "at least" in answer.text
    assert len(answer.content) < 500


def test_texts_beyond_the_context_are_counted(client: TestClient) -> None:
    """Clients count to decide what to leave out."""
    text = "w" * 4000  # the context has 2048 tokens
    counted = client.post("/v1/messages/count_tokens", json=_message(text)).json()["input_tokens"]
    assert counted > 4000
    assert client.post("/tokenize", json={"content": text}).json()["count"] == 4000
    assert len(client.post("/apply-template", json=BODIES["/apply-template"](text)).json()["tokens"]) > 4000


def test_lists_of_ids_are_bounded(client: TestClient) -> None:
    assert client.post("/v1/completions", json={"prompt": [65] * 100_000}).status_code == 400
    assert client.post("/v1/completions", json={"prompt": [65] * 1_100_000}).status_code == 400
    assert client.post("/detokenize", json={"tokens": [65] * 1_100_000}).status_code == 400
    assert client.post("/detokenize", json={"tokens": [65] * 900_000}).json()["content"] == "A" * 900_000


def test_a_long_detokenized_text_is_refused() -> None:
    with answering(limits=Limits(text_characters=1000)) as client:
        assert client.post("/detokenize", json={"tokens": [65] * 1000}).status_code == 200
        assert "1,000 characters" in client.post("/detokenize", json={"tokens": [65] * 1001}).text


def test_token_lists_are_the_json_that_their_models_describe(client: TestClient) -> None:
    text = 'a"\\\n\x00é🙂\ud800'
    body = {"content": text, "with_pieces": True, "return_token_strs": True}
    answer = client.post("/tokenize", content=json.dumps(body), headers={"content-type": "application/json"}).json()
    pieces = [token["piece"] for token in answer["tokens"]]
    data = b"".join(piece.encode() if isinstance(piece, str) else bytes(piece) for piece in pieces)
    assert data.decode() == text.replace("\ud800", "\ufffd")
    assert len(answer["token_strs"]) == answer["count"] == len(pieces)


def test_text_work_counts_as_waiting_and_is_refused_beyond_the_queue() -> None:
    async def scene(service: Service) -> None:
        started = threading.Event()
        tasks = [asyncio.create_task(service.text_work(until_stopped, started)) for _ in range(3)]
        await until(lambda: service.waiting == 3)
        with pytest.raises(ApiError) as refused:
            await service.text_work(proceed)
        assert refused.value.status == 429
        with pytest.raises(ApiError) as refused:
            await service.count_tokens(ChatRequest(({"role": "user", "content": "hi"},)))
        assert refused.value.status == 429
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert service.waiting == 0
        await service.text_work(proceed)

    play(scene, queue=3)


def test_a_cancelled_request_stops_its_work_and_what_waits_never_starts() -> None:
    async def scene(service: Service) -> None:
        running, waiting = [threading.Event() for _ in range(2)], threading.Event()
        tasks = [asyncio.create_task(service.text_work(until_stopped, started)) for started in (*running, waiting)]
        await until(lambda: all(started.is_set() for started in running))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await until(lambda: not service._short_texts.busy)
        assert await service.text_work(lambda: "next") == "next"
        assert not waiting.is_set()

    play(scene)


def test_the_tokenizer_and_the_template_stop_with_their_client() -> None:
    """A prompt of many windows is in work when its client goes."""

    async def scene(service: Service) -> None:
        seen: list[int] = []
        encoder = service.model.tokenizer._encoder  # type: ignore[attr-defined]
        window = encoder._window

        def counting(text: str) -> Any:
            seen.append(len(text))
            return window(text)

        encoder._window = counting
        task = asyncio.create_task(service.complete(CompletionRequest("a b " * 2_000_000)))
        await until(lambda: bool(seen))
        task.cancel()
        await asyncio.wait({task})
        await until(lambda: not service._short_texts.busy)
        assert len(seen) < 20  # of 122

    play(scene, scripted_model(context=9_000_000))


def test_a_closed_service_ends_text_work_with_503() -> None:
    async def scene(service: Service) -> None:
        started = threading.Event()
        task = asyncio.create_task(service.text_work(until_stopped, started))
        await until(started.is_set)
        began = time.monotonic()
        await asyncio.to_thread(service.close)
        with pytest.raises(ApiError) as refused:
            await task
        assert refused.value.status == 503
        assert time.monotonic() - began < 5
        with pytest.raises(ApiError) as refused:
            await service.text_work(proceed)
        assert refused.value.status == 503

    play(scene)


def test_short_texts_do_not_wait_for_long_ones() -> None:
    async def scene(service: Service) -> None:
        started = threading.Event()

        async def long() -> None:
            record.CURRENT.set(record.Record(body_bytes=SMALL + 1))
            await service.text_work(until_stopped, started)

        tasks = [asyncio.create_task(long()) for _ in range(5)]
        await until(started.is_set)
        assert await service.count_tokens(ChatRequest(({"role": "user", "content": "hi"},))) > 0
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    play(scene)


@pytest.mark.parametrize("path", [*BODIES, "/detokenize"])
def test_work_ends_when_the_client_disconnects(path: str) -> None:
    """Over ASGI: the client goes while its text is in work."""

    async def scene() -> None:
        service = Service(scripted_model(context=4096))
        app = create_app(service)
        body = {"tokens": [65]} if path == "/detokenize" else BODIES[path]("hello")
        started, gone = threading.Event(), asyncio.Event()
        service.model.prompt_of = lambda *_: until_stopped(started)  # type: ignore
        if path == "/tokenize":
            service.model.tokenizer.encode = lambda *_, **__: until_stopped(started)  # type: ignore
        service.model.tokenizer.stream_decoder = lambda *_, **__: until_stopped(started)  # type: ignore
        data = json.dumps(body).encode()
        messages = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            return

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [
                (b"host", b"127.0.0.1"),
                (b"content-type", b"application/json"),
                (b"content-length", str(len(data)).encode()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        async with app.router.lifespan_context(app):
            task = asyncio.create_task(app(scope, receive, send))
            await until(started.is_set)
            gone.set()
            await task
            await until(lambda: not service.busy and not service._short_texts.busy)

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_request_that_waits_in_the_engine_is_never_computed_after_its_client_has_gone() -> None:
    async def scene(service: Service) -> None:
        first = await service.complete(CompletionRequest("one", GenerationOptions(max_tokens=200)))
        second = await service.complete(CompletionRequest("z" * 3000))
        await second.aclose()
        async for _ in first:
            pass
        await until(lambda: service.model.engine.idle)
        assert service.model.engine.runner.rows < 3000  # type: ignore[attr-defined]

    play(scene, scripted_model(context=4096, sequences=1))
