"""The application with a scripted model, without a network; and a service that fails in the middle of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from behind import on
from starlette.testclient import TestClient

from shoestring.output.events import Content
from shoestring.server.errors import ApiError
from shoestring.server.request import Delta, Started, StreamItem
from shoestring.testing import Family, Reply, scripted_model

ANSWER = "Héllo, 你好 👋!"
ARGUMENTS = {"city": "Oslo", "days": 2}
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
REPLIES = {
    "hello": Reply(ANSWER, thinking="a greeting"),
    "weather": Reply("I look.", calls=[("look", ARGUMENTS), ("look", {"city": "Rome"})]),
}
COMPLETIONS = {"One, two": ", three. 👋", "A, b": ", c."}


@contextmanager
def answering(family: Family = "qwen3_5", backend: str = "local", **service: Any) -> Iterator[TestClient]:
    """A client of the application; its model is named "scripted". backend: see behind.py."""
    model = partial(scripted_model, REPLIES, family=family, completions=COMPLETIONS, context=2048)
    with on(backend, model, **service) as client:
        yield client


class BrokenStream:
    """Starts an answer, then fails."""

    def __init__(self, error: Exception) -> None:
        self._items: list[StreamItem] = [Started(3, 0), Delta(0, (Content("so far"),), ())]
        self._error = error
        self.closed = False

    def __aiter__(self) -> BrokenStream:
        return self

    async def __anext__(self) -> StreamItem:
        if not self._items:
            raise self._error
        return self._items.pop(0)

    async def aclose(self) -> None:
        self.closed = True


@contextmanager
def breaking(client: TestClient, error: Exception | None = None) -> Iterator[list[BrokenStream]]:
    """Make every answer fail in the middle; yields the opened streams."""
    service = client.app.state.service  # type: ignore[attr-defined]
    streams: list[BrokenStream] = []

    async def open_stream(request: object) -> BrokenStream:
        streams.append(BrokenStream(error or ApiError(500, "the step failed")))
        return streams[-1]

    service.chat = service.complete = open_stream
    try:
        yield streams
    finally:
        del service.chat, service.complete


def idle(client: TestClient) -> bool:
    """Whether no request is left."""
    service = client.app.state.service  # type: ignore[attr-defined]
    return not service.busy


def data(text: str) -> Sequence[str]:
    """The data of server-sent events."""
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
