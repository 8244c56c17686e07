"""Middleware for keys, hosts and bodies; and monitoring: health, metrics, log lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from shoestring.errors import RequestError
from shoestring.server.http.app import create_app
from shoestring.server.http.exposure import check_exposure, is_loopback
from shoestring.server.http.keys import Key, read_keys
from shoestring.server.http.logs.log import RequestLog
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import scripted_model

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
URL = "/v1/chat/completions"


@contextmanager
def served(settings: Settings, base: str = "http://127.0.0.1", **log: Any) -> Iterator[TestClient]:
    app = create_app(Service(scripted_model(context=2048)), settings, RequestLog(**log) if log else None)
    with TestClient(app, base, raise_server_exceptions=False) as client:
        yield client


def test_without_a_key_only_the_page_is_served() -> None:
    with served(Settings(api_keys=("one", "zwei é"))) as client:
        for path in ("/v1/models", URL, "/v1/messages", "/api/tags", "/metrics", "/tokenize", "/nothing"):
            assert client.get(path).status_code == 401, path
        for path in ("/health", "/health/live", "/health/ready", "/", "/page/style.css", "/openapi.json"):
            assert client.get(path).status_code == 200, path
        for headers in (
            {"Authorization": "Bearer on"},
            {"Authorization": "Bearer onee"},
            {"Authorization": "Basic one"},
            {"Authorization": "one"},
            {"x-api-key": "two"},
            {"x-api-key": ""},
        ):
            assert client.get("/v1/models", headers=headers).status_code == 401
        for headers in ({"Authorization": "Bearer one"}, {"authorization": "bearer one"}, {"x-api-key": "one"}):
            assert client.get("/v1/models", headers=headers).status_code == 200
        assert client.get("/v1/models", headers={b"x-api-key": "zwei é".encode()}).status_code in (200, 401)


def test_a_refusal_has_the_apis_shape() -> None:
    with served(Settings(api_keys=("one",))) as client:
        assert client.get("/v1/models").json()["error"]["type"] == "authentication_error"
        assert client.post("/v1/messages").json()["type"] == "error"
        assert client.post("/v1/messages").json()["error"]["type"] == "authentication_error"
        assert isinstance(client.get("/api/tags").json()["error"], str)
    with served(Settings()) as client:
        assert client.get("/v1/nothing").json()["error"]["type"] == "not_found_error"
        assert client.get(URL).status_code == 405
        assert client.post("/v1/messages", content=b"[]").json()["type"] == "error"
        assert client.get("/v1/models/none").json()["error"]["code"] == "model_not_found"


def test_keys_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\n  first \n\nsecond\n")
    assert read_keys(Settings(api_keys=("zero",), api_key_file=str(file))) == (Key("zero"), Key("first"), Key("second"))
    file.write_text("# none\n")
    for wrong in (file, tmp_path / "absent", tmp_path):
        with pytest.raises(RequestError, match="api-key-file"):
            read_keys(Settings(api_key_file=str(wrong)))


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        (Settings(), True),
        (Settings(host="::1"), True),
        (Settings(host="localhost"), True),
        (Settings(host="0.0.0.0"), False),
        (Settings(host="::"), False),
        (Settings(host="192.168.1.2"), False),
        (Settings(host="example.org"), False),
        (Settings(host="0.0.0.0", no_auth=True), True),
        (Settings(host="0.0.0.0", api_keys=("k",)), True),
        (Settings(no_auth=True, api_keys=("k",)), False),
    ],
)
def test_other_machines_need_a_key_or_no_auth(settings: Settings, allowed: bool) -> None:
    if allowed:
        check_exposure(settings, settings.api_keys)
    else:
        with pytest.raises(RequestError, match="no-auth"):
            check_exposure(settings, settings.api_keys)


def test_loopback_addresses() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")))
    assert not any(map(is_loopback, ("", "localhost.evil.org", "127.0.0.1.evil.org", "0.0.0.0", "evil")))


def test_other_host_names_and_origins_are_refused() -> None:
    with served(Settings(allow_hosts=("box.lan",))) as client:
        for host in ("127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "box.lan", "box.lan:80"):
            assert client.get("/v1/models", headers={"Host": host}).status_code == 200, host
        for host in (
            *("evil.org", "evil.org:8080", "127.0.0.1.evil.org", "[::2]:1", "user@localhost", "localhost:evil.org"),
            *("[::1].evil.com", "[::1]evil.com", "[::1]:1.evil.org", "[::1", "[::1]:", "[", "::1"),
            *("localhost:80:80", "localhost.", "localhost/.evil.org", "x" * 5000),
        ):
            assert client.get("/v1/models", headers={"Host": host}).status_code == 403, host
        for origin in ("http://127.0.0.1:8080", "http://localhost:3000", "https://box.lan"):
            assert client.post(URL, json=CHAT, headers={"Origin": origin}).status_code == 200, origin
        for origin in (
            *("http://evil.org", "https://localhost.evil.org", "nonsense", "chrome-extension://x", "http://[", ""),
            *("http://[::1].evil.com", "http://localhost@evil.org", "http://[::1]]"),
        ):
            assert client.post(URL, json=CHAT, headers={"Origin": origin}).status_code == 403, origin
        assert "access-control-allow-origin" not in client.get("/v1/models", headers={"Origin": "null"}).headers
    with served(Settings(api_keys=("k",))) as client:
        headers = {"Host": "proxy.example.org", "x-api-key": "k"}
        assert client.get("/v1/models", headers=headers).status_code == 200


def test_programs_may_send_any_content_type_and_pages_only_json() -> None:
    with served(Settings()) as client:
        content = json.dumps(CHAT).encode()
        for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
            assert client.post(URL, content=content, headers={"Content-Type": kind}).status_code == 200, kind
        page = {"Content-Type": "text/plain", "Origin": "http://localhost"}
        assert client.post(URL, content=content, headers=page).status_code == 400


def test_a_large_body_is_refused_by_header_or_size() -> None:
    with served(Settings(max_body=5000)) as client:
        large = json.dumps({**CHAT, "user": "x" * 6000}).encode()
        told = client.post(URL, content=large)
        found = client.post(URL, content=(large[i : i + 500] for i in range(0, len(large), 500)))
        for response in (told, found):
            assert response.status_code == 413
            assert "5000 bytes" in response.json()["error"]["message"]
        assert client.post("/v1/messages", content=large).json()["error"]["type"] == "request_too_large"
        assert client.post(URL, json=CHAT).status_code == 200


def test_health_reports_whether_requests_are_accepted() -> None:
    with served(Settings()) as client:
        assert client.get("/health").json()["status"] == "ok"
        client.app.state.service.refuse_new()  # type: ignore[attr-defined]
        assert client.get("/health/live").status_code == 200
        assert client.get("/health").status_code == client.get("/health/ready").status_code == 503
        refused = client.post(URL, json=CHAT)
        assert refused.status_code == 503
        assert "Retry-After" in refused.headers


def test_metrics() -> None:
    with served(Settings()) as client:
        for _ in range(2):
            usage = client.post(URL, json=CHAT).json()["usage"]
        client.post(URL, json={})
        client.get("/v1/models/a/b")
        text = client.get("/metrics").text

        def value(name: str) -> float:
            found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
            assert found, name
            return float(found.group(1))

        assert value(f'shoestring_requests_total{{endpoint="{URL}",status="200"}}') == 2
        assert value(f'shoestring_requests_total{{endpoint="{URL}",status="400"}}') == 1
        assert value("shoestring_prompt_tokens_total") == 2 * usage["prompt_tokens"]
        assert value("shoestring_cached_tokens_total") == usage["prompt_tokens_details"]["cached_tokens"]
        assert value("shoestring_generated_tokens_total") == 2 * usage["completion_tokens"]
        assert value("shoestring_time_to_first_token_seconds_count") == 2
        assert value("shoestring_inter_token_seconds_count") == 2 * (usage["completion_tokens"] - 1)
        assert value("shoestring_requests_running") == value("shoestring_requests_waiting") == 0
        pages = [value(f'shoestring_global_pages{{state="{state}"}}') for state in ("used", "cached", "free")]
        assert pages[0] == 0
        assert sum(pages) == client.app.state.service.model.engine.capacity.global_pages  # type: ignore[attr-defined]


def test_one_log_line_per_request() -> None:
    lines: list[str] = []
    with served(Settings(), as_json=False, write=lines.append) as client:
        client.post(URL, json=CHAT)
        client.post(URL, json=CHAT)
        client.post(URL, json={**CHAT, "foo": 1})
        client.get("/v1/none%0Ahidden")
        client.get("/health")
    assert len(lines) == 4
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d  POST {URL}  200  prompt \d+  first token [\d.]+ s  \d+ tokens, [\d.]+/s  stop  [\d.]+ s"
        r"  testclient  req_[0-9a-f]{24}",
        lines[0],
    )
    assert "% cached" in lines[1]
    assert lines[2].endswith("failed: foo is not supported")
    assert not any("\n" in line for line in lines)


def test_the_log_as_json() -> None:
    lines: list[str] = []
    with served(Settings(), as_json=True, write=lines.append) as client:
        usage = client.post(URL, json=CHAT).json()["usage"]
        client.post(URL, json={"messages": "a"})
    good, bad = map(json.loads, lines)
    assert good["prompt_tokens"] == usage["prompt_tokens"]
    assert good["output_tokens"] == usage["completion_tokens"]
    assert good["finish_reason"] == "stop"
    assert 0 < good["first_token_seconds"] <= good["total_seconds"]
    assert bad["status"] == 400
    assert "messages" in bad["failure"]


def test_models_are_listed_and_found_by_each_name() -> None:
    service = Service(scripted_model(context=2048))
    from shoestring.server.facts import served_model

    service.info = served_model(service.model, "mine", ("other/name", "*"))
    with TestClient(create_app(service), "http://127.0.0.1") as client:
        assert [entry["id"] for entry in client.get("/v1/models").json()["data"]] == ["mine", "other/name"]
        entry = client.get("/v1/models/other/name").json()
        assert (entry["context_length"], entry["family"], entry["thinking"]) == (2048, "qwen3_5", True)
        assert client.post(URL, json={**CHAT, "model": "whatever"}).status_code == 200


def test_openapi_names_every_endpoint() -> None:
    with served(Settings()) as client:
        paths = client.get("/openapi.json").json()["paths"]
    wanted = (
        URL,
        "/v1/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/api/chat",
        "/metrics",
    )
    assert set(wanted) <= set(paths)


def test_an_error_about_files_names_none_to_clients() -> None:
    from shoestring.errors import CheckpointError
    from shoestring.server.errors import from_exception

    error = from_exception(CheckpointError("/srv/models/a.gguf has changed"))
    assert error.status == 500
    assert "/srv" not in error.message


ORIGIN = "app://obsidian.md"


def preflight(origin: str, **more: str) -> dict[str, str]:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
    return {"Origin": origin, **asked, **more}


def test_pages_of_allowed_origins_may_use_the_server() -> None:
    with served(Settings(allow_origins=(ORIGIN, "https://a.example:8443"))) as client:
        for origin in (ORIGIN, "https://a.example:8443"):
            answer = client.options(URL, headers=preflight(origin))
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
            assert "origin" in answer.headers["vary"].lower()
            answer = client.post(URL, json=CHAT, headers={"Origin": origin})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        for origin in ("http://evil.org", "https://a.example", ORIGIN + ".evil", "https://a.example:8443.evil.org"):
            assert client.options(URL, headers=preflight(origin)).status_code == 400, origin
            answer = client.post(URL, json=CHAT, headers={"Origin": origin})
            assert answer.status_code == 403, origin
            assert "access-control-allow-origin" not in answer.headers


def test_preflights_need_no_key_and_errors_can_be_read() -> None:
    with served(Settings(allow_origins=(ORIGIN,), api_keys=("k",))) as client:
        assert client.options(URL, headers=preflight(ORIGIN)).status_code == 200
        for key, status in (("k", 200), ("wrong", 401)):
            answer = client.post(URL, json=CHAT, headers={"Origin": ORIGIN, "Authorization": f"Bearer {key}"})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
    with served(Settings(api_keys=("k",))) as client:
        assert client.options(URL, headers=preflight(ORIGIN)).status_code == 401


def test_any_origin() -> None:
    with served(Settings(allow_origins=("*",))) as client:
        answer = client.post(URL, json=CHAT, headers={"Origin": "http://evil.org"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert client.post(URL, json=CHAT, headers={"Host": "evil.org"}).status_code == 403


def test_no_answer_is_sniffed() -> None:
    with served(Settings(api_keys=("k",))) as client:
        key = {"x-api-key": "k"}
        answers = [
            client.post(URL, json=CHAT, headers=key),
            client.post(URL, json={**CHAT, "stream": True}, headers=key),
            client.post(URL, json={"messages": 5}, headers=key),
            client.post(URL, json=CHAT),
            *(client.get(path, headers=key) for path in ("/", "/metrics", "/health", "/v1/models", "/none")),
        ]
    for answer in answers:
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"], answer.url


def test_metrics_have_no_times_of_creation() -> None:
    with served(Settings()) as client:
        client.post(URL, json=CHAT)
        assert "_created" not in client.get("/metrics").text


@pytest.mark.parametrize("as_json", [False, True])
def test_the_log_has_the_path_that_was_asked_for(as_json: bool) -> None:
    lines: list[str] = []
    with served(Settings(), as_json=as_json, write=lines.append) as client:
        client.get("/v1/models/a/b")
        client.get("/v1/none%1b[2J?key=secret")
        client.get("/" + "x" * 5000)
        metrics = client.get("/metrics").text
    assert "/v1/models/a/b" in lines[0]
    assert "{name" not in lines[0]
    assert "/v1/none" in lines[1]
    assert "\x1b" not in lines[1]
    assert "secret" not in lines[1]
    assert lines[2].count("x") < 600
    assert 'endpoint="/v1/models/{name:path}"' in metrics
    assert "/v1/models/a/b" not in metrics


def test_an_answer_that_ended_inside_thinking_is_marked_in_the_log() -> None:
    lines: list[str] = []
    with served(Settings(), as_json=True, write=lines.append) as client:
        client.post(URL, json={**CHAT, "max_tokens": 1, "enable_thinking": True})
        client.post(URL, json={**CHAT, "max_tokens": 1, "enable_thinking": False})
    assert [json.loads(line)["finish_reason"] for line in lines] == ["length inside thinking", "length"]
