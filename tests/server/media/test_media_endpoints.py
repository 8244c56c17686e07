"""/media/tokens, /tokenize with pictures, and what a server says of a model that sees or does not."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from odd_pictures import rgb, saved
from starlette.testclient import TestClient
from web_stand_in import PUBLIC, StandIn, answer

from shoestring.server.http.app import create_app
from shoestring.server.service import Service
from shoestring.testing import Family, scripted_model

DATA_URL = f"data:image/png;base64,{base64.b64encode(saved(rgb(300, 400), 'PNG')).decode()}"
PART = {"type": "image_url", "image_url": {"url": DATA_URL}}
MISSING = "the model has no eyes: put mmproj-F16.gguf beside it"


@pytest.fixture(scope="module", params=["qwen3_5", "llama4"])
def family(request: pytest.FixtureRequest) -> Family:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def client(family: Family) -> Iterator[TestClient]:
    with TestClient(create_app(Service(scripted_model(family=family))), "http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="module")
def blind() -> Iterator[TestClient]:
    with TestClient(create_app(Service(scripted_model(blind=MISSING))), "http://127.0.0.1") as client:
        yield client


def count(client: TestClient, *content: dict[str, Any]) -> int:
    answer = client.post("/tokenize", json={"messages": [{"role": "user", "content": list(content)}]})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["tokens"]) == answer.json()["count"]
    return int(answer.json()["count"])


def test_a_picture_costs_what_it_takes_of_the_prompt(client: TestClient, family: Family) -> None:
    cost = client.post("/media/tokens", json=PART | {"type": None}).json()
    assert (cost["kind"], cost["width"], cost["height"], cost["seconds"]) == ("image", 400, 300, 0)
    words = {"type": "text", "text": "What is this?"}
    assert count(client, words, PART) - count(client, words) == cost["tokens"]
    assert cost["tokens"] == (9 * 12 + 2 if family == "qwen3_5" else 144 * 3 + 2 + 3)
    low = client.post("/media/tokens", json={"image_url": {"url": DATA_URL, "detail": "low"}}).json()["tokens"]
    assert low <= cost["tokens"]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({}, "exactly one of image_url and video_url"),
        ({"image_url": DATA_URL, "video_url": DATA_URL}, "exactly one of image_url and video_url"),
        ({"image_url": "data:image/png;base64,JVBERi0="}, "image_url is a PDF document"),
        ({"image_url": "http://127.0.0.1/a.png"}, "lies on the Web"),
        ({"video_url": DATA_URL}, "is a picture|Llama 4 reads none"),
        ({"image_url": 5}, "needs a url"),
    ],
)
def test_what_it_refuses(client: TestClient, body: dict[str, Any], what: str) -> None:
    answer = client.post("/media/tokens", json=body)
    assert answer.status_code == 400
    assert any(words in answer.json()["error"]["message"] for words in what.split("|")), answer.text


def test_pictures_of_the_web_are_fetched_only_where_that_is_allowed(family: Family) -> None:
    web = StandIn(names={"example.com": [[PUBLIC]]})
    web.scripts["/a.png"] = answer(saved(rgb(300, 400), "PNG"))
    remote = {"type": "image_url", "image_url": {"url": "http://example.com/a.png"}}
    prompts = []
    for allowed, part in ((web.web, remote), (None, PART), (None, remote)):
        app = create_app(Service(scripted_model(family=family), web=allowed))
        body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1}
        with TestClient(app, "http://127.0.0.1") as client:
            reply = client.post("/v1/chat/completions", json=body)
        prompts.append(reply.json()["usage"]["prompt_tokens"] if reply.status_code == 200 else reply.status_code)
    assert prompts[0] == prompts[1] > 100
    assert prompts[2] == 400
    assert web.looked_up == ["example.com"]
    web.close()


def test_a_model_that_sees_says_so(client: TestClient, family: Family) -> None:
    (entry,) = client.get("/v1/models").json()["data"]
    assert entry["input_modalities"] == ["text", "image", *["video"] * (family == "qwen3_5")]
    assert "vision" in client.post("/api/show", json={"model": "scripted"}).json()["capabilities"]


def test_a_model_that_does_not_says_which_file_is_missing(blind: TestClient) -> None:
    (entry,) = blind.get("/v1/models").json()["data"]
    assert entry["input_modalities"] == ["text"]
    assert "vision" not in blind.post("/api/show", json={"model": "scripted"}).json()["capabilities"]
    chat = {"messages": [{"role": "user", "content": [PART]}]}
    for path, body in (("/media/tokens", {"image_url": DATA_URL}), ("/v1/chat/completions", chat), ("/tokenize", chat)):
        answer = blind.post(path, json=body)
        assert answer.status_code == 400
        assert f"image_url is an image: {MISSING}" in answer.json()["error"]["message"]
    tool = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "saved"}, PART]}
    answer = blind.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}, tool]})
    text = answer.json()["choices"][0]["message"]["content"]
    assert "saved\n[an image was left out: only text can be read here]" in text
