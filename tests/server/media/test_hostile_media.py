"""Hostile pictures and videos through the server: each is a clear 400, and the next request is answered."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import clips
import hostile_media
import pytest
from odd_pictures import rgb, saved
from starlette.testclient import TestClient

from shoestring.media import prepared
from shoestring.media.picture import resized_picture
from shoestring.media.source import Source
from shoestring.server.http import record
from shoestring.server.http.app import create_app
from shoestring.server.limits import Limits
from shoestring.server.media.reading import media_bytes
from shoestring.server.request import ChatRequest
from shoestring.server.service import Service
from shoestring.server.ticket import Ticket
from shoestring.testing import Asked, scripted_model

CHAT = "/v1/chat/completions"


def answer(asked: Asked) -> str:
    return f"{len(asked.seen)} rows. {asked.text}"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    model = scripted_model(answer, context=32768)
    with TestClient(create_app(Service(model)), "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def part(data: bytes, kind: str = "image") -> dict[str, Any]:
    url = f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"
    return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}


def ask(client: TestClient, *parts: dict[str, Any], role: str = "user") -> Any:
    message = {"role": role, "content": list(parts)} | ({"tool_call_id": "c"} if role == "tool" else {})
    body = {"messages": [{"role": "user", "content": "hi"}, message], "max_tokens": 300, "enable_thinking": False}
    return client.post(CHAT, json=body)


@pytest.mark.parametrize("name", [name for name in hostile_media.NAMES if not name.startswith("64 MB")])
def test_a_hostile_picture_is_a_clear_400_and_the_next_request_is_answered(client: TestClient, name: str) -> None:
    data, _ = hostile_media.hostile(name)
    response = ask(client, part(data))
    assert response.status_code == 400, response.text
    message = response.json()["error"]["message"]
    assert message.startswith("messages.1.content.0.image_url ")
    assert len(message) <= 500
    assert "\n" not in message
    assert ask(client, part(saved(rgb(), "PNG"))).status_code == 200


@pytest.mark.parametrize("name", ["pdf", "heic", "large.jpg", "text bomb.png", "40% of photo.jpg", "two headers.png"])
def test_in_a_tools_result_it_is_a_line_that_says_why(client: TestClient, name: str) -> None:
    data, _ = hostile_media.hostile(name)
    response = ask(client, {"type": "text", "text": "saved"}, part(data), part(saved(rgb(), "PNG")), role="tool")
    assert response.status_code == 200, response.text
    text = response.json()["choices"][0]["message"]["content"]
    assert "saved\n[an image was left out: it " in text
    assert not text.startswith("0 rows")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "cannot be|damaged|video"),
        (clips.clip("h264.mp4", 12)[:900], "damaged|cannot be|video"),
        (clips.sound(), "no video in it"),
        (clips.clip("ffv1.mkv", 12, Fraction(1, 1000)), "12,000 seconds: at most 3,600"),
        (saved(rgb(), "PNG"), "is a picture"),
        (b"\x1aE\xdf\xa3" + bytes(500), "damaged|cannot be|video"),
    ],
    ids=["a head alone", "cut", "sound", "three hours", "a picture", "zeros"],
)
def test_a_hostile_video_is_a_clear_400(client: TestClient, data: bytes, said: str) -> None:
    response = ask(client, part(data, "video"))
    assert response.status_code == 400, response.text
    message = response.json()["error"]["message"]
    assert message.startswith("messages.1.content.0.video_url ")
    assert any(words in message for words in said.split("|")), message
    assert ask(client, part(saved(rgb(), "PNG"))).status_code == 200


def test_a_body_with_a_large_file_is_refused_before_it_is_read() -> None:
    service = Service(scripted_model(answer), limits=Limits(body_bytes=1 << 20))
    with TestClient(create_app(service), "http://127.0.0.1", raise_server_exceptions=False) as client:
        response = ask(client, part(bytes(1 << 20)))
    assert response.status_code in (400, 413)


def test_what_cannot_fit_into_the_context_is_refused_before_it_is_decoded() -> None:
    """The picture's data is damaged, which nobody finds out."""
    whole = saved(rgb(1000, 1000), "PNG")
    with TestClient(create_app(Service(scripted_model(answer, context=512))), "http://127.0.0.1") as client:
        response = ask(client, part(whole[:2000]))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_pictures_of_all_requests_are_decoded_one_after_the_other(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of 64 megapixels takes a gigabyte while it is decoded."""
    running, most = 0, 0

    def decode(*arguments: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return resized_picture(*arguments)

    monkeypatch.setattr(prepared, "resized_picture", decode)
    parts = [[part(saved(rgb(seed=100 + 10 * n + i), "PNG")) for i in range(3)] for n in range(4)]
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(ask, client, *p, role="tool" if n % 2 else "user") for n, p in enumerate(parts)]
        assert [one.result().status_code for one in asked] == [200] * 4
    assert most == 1


def test_a_waiting_picture_counts_with_its_file_and_its_pixels() -> None:
    service = Service(scripted_model(answer))
    content = [Source("image", saved(rgb(320, 320), "PNG")).part]
    request = ChatRequest(({"role": "user", "content": content},))
    prompt = service.rendered(request)
    loop: Any = None
    ticket = Ticket(prompt, request.options, service.model.form_of(request), record.Record(), loop, media_bytes=1000)
    assert ticket.held_bytes > 1000 + 3 * 320 * 320
    assert media_bytes(request) == len(content[0]["image"].data)
