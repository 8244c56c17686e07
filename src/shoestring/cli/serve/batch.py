"""`shoestring batch`: answer the requests of a file, without a server or with another one.

Each request goes through the same application that serves HTTP, so a batch has the same checks, answers and errors.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring import bounded_json
from shoestring.cli import options
from shoestring.cli.extra import need_server_packages
from shoestring.cli.progress import Progress
from shoestring.cli.say import say
from shoestring.cli.serve.batch_files import LARGEST_ANSWER, Identity, Line, OneModel, append, open_output, read_lines
from shoestring.cli.shared import option, spread
from shoestring.errors import RequestError
from shoestring.printable import shortened

if TYPE_CHECKING:
    import httpx2

HELP = """Answer every request in IN.jsonl (OpenAI's batch format) and append the answers to OUT.jsonl.

Run it again to resume: it skips what OUT has answers for, and retries what failed. With --url, another server answers,
with --on ray the replicas of a cluster. IN may be a folder: each of its .jsonl files is answered in the folder OUT.
The exit code is 0 if OUT answers every line of IN, else 2; OUT has the reason for each line that failed."""

URLS = ("/v1/chat/completions", "/v1/completions")
#: Attempts for a busy server, and the wait between them if it sends no Retry-After.
_ATTEMPTS, _WAIT_SECONDS = 6, 2.0


@dataclass(frozen=True)
class Cluster:
    """Replicas that answer instead of a model in this process."""

    on: str | None = option("ray", "Answer with replicas on a Ray cluster.")
    replicas: str | None = option("N|MIN:MAX", "With --on ray: replicas. [default: 1 a node]")
    ray_address: str | None = option("HOST:PORT", "With --on ray: the cluster's head. [default: this machine]")

    def check(self, url: str | None) -> None:
        """Raise RequestError for another cluster, or a server beside it."""
        if self.on != "ray":
            raise RequestError(f"--on is {self.on!r}: batch knows only ray; for a server, give its --url")
        if url is not None:
            raise RequestError("--on ray and --url cannot be combined: give one of them")


@spread
def batch(
    source: Annotated[
        Path, typer.Argument(metavar="IN.jsonl", help="Requests, one per line: custom_id, method, url, body.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="File to append the answers to.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A .gguf file, a Hugging Face folder or a Hub name. [default: demo-llama4]",
        ),
    ] = None,
    *,
    server: options.Server,
    cluster: Cluster,
    parallel: Annotated[int, typer.Option("--parallel", metavar="N", help="Requests to run at once.")] = 4,
    allow_remote_media: Annotated[
        bool,
        typer.Option(
            "--allow-remote-media",
            help="Fetch pictures and videos whose URL a request names, from public addresses.",
        ),
    ] = False,
    loading: options.Loading,
    debug: options.Debug = False,
) -> None:
    if parallel < 1:
        raise RequestError(f"--parallel is {parallel}: choose at least 1")
    if server.url is not None and model is not None:
        raise RequestError("--model and --url cannot be combined: with --url, each request names its model")
    if allow_remote_media and (server.url is not None or cluster.on is not None):
        raise RequestError("--allow-remote-media works without --url and --on alone: another server decides by itself")
    if server.url is None:
        need_server_packages("batch without --url")
    pairs = _pairs(source, target)
    if cluster.on is None:
        clients: Any = nullcontext(_factory(server, model, loading, parallel, allow_remote_media))
    else:
        from shoestring.cli.cluster.batch_ray import ray_clients

        cluster.check(server.url)
        clients = ray_clients(model, loading, parallel, cluster.replicas, cluster.ray_address)
    failures = []
    identity = None if server.url is not None else _identity(model, loading)
    with clients as client:
        for one, other in pairs:
            failed, total = _answer_file(one, other, client, parallel, identity)
            if failed:
                failures.append((failed, total, other))
    if failures:
        failed, total = sum(count for count, _, _ in failures), sum(count for _, count, _ in failures)
        raise RequestError(
            f"{failed} of {total} requests failed: {failures[0][2]} has the reasons; the same command retries them"
        )


def _pairs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """The files to answer, and where. Raises RequestError for a folder without batch files."""
    if not source.is_dir():
        return [(source, target)]
    files = sorted(source.glob("*.jsonl"))
    if not files:
        raise RequestError(f"{source} is a folder without .jsonl files")
    if target.exists() and not target.is_dir():
        raise RequestError(f"{source} is a folder, and {target} is none: name a folder for the answers")
    if target.resolve() == source.resolve():
        raise RequestError(f"{target} is the folder of the requests: name another one for the answers")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{target} cannot be written ({error.strerror or error})") from None
    return [(file, target / file.name) for file in files]


def _factory(
    server: options.Server, model: str | None, loading: options.Loading, parallel: int, remote_media: bool
) -> Callable[[], Any]:
    def client() -> Any:
        if server.url is not None:
            from shoestring.client import async_client

            return async_client(server.url, server.api_key())
        return _own_client(model, loading, parallel, remote_media)

    return client


def _answer_file(
    source: Path, target: Path, client: Callable[[], Any], parallel: int, identity: Identity | None
) -> tuple[int, int]:
    """Answer the lines of a file that have no answer yet. Returns how many failed, and how many there are.

    identity: of the answers of our own model; None: a server's.
    """
    lines, bad = read_lines(source)
    ids = {line.custom_id for line in lines} | {line.custom_id for line in bad if line.custom_id is not None}
    answering = OneModel(identity)
    with open_output(target, source, ids, answering) as (output, done):
        open_lines = [line for line in lines if line.custom_id not in done]

        def save(answer: dict[str, Any]) -> None:
            answering.check(answer, f"the answer to {shortened(repr(answer['custom_id']), 100)}")
            append(output, target, answer)

        for line in bad:
            save(_failure(line.custom_id, line.problem))
        failed = len(bad)
        if open_lines:
            failed += asyncio.run(_answer_all(client, open_lines, save, parallel))
    if not open_lines and not bad:
        say(f"all {len(lines)} requests are already answered", err=True)
        return 0, len(lines)
    say(f"{len(open_lines) + len(bad) - failed} requests answered, {len(done)} were answered before", err=True)
    return failed, len(lines) + len(bad)


def _identity(model: str | None, loading: options.Loading) -> Identity:
    """What answers will depend on beside the model: --experts-per-token, from the file's header, and --kv-type."""
    from shoestring.checkpoint.config.experts import changed_experts, with_experts_per_token
    from shoestring.cli.find import find
    from shoestring.kv_types import unusual_kv_type
    from shoestring.runtime.opening import open_model
    from shoestring.samples.smollm_as_llama4 import DEMO_NAME

    kv_type = unusual_kv_type(loading.kv)
    if loading.experts_per_token is None:
        return Identity(None, kv_type)
    config = open_model(find(model or DEMO_NAME)).config
    return Identity(changed_experts(with_experts_per_token(config, loading.experts_per_token)), kv_type)


async def _answer_all(client: Any, lines: list[Line], save: Callable[[dict[str, Any]], None], parallel: int) -> int:
    """Answer all lines; return how many failed. Saves the answers in the order in which they finish."""
    waiting = iter(lines)
    failed = finished = 0
    async with client() as http:
        with Progress("answering", "lines") as progress:

            async def lane() -> None:
                nonlocal failed, finished
                for line in waiting:
                    answer = await answer_line(http, line)
                    save(answer)
                    failed += answer["response"]["status_code"] != 200
                    finished += 1
                    progress(finished, len(lines))

            lanes = [asyncio.create_task(lane()) for _ in range(min(parallel, len(lines)))]
            try:
                await asyncio.gather(*lanes)
            finally:
                for task in lanes:
                    task.cancel()
                await asyncio.wait(lanes)
    return failed


async def answer_line(http: httpx2.AsyncClient, line: Line) -> dict[str, Any]:
    """Send a request; return its line for OUT. Raises RequestError if the server is unreachable."""
    import httpx2

    from shoestring.client import trust_hint

    refused = _refusal(line)
    if refused is not None:
        return _failure(line.custom_id, refused)
    for left in range(_ATTEMPTS, 0, -1):
        try:
            response, data = await _post(http, line)
        except httpx2.HTTPError as error:
            what = f"cannot reach {http.base_url} ({type(error).__name__}: {error}){trust_hint(error)}"
            raise RequestError(what) from None
        if response.status_code not in (429, 503) or left == 1:
            break
        await asyncio.sleep(_wait(response.headers.get("retry-after")))
    status = response.status_code
    try:
        body = bounded_json.loads(data)
        if status == 200 and not isinstance(body, dict):
            raise ValueError("it is not a JSON object")
    except (ValueError, RecursionError) as error:
        text = shortened(data[:1000].decode("utf-8", "replace"), 200)
        message = f"the server answered {status} without valid JSON ({error}): {text}"
        body = {"error": {"message": message, "type": "server_error", "param": None, "code": None}}
        status = 502 if status == 200 else status
    return _output_line(line.custom_id, status, body)


async def _post(http: httpx2.AsyncClient, line: Line) -> tuple[httpx2.Response, bytes]:
    """Send a request; return the response and its body, or as much as an answer may have."""
    url = line.url.removeprefix("/v1/") if http.base_url.path.endswith("/v1/") else line.url
    # In ASCII: a lone surrogate has no UTF-8.
    content, headers = json.dumps(line.body).encode("ascii"), {"content-type": "application/json"}
    data = bytearray()
    async with http.stream("POST", url, content=content, headers=headers) as response:
        async for block in response.aiter_bytes():
            data += block
            if len(data) > LARGEST_ANSWER:
                break
    return response, bytes(data[:LARGEST_ANSWER])


def _refusal(line: Line) -> str | None:
    if line.method != "POST":
        return f"method is {line.method!r}: only POST is supported"
    if line.url not in URLS:
        return f"url is {line.url!r}: choose {' or '.join(URLS)}"
    if line.body.get("stream"):
        return "stream is not supported in a batch: remove it"
    return None


def _wait(retry_after: str | None) -> float:
    try:
        return min(60.0, float(retry_after)) if retry_after else _WAIT_SECONDS
    except ValueError:
        return _WAIT_SECONDS


def _failure(custom_id: str | None, message: str) -> dict[str, Any]:
    """The line for a request that is refused before it is sent."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_request"}
    return _output_line(custom_id, 400, {"error": error})


def _output_line(custom_id: str | None, status: int, body: Any) -> dict[str, Any]:
    return {
        "id": f"batch_req_{secrets.token_hex(12)}",
        "custom_id": custom_id,
        "response": {"status_code": status, "request_id": secrets.token_hex(12), "body": body},
        "error": None,
    }


@asynccontextmanager
async def _own_client(
    model: str | None, loading: options.Loading, parallel: int, remote_media: bool
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application in this process, without a socket."""
    import httpx2

    from shoestring.cli.find import load_model
    from shoestring.samples.smollm_as_llama4 import DEMO_NAME
    from shoestring.server.facts import served_model
    from shoestring.server.http.app import create_app
    from shoestring.server.limits import Limits
    from shoestring.server.media.fetch import Web
    from shoestring.server.service import Service

    name = model or DEMO_NAME
    loaded = load_model(name, loading=loading)
    # The user's own lines wait: none is refused because others are long.
    limits = Limits(waiting_bytes=1 << 50)
    info, web = served_model(loaded, name, ("*",)), Web() if remote_media else None
    service = Service(loaded, info, queue=max(64, 2 * parallel), limits=limits, web=web)
    service.start()
    try:
        transport = httpx2.ASGITransport(create_app(service), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as http:
            yield http
    finally:
        service.close()
