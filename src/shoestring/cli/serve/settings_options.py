"""Options of `serve` and `doctor`: the server's settings (server/http/settings.py) on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from shoestring.cli.options import Threads

Model = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="As for run. [default: demo-llama4, the embedded test model]")
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on. [default: 127.0.0.1]")
]
Port = Annotated[int | None, typer.Option("--port", "-p", metavar="N", help="0: any that is free. [default: 8080]")]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="SIZE", help="Most that the process may take, like 12GiB. [default: what is free]"
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context", "-c", metavar="N", help="Most tokens of a request. [default: what the model and the memory allow]"
    ),
]
Parallel = Annotated[
    int | None,
    typer.Option(
        "--parallel", metavar="N", help="Requests at once, each of a whole context. [default: as many as fit, up to 8]"
    ),
]
CacheMemory = Annotated[
    str | None,
    typer.Option(
        "--cache-memory",
        metavar="SIZE",
        help="For what earlier requests computed; 0: nothing. [default: a quarter of what the weights leave]",
    ),
]
Queue = Annotated[
    int | None, typer.Option("--queue", metavar="N", help="Requests that may wait; more get 429. [default: 64]")
]
KV = Annotated[
    str | None,
    typer.Option(
        "--kv-type", metavar="f16|f32", help="How keys and values are kept; part of the answer. [default: f16]"
    ),
]
ApiKey = Annotated[
    list[str] | None,
    typer.Option("--api-key", metavar="KEY", help="Serve only who sends this key; may be given again."),
]
ApiKeyFile = Annotated[
    str | None, typer.Option("--api-key-file", metavar="FILE", help="Keys, one a line; # begins a comment.")
]
NoAuth = Annotated[bool | None, typer.Option("--no-auth", help="Let other machines in without a key.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host", metavar="NAME", help="A further name of this server, without keys; may be given again."
    ),
]
ModelName = Annotated[
    str | None, typer.Option("--model-name", metavar="NAME", help="What clients call the model. [default: its file's]")
]
Alias = Annotated[
    list[str] | None,
    typer.Option("--alias", metavar="NAME", help="A further name for it; *: any. May be given again."),
]
JsonLog = Annotated[bool | None, typer.Option("--json-log", help="A JSON object a request on stderr, not a line.")]
ShutdownTimeout = Annotated[
    float | None,
    typer.Option(
        "--shutdown-timeout", metavar="S", help="Seconds that answers get to finish at the end. [default: 30]"
    ),
]
MaxBody = Annotated[
    str | None, typer.Option("--max-body", metavar="SIZE", help="Largest body of a request. [default: 32MiB]")
]
BodyTimeout = Annotated[
    float | None, typer.Option("--body-timeout", metavar="S", help="Seconds for a body to come. [default: 60]")
]
WriteTimeout = Annotated[
    float | None,
    typer.Option("--write-timeout", metavar="S", help="Seconds that a client may not read. [default: 60]"),
]
KeepAlive = Annotated[
    float | None,
    typer.Option("--keep-alive", metavar="S", help="Seconds between signs of life in a quiet stream. [default: 5]"),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="TOML with these options; flags and SHOESTRING_* win over it."),
]


@dataclass(frozen=True)
class Served:
    """What is served, where, to whom, with how much memory: what `doctor` can look at beforehand."""

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
    """What shows only in a server that runs."""

    queue: Queue = None
    model_name: ModelName = None
    json_log: JsonLog = None
    shutdown_timeout: ShutdownTimeout = None
    max_body: MaxBody = None
    body_timeout: BodyTimeout = None
    write_timeout: WriteTimeout = None
    keep_alive: KeepAlive = None
