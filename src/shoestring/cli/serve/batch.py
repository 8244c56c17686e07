"""`shoestring batch`: answer the requests of a file, without a server or with another one.

Each request goes through the same application that serves HTTP, so a batch has the same checks, answers and errors.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import options
from shoestring.cli.extra import need_server_packages
from shoestring.cli.progress import Progress
from shoestring.cli.shared import spread
from shoestring.errors import RequestError

if TYPE_CHECKING:
    import httpx

HELP = """Answer every request in IN.jsonl (OpenAI's batch format) and append the answers to OUT.jsonl.

Run it again to resume: it skips requests whose custom_id is already in OUT. With --url, another server answers. The
exit code is 2 if a request failed; OUT has the reason."""

URLS = ("/v1/chat/completions", "/v1/completions")
#: Attempts for a busy server, and the wait between them if it sends no Retry-After.
_ATTEMPTS, _WAIT_SECONDS = 6, 2.0


@dataclass(frozen=True)
class Line:
    """One request. body: JSON to send to `url`."""

    custom_id: str
    method: str
    url: str
    body: dict[str, Any]


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
    parallel: Annotated[int, typer.Option("--parallel", metavar="N", help="Requests to run at once.")] = 4,
    loading: options.Loading,
    debug: options.Debug = False,
) -> None:
    if parallel < 1:
        raise RequestError(f"--parallel is {parallel}: choose at least 1")
    if server.url is not None and model is not None:
        raise RequestError("--model and --url cannot be combined: with --url, each request names its model")
    if server.url is None:
        need_server_packages("batch without --url")
    lines = read_lines(source)
    done = repair_output(target)
    open_lines = [line for line in lines if line.custom_id not in done]
    if not open_lines:
        typer.echo(f"all {len(lines)} requests are already answered", err=True)
        return

    def client() -> Any:
        if server.url is not None:
            from shoestring.client import async_client

            return async_client(server.url, server.api_key())
        return _own_client(model, loading, parallel)

    failed = asyncio.run(_answer_all(client, open_lines, target, parallel))
    typer.echo(f"{len(open_lines)} requests answered, {len(lines) - len(open_lines)} skipped", err=True)
    if failed:
        raise RequestError(f"{failed} of {len(open_lines)} requests failed: {target} has the reasons")


def read_lines(source: Path) -> list[Line]:
    """The requests of a file. Raises RequestError that names an invalid line."""
    lines: list[Line] = []
    seen: set[str] = set()
    for number, text in _texts(source):
        where = f"{source}, line {number}"
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{where} is not valid JSON ({error})") from None
        if not isinstance(value, dict):
            raise RequestError(f"{where} is not an object with custom_id, method, url and body")
        id, body = value.get("custom_id"), value.get("body")
        if not isinstance(id, str) or not id:
            raise RequestError(f"{where} has no custom_id: give each line a unique string")
        if id in seen:
            raise RequestError(f"{where} repeats the custom_id {id!r} of an earlier line: give each line a unique one")
        if not isinstance(body, dict):
            raise RequestError(f"{where} has no body: add the request as a JSON object")
        seen.add(id)
        lines.append(Line(id, str(value.get("method", "POST")), str(value.get("url")), body))
    if not lines:
        raise RequestError(f"{source} has no requests")
    return lines


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not UTF-8 text (byte {error.start})") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def repair_output(target: Path) -> set[str]:
    """The custom_ids that are already answered. Removes an incomplete last line, which is then answered again."""
    if not target.exists():
        return set()
    data = target.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    done = set()
    for number, line in enumerate(whole.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            done.add(json.loads(line)["custom_id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RequestError(f"{target}, line {number} is not a batch answer: choose another OUT file") from None
    if len(whole) < len(data):
        os.truncate(target, len(whole))
    return done


async def _answer_all(client: Any, lines: list[Line], target: Path, parallel: int) -> int:
    """Answer all lines; return how many failed. `target` gets the answers in the order in which they finish."""
    waiting = iter(lines)
    failed = finished = 0
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        async with client() as http:
            with Progress("answering", "lines") as progress:

                async def lane() -> None:
                    nonlocal failed, finished
                    for line in waiting:
                        answer = await answer_line(http, line)
                        append(descriptor, answer)
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
    finally:
        os.close(descriptor)
    return failed


def append(descriptor: int, answer: dict[str, Any]) -> None:
    """Append a line and sync it to disk before the next one."""
    data = (json.dumps(answer, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


async def answer_line(http: httpx.AsyncClient, line: Line) -> dict[str, Any]:
    """Send a request; return its line for OUT. Raises RequestError if the server is unreachable."""
    import httpx

    refused = _refusal(line)
    if refused is not None:
        return _output_line(
            line,
            400,
            {"error": {"message": refused, "type": "invalid_request_error", "param": None, "code": "invalid_request"}},
        )
    for left in range(_ATTEMPTS, 0, -1):
        try:
            response = await http.post(
                line.url.removeprefix("/v1/") if http.base_url.path.endswith("/v1/") else line.url, json=line.body
            )
        except httpx.HTTPError as error:
            raise RequestError(f"cannot reach {http.base_url} ({type(error).__name__}: {error})") from None
        if response.status_code not in (429, 503) or left == 1:
            break
        await asyncio.sleep(_wait(response.headers.get("retry-after")))
    try:
        body = response.json()
    except ValueError:
        body = {"error": {"message": response.text[:200], "type": "server_error", "param": None, "code": None}}
    return _output_line(line, response.status_code, body)


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


def _output_line(line: Line, status: int, body: Any) -> dict[str, Any]:
    return {
        "id": f"batch_req_{secrets.token_hex(12)}",
        "custom_id": line.custom_id,
        "response": {"status_code": status, "request_id": secrets.token_hex(12), "body": body},
        "error": None,
    }


@asynccontextmanager
async def _own_client(model: str | None, loading: options.Loading, parallel: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this process, without a socket."""
    import httpx

    from shoestring.cli.find import load_model
    from shoestring.samples.smollm_as_llama4 import DEMO_NAME
    from shoestring.server.facts import served_model
    from shoestring.server.http.app import create_app
    from shoestring.server.service import Service

    name = model or DEMO_NAME
    loaded = load_model(name, loading=loading)
    service = Service(loaded, served_model(loaded, name, ("*",)), queue=max(64, 2 * parallel))
    service.start()
    try:
        transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as http:
            yield http
    finally:
        service.close()
