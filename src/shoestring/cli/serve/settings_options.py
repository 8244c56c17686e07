"""Options of `serve` and `doctor` for the server's settings (server/http/settings.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from shoestring.cli.options import Threads

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="A .gguf file, a Hugging Face folder or a Hub name. [default: demo-llama4, a test model]"
    ),
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on. [default: 127.0.0.1]")
]
Port = Annotated[
    int | None, typer.Option("--port", "-p", metavar="N", help="Port to listen on; 0 picks a free one. [default: 8080]")
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="SIZE", help="Memory limit of the process, e.g. 12GiB. [default: all that is free]"
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context", "-c", metavar="N", help="Maximum tokens per request. [default: what the model and memory allow]"
    ),
]
Parallel = Annotated[
    int | None,
    typer.Option(
        "--parallel", metavar="N", help="Requests at once, each with a full context. [default: as many as fit, up to 8]"
    ),
]
CacheMemory = Annotated[
    str | None,
    typer.Option(
        "--cache-memory",
        metavar="SIZE",
        help="Memory for the prefix cache; 0 keeps nothing. [default: a quarter of what the weights leave]",
    ),
]
Queue = Annotated[
    int | None, typer.Option("--queue", metavar="N", help="Maximum waiting requests; more get 429. [default: 64]")
]
KV = Annotated[
    str | None,
    typer.Option("--kv-type", metavar="f16|f32", help="Data type of the KV cache; affects the output. [default: f16]"),
]
ApiKey = Annotated[
    list[str] | None,
    typer.Option("--api-key", metavar="KEY", help="Require this key from clients. Repeatable."),
]
ApiKeyFile = Annotated[
    str | None, typer.Option("--api-key-file", metavar="FILE", help="File with keys, one per line; # starts a comment.")
]
NoAuth = Annotated[bool | None, typer.Option("--no-auth", help="Let other machines connect without a key.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host", metavar="NAME", help="Without keys: also accept requests to this host name. Repeatable."
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model-name", metavar="NAME", help="Name of the model for clients. [default: its file's]"),
]
Alias = Annotated[
    list[str] | None,
    typer.Option("--alias", metavar="NAME", help="Another name for it; * accepts any. Repeatable."),
]
JsonLog = Annotated[bool | None, typer.Option("--json-log", help="Log requests as JSON on stderr.")]
ShutdownTimeout = Annotated[
    float | None,
    typer.Option(
        "--shutdown-timeout", metavar="S", help="Seconds that answers get to finish on shutdown. [default: 30]"
    ),
]
MaxBody = Annotated[
    str | None, typer.Option("--max-body", metavar="SIZE", help="Maximum size of a request body. [default: 32MiB]")
]
BodyTimeout = Annotated[
    float | None, typer.Option("--body-timeout", metavar="S", help="Seconds to receive a request body. [default: 60]")
]
WriteTimeout = Annotated[
    float | None,
    typer.Option("--write-timeout", metavar="S", help="Seconds to wait for a client that does not read. [default: 60]"),
]
KeepAlive = Annotated[
    float | None,
    typer.Option("--keep-alive", metavar="S", help="Seconds between keep-alives in a quiet stream. [default: 5]"),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="TOML file with these options; flags and SHOESTRING_* override it."),
]


@dataclass(frozen=True)
class Served:
    """Settings that `doctor` can check in advance: what to serve, where, to whom, with how much memory."""

    model: Model = None
    host: Host = None
    port: Port = None
    memory: Memory = None
    context: Context = None
    parallel: Parallel = None
    cache_memory: CacheMemory = None
    threads: Threads = None
    kv_type: KV = None
    api_key: ApiKey = None
    api_key_file: ApiKeyFile = None
    no_auth: NoAuth = None
    allow_host: AllowHost = None
    alias: Alias = None
    config: Config = None


@dataclass(frozen=True)
class Running:
    """Settings that matter only to a running server."""

    queue: Queue = None
    model_name: ModelName = None
    json_log: JsonLog = None
    shutdown_timeout: ShutdownTimeout = None
    max_body: MaxBody = None
    body_timeout: BodyTimeout = None
    write_timeout: WriteTimeout = None
    keep_alive: KeepAlive = None
