"""Requests as real programs send them, with what is wanted: examples of kinds, on both families."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from more_requests import MORE, ORIGIN, ORIGINS
from starlette.testclient import TestClient

from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import Family, Reply, scripted_model

FOLDER = Path(__file__).parent
REQUESTS: list[dict[str, Any]] = json.loads((FOLDER / "requests.json").read_text()) + [
    {"kind": kind, "name": name, "path": path, "body": body, "want": want, "headers": headers}
    for (kind, name, path, body, want), headers in [*((asked, None) for asked in MORE), *ORIGINS]
]
#: how many of them are in the file
REPORTED = 38
REPLIES = {
    "hi": Reply("Hello.", thinking="hm"),
    "stops thinking": Reply(raw="<think>\nthis thought ends with the answer's end token"),
}


@pytest.fixture(scope="module", params=["qwen3_5", "llama4"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    family: Family = request.param
    replies = {key: reply for key, reply in REPLIES.items() if family == "qwen3_5" or reply.raw is None}
    model = scripted_model(replies, family=family)
    app = create_app(Service(model), Settings(allow_origins=(ORIGIN,)))
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def test_there_are_five_more_of_each_kind() -> None:
    reported = {asked["kind"] for asked in REQUESTS[:REPORTED]}
    assert len(reported) == 14
    own = Counter(asked["kind"] for asked in REQUESTS[REPORTED:])
    assert {kind: own[kind] for kind in reported if own[kind] < 5} == {}


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: f"{asked['kind']}: {asked['name']}"[:80])
def test_requests(client: TestClient, asked: dict[str, Any], request: pytest.FixtureRequest) -> None:
    if asked["kind"] == "answer-that-ended-inside-thinking" and "llama4" in request.node.callspec.id:
        pytest.skip("the family does not think")
    body = json.loads(json.dumps(asked["body"]).replace("$MODEL", "scripted"))
    want = asked["want"]
    answer = client.post(asked["path"], json=body, headers=asked.get("headers"))
    statuses = want["status"] if isinstance(want["status"], list) else [want["status"]]
    assert answer.status_code in statuses, answer.text
    assert not want.get("has") or any(text in answer.text for text in want["has"]), answer.text
    assert not any(text in answer.text for text in want.get("lacks", ())), answer.text
