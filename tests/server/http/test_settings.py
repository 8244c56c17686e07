"""Settings: precedence of flag, environment, file and default; unknown names and invalid values are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from shoestring.cli.serve import serve
from shoestring.errors import RequestError
from shoestring.server.http.settings import SINGULAR, Settings, resolve
from shoestring.sizes import bytes_of

FILE = """
model = "a.gguf"
port = 1
queue = 1
api-key = "k"
alias = ["x", "y"]
memory = "2GiB"
keep_alive = 3
"""


def test_flags_override_environment_override_file_override_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(FILE)
    environment = {"SHOESTRING_PORT": "2", "SHOESTRING_QUEUE": "2", "SHOESTRING_ISA": "avx2", "PATH": "/"}
    found = resolve({"port": 3, "model": None, "aliases": ()}, environment, file)
    settings = found.settings
    assert (settings.port, settings.queue, settings.model, settings.host) == (3, 2, "a.gguf", "127.0.0.1")
    assert (settings.api_keys, settings.aliases) == (("k",), ("x", "y"))
    assert settings.memory == 2 << 30
    assert settings.limits.keep_alive_seconds == 3
    assert {name: found.sources[name] for name in ("port", "queue", "model", "host")} == {
        "port": "flag",
        "queue": "environment",
        "model": "file",
        "host": "default",
    }
    assert resolve({}, {"SHOESTRING_CONFIG": str(file)}).settings.port == 1


def test_every_setting_can_be_a_variable() -> None:
    texts: dict[str, Any] = {"str": "f32", "bool": "yes", "tuple": "a, b"}
    for field in dataclasses.fields(Settings):
        kind = str(field.type)
        text = next((text for key, text in texts.items() if key in kind), "f32" if "KVType" in kind else "7")
        if field.name == "max_body":
            text = "7MB"
        if field.name == "allow_origins":
            text = "app://a, https://b.example:8080"
        if field.name == "trusted_proxies":
            text = "127.0.0.1, 10.0.0.0/8"
        found = resolve({}, {f"SHOESTRING_{field.name.upper()}": text}).settings
        assert getattr(found, field.name) not in (None, False, (), field.default), field.name


def test_variables_of_kernels_and_tests_are_no_settings() -> None:
    environment = {"SHOESTRING_ISA": "scalar", "SHOESTRING_TEST_EXAMPLES": "many", "SHOESTRING_PORT": ""}
    assert resolve({}, environment).settings == Settings()
    with pytest.raises(RequestError, match="SHOESTRING_EXAMPLES"):
        resolve({}, {"SHOESTRING_EXAMPLES": "9"})


def test_every_setting_is_an_option_of_serve() -> None:
    import inspect

    options = set(inspect.signature(serve.serve).parameters) - {"config", "debug", "dry_run"}
    assert {SINGULAR.get(field.name, field.name) for field in dataclasses.fields(Settings)} == options


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"SHOESTRING_PROT": "1"}, "SHOESTRING_PORT"),
        ({"SHOESTRING_PORT": "many"}, "SHOESTRING_PORT"),
        ({"SHOESTRING_PORT": "70000"}, "SHOESTRING_PORT"),
        ({"SHOESTRING_NO_AUTH": "perhaps"}, "SHOESTRING_NO_AUTH"),
        ({"SHOESTRING_MEMORY": "much"}, "SHOESTRING_MEMORY"),
        ({"SHOESTRING_KV_TYPE": "f8"}, "SHOESTRING_KV_TYPE"),
        ({"SHOESTRING_PARALLEL": "0"}, "SHOESTRING_PARALLEL"),
        ({"SHOESTRING_CONFIG": "/nowhere.toml"}, "nowhere"),
    ],
)
def test_wrong_variables_are_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        resolve({}, environment)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1", "port"),
        ("port = true", "a number"),
        ("port = 1.5", "a number"),
        ('no_auth = "yes"', "true or false"),
        ("api_keys = [1]", "list of strings"),
        ("model = 3", "a string"),
        ("[server]\nport = 1", "server"),
        ("port =", "TOML"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(RequestError, match=named) as refused:
        resolve({}, {}, file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("12", 12), ("12GiB", 12 << 30), ("1.5 KB", 1500), ("4g", 4 * 10**9), ("3Mi", 3 << 20), (5, 5)],
)
def test_sizes(text: Any, expected: int) -> None:
    assert bytes_of(text, "it") == expected


@pytest.mark.parametrize("text", ["", "GiB", "-1", -1, "1.2.3GB", "1 parsec", True, 1.5, None])
def test_invalid_sizes(text: Any) -> None:
    with pytest.raises(RequestError, match="12GiB"):
        bytes_of(text, "it")


@pytest.mark.parametrize("origin", ["https://example.org", "http://localhost:3000", "app://obsidian.md", "*", "null"])
def test_origins(origin: str) -> None:
    assert resolve({"allow_origins": (origin,)}, {}).settings.allow_origins == (origin,)
    assert resolve({}, {"SHOESTRING_ALLOW_ORIGIN": origin}).settings.allow_origins == (origin,)


@pytest.mark.parametrize(
    "origin", ["example.org", "https://example.org/", "https://a b", "https://", "https://u@x", ""]
)
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(RequestError, match="allow-origin"):
        resolve({"allow_origins": (origin,)}, {})
