"""Settings of the server: each an option of `serve`, a variable SHOESTRING_*, and a key of a TOML file.

Flags override the environment, the environment overrides the file, the file overrides the defaults. Unknown names are
errors that suggest similar ones. Needs none of the server's packages, so that `doctor` can report them missing.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from shoestring.errors import RequestError
from shoestring.files import named_path, read_input_text
from shoestring.kv_types import KV_TYPES, KVType
from shoestring.printable import quoted
from shoestring.server.limits import Limits
from shoestring.sizes import bytes_of, tokens_of

PREFIX = "SHOESTRING_"
#: Bytes of a settings file, and of a file of keys
LARGEST_FILE = 1 << 20
#: Variables of this prefix that are not settings: the kernels' variant, the settings file, and what tests read.
OTHER_VARIABLES = frozenset({f"{PREFIX}ISA", f"{PREFIX}CONFIG"})
TEST_PREFIX = f"{PREFIX}TEST_"

Source = Literal["flag", "environment", "file", "default"]


@dataclass(frozen=True)
class Settings:
    """Settings of `shoestring serve`. None: chosen from the machine and the model."""

    #: a .gguf file, a folder, a Hub name; None: the demo model
    model: str | None = None
    #: what answers: local, ray, vllm, auto, or the URL of a server
    on: str = "local"
    #: variable with this server's key at the server of `on`
    api_key_env: str | None = None
    #: seconds without a byte after which a request to that server fails
    upstream_timeout: float = 600.0
    #: with ray and vllm: N, or MIN:MAX to follow the load
    replicas: str | None = None
    #: the cluster's head, HOST:PORT; None: the cluster of this machine, or a new one
    ray_address: str | None = None
    #: an interpreter that has vLLM; None: the vllm on PATH
    vllm_python: str | None = None
    #: more arguments of `vllm serve`
    vllm_args: tuple[str, ...] = ()
    #: with auto: how many use it at once, and tokens/s that each needs
    users: int = 1
    min_speed: float | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    #: maximum bytes of the whole process
    memory: int | None = None
    #: experts that each token uses; None: the model's own number
    experts_per_token: int | None = None
    #: write which experts the tokens use to this file
    record_routes: str | None = None
    #: GGUF file of the vision tower; None: the one beside the model
    mmproj: str | None = None
    #: most tokens of a picture; None: the model's own limit
    max_image_tokens: int | None = None
    #: frames read of a second of video, and of a whole one; None: the model's own
    video_fps: float | None = None
    max_frames: int | None = None
    #: maximum tokens per request
    context: int | None = None
    #: maximum requests that run at once
    parallel: int | None = None
    #: bytes for the prefix cache
    cache_memory: int | None = None
    #: resume from other API keys' prompts, in whole strides
    share_cache: bool = False
    threads: int | None = None
    kv_type: KVType = "f16"
    #: maximum waiting requests
    queue: int = 64
    api_keys: tuple[str, ...] = ()
    #: one key a line; lines that begin with # are comments
    api_key_file: str | None = None
    no_auth: bool = False
    #: host names to accept in addition to localhost
    allow_hosts: tuple[str, ...] = ()
    #: origins of pages that may use the server; "*": any
    allow_origins: tuple[str, ...] = ()
    #: name of the model for clients; None: from its file
    model_name: str | None = None
    #: other names that requests may use; "*": any
    aliases: tuple[str, ...] = ()
    #: ignore unknown fields of requests, and log each name once
    lenient: bool = False
    #: append the log to this file instead of stderr
    log_file: str | None = None
    json_log: bool = False
    #: PEM files of the certificate chain and its key; the key may stand in the first
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    #: addresses and networks of proxies whose X-Forwarded-For names the client; "*": any
    trusted_proxies: tuple[str, ...] = ()
    #: seconds for running answers to finish on shutdown
    shutdown_timeout: float = 30.0
    #: maximum bytes of a request body
    max_body: int = Limits.body_bytes
    #: fetch pictures and videos whose URL a request has
    allow_remote_media: bool = False
    #: seconds to receive a body
    body_timeout: float = Limits.body_seconds
    #: seconds to wait for a client that does not read
    write_timeout: float = Limits.write_seconds
    #: seconds between keep-alives in a quiet stream
    keep_alive: float = Limits.keep_alive_seconds

    @property
    def limits(self) -> Limits:
        return Limits(
            body_bytes=self.max_body,
            body_seconds=self.body_timeout,
            write_seconds=self.write_timeout,
            keep_alive_seconds=self.keep_alive,
        )


#: Settings whose values are bytes and may be written with a unit.
SIZES = frozenset({"memory", "cache_memory", "max_body"})
#: A single value may also use the singular name.
SINGULAR = {
    "api_keys": "api_key",
    "allow_hosts": "allow_host",
    "allow_origins": "allow_origin",
    "trusted_proxies": "trusted_proxy",
    "aliases": "alias",
    "vllm_args": "vllm_arg",
}
SECRET = frozenset({"api_keys"})


@dataclass(frozen=True)
class Resolved:
    """Settings, and the source of each."""

    settings: Settings
    sources: Mapping[str, Source]
    file: Path | None = None


def resolve(
    flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ, file: str | Path | None = None
) -> Resolved:
    """Merge the sources. flags: None and empty tuples mean "not given".

    Raises RequestError that names the source of an unknown name or an invalid value.
    """
    path = file if file is not None else environment.get(PREFIX + "CONFIG") or None
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {field.name: "default" for field in dataclasses.fields(Settings)}

    def merge(source: Source, more: Mapping[str, Any]) -> None:
        values.update(more)
        sources.update(dict.fromkeys(more, source))

    if path is not None:
        merge("file", from_file(named_path(path)))
    merge("environment", from_environment(environment))
    merge(
        "flag", {name: _checked(name, value, _flag(name)) for name, value in flags.items() if value not in (None, ())}
    )
    settings = Settings(**values)
    _check_ranges(settings, sources)
    _check_origins(settings)
    _check_proxies(settings)
    return Resolved(settings, sources, None if path is None else Path(path))


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Settings from environment variables. Lists are comma-separated."""
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        other = variable in OTHER_VARIABLES or variable.startswith(TEST_PREFIX)
        if text == "" or other or not variable.startswith(PREFIX):
            continue
        name = _known(variable.removeprefix(PREFIX).lower(), variable, PREFIX)
        values[name] = _checked(name, _from_text(name, text), variable)
    return values


def from_file(path: Path) -> dict[str, Any]:
    """Settings from a TOML file. Names are those of the options, with - or _."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        table = tomllib.loads(read_input_text(path, LARGEST_FILE))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RequestError(f"{path} is not valid TOML: {error}") from None
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = _known(key.replace("-", "_"), f"{path}: {key}", "")
        values[name] = _checked(name, tuple(value) if isinstance(value, list) else value, f"{path}: {key}")
    return values


def _known(name: str, where: str, prefix: str) -> str:
    names = {field.name: field.name for field in dataclasses.fields(Settings)}
    names |= {singular: plural for plural, singular in SINGULAR.items()}
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    shown = " or ".join(prefix + (n.upper() if prefix else n) for n in near)
    raise RequestError(f"{where} is not a setting" + (f": did you mean {shown}?" if near else ""))


def _flag(name: str) -> str:
    return "--" + SINGULAR.get(name, name).replace("_", "-")


def _from_text(name: str, text: str) -> Any:
    """The value that a variable's text means; the text itself if it does not fit the setting."""
    kind = get_type_hints(Settings)[name]
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind is bool:
        return _SWITCHES.get(text.lower(), text)
    if kind in (int, int | None, float, float | None) and name not in (*SIZES, "context"):
        try:
            return float(text) if kind in (float, float | None) else int(text)
        except ValueError:
            return text
    return text


_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _checked(name: str, value: Any, where: str) -> Any:
    """Check a value's type; convert sizes with a unit. Raises RequestError."""
    kind = get_type_hints(Settings)[name]
    if name in SIZES:
        return bytes_of(value, where)
    if name == "context":
        return tokens_of(value, where)
    if kind == tuple[str, ...]:
        value = (value,) if isinstance(value, str) else value
        fits = isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)
        expected = "a string or a list of strings"
    elif kind == KVType:
        fits, expected = value in KV_TYPES, f"one of {', '.join(KV_TYPES)}"
    elif kind is bool:
        fits, expected = isinstance(value, bool), "true or false"
    elif kind in (str, str | None):
        fits, expected = isinstance(value, str), "a string"
    else:
        numbers = int | float if kind in (float, float | None) else int
        fits, expected = isinstance(value, numbers) and not isinstance(value, bool), "a number"
    if not fits:
        raise RequestError(f"{where} is {value!r}: give {expected}")
    return value


_RANGES: Mapping[str, tuple[float, float]] = {
    "port": (0, 65535),
    "max_image_tokens": (1, 1 << 24),
    "video_fps": (0.001, 1000),
    "max_frames": (2, 65_536),
    "parallel": (1, 256),
    "queue": (0, 100_000),
    "upstream_timeout": (0.1, 86_400),
    "users": (1, 100_000),
    "min_speed": (0.01, 100_000),
    "shutdown_timeout": (0, 86_400),
    "max_body": (1 << 10, 1 << 40),
    "body_timeout": (0.1, 86_400),
    "write_timeout": (0.1, 86_400),
    "keep_alive": (0.1, 86_400),
}


def _check_ranges(settings: Settings, sources: Mapping[str, Source]) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            where = {"flag": _flag(name), "environment": PREFIX + name.upper()}.get(sources[name], name)
            raise RequestError(f"{where} is {value:g}: choose a value from {low:g} to {high:g}")


#: A scheme, a host and perhaps a port, as browsers send them.
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#@\s]+", re.ASCII)


def _check_origins(settings: Settings) -> None:
    for origin in settings.allow_origins:
        if not _ORIGIN.fullmatch(origin):
            what = "write it as browsers send it, like https://example.org or app://name, or * for any page"
            raise RequestError(f"--allow-origin is {quoted(origin)}: {what}")


def _check_proxies(settings: Settings) -> None:
    for proxy in settings.trusted_proxies:
        try:
            if proxy != "*":
                ipaddress.ip_network(proxy)
        except ValueError:
            what = "give an address like 127.0.0.1, a network like 10.0.0.0/8, or * for any"
            raise RequestError(f"--trusted-proxy is {quoted(proxy)}: {what}") from None
