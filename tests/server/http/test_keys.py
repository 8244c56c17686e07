"""Keys with names: in the log and the metrics a key shows as its name or a digest, never as itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from shoestring.errors import RequestError
from shoestring.server.http import metrics
from shoestring.server.http.app import create_app
from shoestring.server.http.keys import Key, read_keys
from shoestring.server.http.logs.log import RequestLog
from shoestring.server.http.metrics import Metrics
from shoestring.server.http.record import Record
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import scripted_model

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
URL = "/v1/chat/completions"


def test_a_line_is_a_key_or_a_name_and_a_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nsk-1\nteam-a   sk-2\n\tteam-a sk-3 \n# old sk-4\n")
    keys = read_keys(Settings(api_key_file=str(file)))
    assert keys == (Key("sk-1"), Key("sk-2", "team-a"), Key("sk-3", "team-a"))
    assert "sk-" not in repr(keys)


@pytest.mark.parametrize(
    "line", ["a b secret", "té secret", "a/b secret", f"{'n' * 41} secret", "none secret", "- secret"]
)
def test_other_lines_are_refused_without_repeating_them(line: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"good\n{line}\n")
    with pytest.raises(RequestError, match=r"keys, line 2") as caught:
        read_keys(Settings(api_key_file=str(file)))
    assert "secret" not in str(caught.value)


def test_a_file_of_keys_may_be_a_pipe() -> None:
    """It can be read once: `serve` reads it before the model is loaded."""
    read, write = os.pipe()
    os.write(write, b"team-a sk-1\n")
    os.close(write)
    settings = Settings(api_key_file=f"/dev/fd/{read}")
    keys = read_keys(settings)
    os.close(read)
    with TestClient(create_app(Service(scripted_model()), settings, keys=keys), "http://127.0.0.1") as client:
        assert client.get("/v1/models", headers={"x-api-key": "sk-1"}).status_code == 200
        assert client.get("/v1/models", headers={"x-api-key": "team-a"}).status_code == 401


def test_metrics_and_log_by_key() -> None:
    lines: list[str] = []
    keys = (Key("sk-named", "team-a"), Key("sk-too", "team-a"), Key("sk-plain"))
    app = create_app(
        Service(scripted_model(context=2048)), Settings(), RequestLog(as_json=True, write=lines.append), keys
    )
    digest = hashlib.sha256(b"sk-plain").hexdigest()[:8]
    with TestClient(app, "http://127.0.0.1") as client:
        used = {}
        for key in ("sk-named", "sk-too", "sk-plain"):
            answer = client.post(URL, json=CHAT, headers={"Authorization": f"Bearer {key}"})
            used[key] = answer.json()["usage"]
        assert client.post(URL, json={}, headers={"x-api-key": "sk-plain"}).status_code == 400
        assert client.post(URL, json=CHAT, headers={"x-api-key": "sk-guessed"}).status_code == 401
        text = client.get("/metrics", headers={"x-api-key": "sk-plain"}).text

    def value(name: str) -> float:
        found = re.search(rf"^shoestring_key_{re.escape(name)} (\S+)$", text, re.M)
        assert found, name
        return float(found[1])

    assert value('requests_total{key="team-a",status="200"}') == 2
    assert value(f'requests_total{{key="{digest}",status="200"}}') == 1
    assert value(f'requests_total{{key="{digest}",status="400"}}') == 1
    assert value('requests_total{key="none",status="401"}') == 1
    for name, field in (("prompt_tokens", "prompt_tokens"), ("generated_tokens", "completion_tokens")):
        assert value(f'{name}_total{{key="team-a"}}') == used["sk-named"][field] + used["sk-too"][field]
        assert value(f'{name}_total{{key="{digest}"}}') == used["sk-plain"][field]
    assert value('cached_tokens_total{key="team-a"}') == 0
    assert [json.loads(line)["key"] for line in lines] == ["team-a", "team-a", digest, digest, None]
    for secret in ("sk-named", "sk-too", "sk-plain", "sk-guessed"):
        assert secret not in text
        assert secret not in "".join(lines)


def test_more_keys_than_series_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_MOST_KEYS", 3)
    counters = Metrics()
    for _ in range(2):
        for number in range(10):
            counters(Record(endpoint="/v1/x", status=200, key=f"k{number}"))
    (family,) = [f for f in counters.registry.collect() if f.name == "shoestring_key_requests"]
    assert {sample.labels["key"]: sample.value for sample in family.samples} == {"k0": 2, "k1": 2, "k2": 2, "other": 14}


def test_metrics_are_written_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    write = metrics.generate_latest

    def watched(registry: Any) -> bytes:
        names.append(threading.current_thread().name)
        return write(registry)

    monkeypatch.setattr(metrics, "generate_latest", watched)
    with TestClient(create_app(Service(scripted_model())), "http://127.0.0.1") as client:
        assert "shoestring_requests_total" in client.get("/metrics").text
    assert names[0] == "translate"
