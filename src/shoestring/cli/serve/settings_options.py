"""Options of `serve` and `doctor` for the server's settings (server/http/settings.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from shoestring.cli.options import Threads
from shoestring.cli.shared import option

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="A .gguf file, a Hugging Face folder or a Hub name. [default: demo-llama4, a test model]"
    ),
]

DryRun = Annotated[
    Path | None,
    typer.Option(
        "--dry-run", metavar="FOLDER", help="With --on: write the files of what would run into FOLDER, start nothing."
    ),
]


@dataclass(frozen=True)
class Served:
    """Settings that `doctor` can check in advance: what to serve, where, to whom, with how much memory."""

    model: Model = None
    host: str | None = option("ADDRESS", "Address to listen on. [default: 127.0.0.1]")
    port: int | None = option("N", "Port to listen on; 0 picks a free one. [default: 8080]", "--port", "-p")
    memory: str | None = option(
        "SIZE",
        "Memory limit of the process, e.g. 12GiB; experts beyond it stream from disk. [default: what is free]",
    )
    experts_per_token: int | None = option(
        "K", "Experts that each token uses; changes the answers. [default: the file's]"
    )
    mmproj: str | None = option(
        "FILE", "GGUF file of the vision tower. [default: the one beside MODEL that belongs to it]"
    )
    max_image_tokens: int | None = option(
        "N", "Maximum tokens of a picture, with its markers. [default: the model's own limit]"
    )
    video_fps: float | None = option("FPS", "Frames to read per second of video. [default: the model's own, usually 2]")
    max_frames: int | None = option("N", "Maximum frames to read of a video. [default: the model's own, usually 768]")
    context: str | None = option(
        "N", "Maximum tokens per request, e.g. 32k. [default: what the model and memory allow]", "--context", "-c"
    )
    parallel: int | None = option("N", "Requests at once, each with a full context. [default: as many as fit, up to 8]")
    cache_memory: str | None = option(
        "SIZE", "Memory for the prefix cache; 0 keeps nothing. [default: a quarter of what the weights leave]"
    )
    share_cache: bool | None = option(
        None, "Reuse cached prompts across API keys, in steps of 1024 tokens.", "--share-cache"
    )
    threads: Threads = None
    kv_type: str | None = option(
        "f16|f32|q8_0", "Data type of the KV cache; affects the output. q8_0: 53% of f16's bytes. [default: f16]"
    )
    api_key: list[str] | None = option("KEY", "Require this key from clients. Repeatable.")
    api_key_file: str | None = option("FILE", "File with keys, one per line, each KEY or NAME KEY; # starts a comment.")
    no_auth: bool | None = option(None, "Let other machines connect without a key.", "--no-auth")
    allow_host: list[str] | None = option("NAME", "Without keys: also accept requests to this host name. Repeatable.")
    allow_origin: list[str] | None = option(
        "ORIGIN", "Let pages of this origin use the server, e.g. app://obsidian.md. Repeatable."
    )
    trusted_proxy: list[str] | None = option(
        "ADDRESS", "Take clients' addresses from X-Forwarded-For of this proxy or network. Repeatable."
    )
    ssl_certfile: str | None = option("FILE", "PEM certificate chain: serve HTTPS instead of HTTP.")
    ssl_keyfile: str | None = option("FILE", "PEM key of --ssl-certfile. [default: in the same file]")
    log_file: str | None = option("FILE", "Append the log to FILE instead of stderr.")
    alias: list[str] | None = option("NAME", "Another name for the model; * accepts any. Repeatable.")
    config: str | None = option("FILE", "TOML file with these options; flags and SHOESTRING_* override it.")


@dataclass(frozen=True)
class Where:
    """What answers: this process, another server, or a cluster."""

    on: str | None = option(
        "local|URL|vllm|ray|auto",
        "What answers: this process, an OpenAI-compatible server, vLLM, Ray, or what plan finds. [default: local]",
    )
    api_key_env: str | None = option("NAME", "With --on URL: environment variable that holds the key for that server.")
    upstream_timeout: float | None = option(
        "S", "Seconds that the server of --on may send nothing before a request fails. [default: 600]"
    )
    replicas: str | None = option("N|MIN:MAX", "With --on ray: replicas; MIN:MAX follows the load. [default: 1 a node]")
    ray_address: str | None = option("HOST:PORT", "With --on ray: the cluster's head. [default: this machine]")
    vllm_python: str | None = option("FILE", "With --on vllm: a Python that has vLLM. [default: vllm on PATH]")
    vllm_arg: list[str] | None = option("ARG", "With --on vllm: another argument of `vllm serve`. Repeatable.")
    users: int | None = option("N", "With --on auto: how many use it at once. [default: 1]")
    min_speed: float | None = option("T/S", "With --on auto: tokens/s that each user needs.")


@dataclass(frozen=True)
class Running:
    """Settings that matter only to a running server."""

    queue: int | None = option("N", "Maximum waiting requests; more get 429. [default: 64]")
    model_name: str | None = option("NAME", "Name of the model for clients. [default: the file's name]")
    lenient: bool | None = option(None, "Ignore unknown fields of requests; log each name once.", "--lenient")
    json_log: bool | None = option(None, "Log as JSON.", "--json-log")
    shutdown_timeout: float | None = option("S", "Seconds that answers get to finish on shutdown. [default: 30]")
    max_body: str | None = option("SIZE", "Maximum size of a request body. [default: 32MiB]")
    allow_remote_media: bool | None = option(
        None, "Fetch pictures and videos whose URL a request names, from public addresses.", "--allow-remote-media"
    )
    body_timeout: float | None = option("S", "Seconds to receive a request body. [default: 60]")
    write_timeout: float | None = option("S", "Seconds to wait for a client that does not read. [default: 60]")
    record_routes: str | None = option("FILE", "Write which experts the tokens use, for bench --replay.")
    keep_alive: float | None = option("S", "Seconds between keep-alives in a quiet stream. [default: 5]")
