"""A server whose model streams: its log, its metrics, and what names the model when its experts a token are changed."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from shoestring.runtime.finding import find
from shoestring.runtime.loading import least_memory, load
from shoestring.runtime.opening import open_model
from shoestring.server.facts import served_model
from shoestring.server.http.app import create_app
from shoestring.server.http.logs.log import RequestLog
from shoestring.server.service import Service
from shoestring.testing import scripted_model

CHANGED = "2 experts a token instead of 1"
QUESTION = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "temperature": 0}


@dataclass(frozen=True)
class Serving:
    client: TestClient
    lines: list[str]
    entries: list[str]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    least = least_memory(open_model(find("demo-llama4")))
    assert least is not None
    with load("demo-llama4", context=512, memory=least + (45 << 20), experts_per_token=2) as model:
        lines: list[str] = []
        entries: list[str] = []
        text, objects = RequestLog(as_json=False, write=lines.append), RequestLog(as_json=True, write=entries.append)

        def log(entry: Any) -> None:
            text(entry)
            objects(entry)

        app = create_app(Service(model, served_model(model, "m")), log=log)
        with TestClient(app, "http://127.0.0.1") as client:
            yield Serving(client, lines, entries)


def metrics(client: TestClient) -> dict[str, float]:
    pairs = (line.rpartition(" ") for line in client.get("/metrics").text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_the_log_and_the_metrics_count_experts(serving: Serving) -> None:
    before = metrics(serving.client)
    for _ in range(2):
        assert serving.client.post("/v1/chat/completions", json=QUESTION).status_code == 200
    after = metrics(serving.client)
    asked = after["shoestring_experts_asked_total"] - before["shoestring_experts_asked_total"]
    assert asked >= 2 * 7 * 30 * 2
    assert 0 < after["shoestring_experts_hits_total"] < after["shoestring_experts_asked_total"]
    assert after["shoestring_experts_read_bytes_total"] > 0
    assert after["shoestring_experts_disk_seconds_total"] > 0
    assert 0 < after["shoestring_experts_resident_share"] < 1
    assert after["shoestring_slowest_layer_seconds"] > 0
    assert not [name for name in after if "_created" in name]
    assert re.search(r"8 tokens, [\d.]+/s  experts \d+% in memory, [\d.]+ GB read  ", serving.lines[-1])
    entry = json.loads(serving.entries[-1])
    assert 0 < entry["expert_hit_rate"] <= 1
    assert entry["expert_read_bytes"] >= 0


def test_the_pause_is_logged_once() -> None:
    least = least_memory(open_model(find("demo-llama4")))
    assert least is not None
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("shoestring.server"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with load("demo-llama4", context=256, memory=least + (45 << 20)) as model:
            service = Service(model)
            with TestClient(create_app(service), "http://127.0.0.1") as client:
                for _ in range(2):
                    assert client.post("/v1/chat/completions", json=QUESTION).status_code == 200
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert [bool(re.search(r"an answer pauses for a layer's time: [\d.]+ s", message)) for message in messages] == [
        True
    ]


def test_changed_experts_are_part_of_every_answers_identity(serving: Serving) -> None:
    client = serving.client
    (entry,) = client.get("/v1/models").json()["data"]
    assert entry["changed_experts"] == CHANGED
    assert client.post("/api/show", json={"model": "m"}).json()["model_info"]["shoestring.changed_experts"] == CHANGED
    assert client.post("/v1/chat/completions", json=QUESTION).json()["system_fingerprint"] == CHANGED
    completion = {"prompt": "hi", "max_tokens": 2}
    assert client.post("/v1/completions", json=completion).json()["system_fingerprint"] == CHANGED
    for path, body in (("/v1/chat/completions", QUESTION), ("/v1/completions", completion)):
        text = client.post(path, json={**body, "stream": True}).text
        chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        assert {chunk["system_fingerprint"] for chunk in chunks} == {CHANGED}


def test_an_unusual_kv_type_is_part_of_every_answers_identity() -> None:
    model = scripted_model()
    with TestClient(create_app(Service(model)), "http://127.0.0.1") as client:
        (usual,) = client.get("/api/tags").json()["models"]
    model.engine.kv_type = "q8_0"
    with TestClient(create_app(Service(model)), "http://127.0.0.1") as client:
        assert client.get("/v1/models").json()["data"][0]["kv_type"] == "q8_0"
        answer = client.post("/v1/chat/completions", json=QUESTION).json()
        assert answer["system_fingerprint"] == "keys and values in q8_0"
        assert client.get("/api/tags").json()["models"][0]["digest"] != usual["digest"]


def test_a_model_in_memory_says_nothing_of_it() -> None:
    lines: list[str] = []
    entries: list[str] = []
    for as_json, written in ((False, lines), (True, entries)):
        log = RequestLog(as_json=as_json, write=written.append)
        with TestClient(create_app(Service(scripted_model()), log=log), "http://127.0.0.1") as client:
            answer = client.post("/v1/chat/completions", json=QUESTION).json()
            assert "system_fingerprint" not in answer
            (entry,) = client.get("/v1/models").json()["data"]
            assert entry["changed_experts"] is None
            assert entry["kv_type"] == "f16"
            found = metrics(client)
            assert found["shoestring_experts_asked_total"] == 0
            assert found["shoestring_experts_resident_share"] == 1
    assert not [line for line in (*lines, *entries) if "expert" in line]
