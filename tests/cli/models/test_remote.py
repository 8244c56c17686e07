"""chat and bench with --url against our own server: same answers as the model, one-line errors."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
from running import running

from shoestring.cli.app import run
from shoestring.client import base_of
from shoestring.errors import RequestError
from shoestring.server.http.app import create_app
from shoestring.server.service import Service
from shoestring.testing import Reply, scripted_model


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    model = scripted_model({"hi": Reply("hello 👋", thinking="greet")}, context=4096)
    with running(create_app(Service(model))) as address:
        yield address


def test_chat(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hi\nand you?\n"), encoding="utf-8"))
    assert run(["chat", "--url", url, "--no-thinking", "--temperature", "0"]) == 0
    out, err = capsys.readouterr()
    assert "hello 👋" in out
    assert "You said: and you?" in out
    assert err.count("prompt tokens") == 2


def test_bench(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--url", url, "-p", "5", "-g", "12", "-r", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["samples"]["first_token_seconds"]) == 2
    assert facts["first_token_seconds"] > 0
    assert facts["decode_tokens_per_second"] > 0
    assert run(["bench", "--url", url, "-p", "5", "-g", "12", "-r", "1"]) == 0
    assert "tokens/s" in capsys.readouterr().out


def test_the_key_comes_only_from_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    assert run(["bench", "--url", url, "--api-key-env", "NO_SUCH_KEY"]) == 2
    assert "NO_SUCH_KEY, which is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chat", "--url", "http://127.0.0.1:1"], "no answer from http://127.0.0.1:1"),
        (["bench", "--url", "ftp://x"], "--url is 'ftp://x'"),
        (["bench", "--url", "nonsense"], "--url is 'nonsense'"),
    ],
)
def test_wrong_addresses_are_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_an_unknown_model_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--url", url, "--remote-model", "gpt"]) == 2
    assert "returned 404" in capsys.readouterr().err


def test_an_address_without_a_path_means_v1() -> None:
    assert base_of("http://h:1") == base_of("http://h:1/v1/") == "http://h:1/v1/"
    assert base_of("https://h/api/v2") == "https://h/api/v2/"
    with pytest.raises(RequestError):
        base_of("http://")
