"""Ollama's API: chat, generate, tags, show, version. Many programs speak only this API; we only translate it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator
from datetime import datetime, timezone
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

import shoestring
from shoestring.server.backends.backend import Backend, Stream
from shoestring.server.errors import bad_request
from shoestring.server.facts import ServedModel
from shoestring.server.http.bodies.route import JsonRoute
from shoestring.server.http.dependencies import client, service
from shoestring.server.http.streaming import EventStream, WholeAnswer, unless_gone
from shoestring.server.ollama import types as api
from shoestring.server.ollama.requests import chat_request, generate_request
from shoestring.server.ollama.wire import Line, Lines, timestamp, whole
from shoestring.server.request import ChatRequest, CompletionRequest

router = APIRouter(tags=["ollama"], route_class=JsonRoute)

#: The Ollama release whose API this is; clients refuse versions that are too old for them.
API_VERSION = "0.12.11"
_NDJSON = "application/x-ndjson"


@router.post("/api/chat", response_model=None, responses={200: {"model": api.ChatLine}})
async def chat(body: api.ChatBody, request: Request) -> Response:
    """Answer a conversation, as a stream of JSON lines unless `stream` is false."""
    served = service(request, body.model)
    prompt = await served.beside(chat_request, body, client(request)) if body.messages else None
    return await _answer(body, request, served, "chat", prompt)


@router.post("/api/generate", response_model=None, responses={200: {"model": api.GenerateLine}})
async def generate(body: api.GenerateBody, request: Request) -> Response:
    """Answer one prompt, or continue it with `raw`; as a stream of JSON lines unless `stream` is false."""
    served = service(request, body.model)
    asks = body.prompt or body.images
    prompt = await served.beside(generate_request, body, client(request)) if asks else None
    return await _answer(body, request, served, "generate", prompt)


async def _answer(
    body: api.Question,
    request: Request,
    served: Backend,
    kind: Literal["chat", "generate"],
    prompt: ChatRequest | CompletionRequest | None,
) -> Response:
    """The answer to `prompt`. None: an empty request, with which clients load and unload models; ours stays loaded."""
    token_bytes = served.spellings.token_bytes if body.logprobs or body.top_logprobs else None
    lines = Lines(body.model, kind, token_bytes)
    if prompt is None:
        return JSONResponse(lines.done("unload" if body.keep_alive in (0, "0", "0s") else "load"))
    opening = served.chat(prompt) if isinstance(prompt, ChatRequest) else served.complete(prompt)
    stream = await unless_gone(request.receive, opening)
    chunks = _lines(stream, lines)
    if body.stream is not False:
        return EventStream(chunks, source=stream, write=_text, media_type=_NDJSON, keep_alive="", limits=served.limits)
    return WholeAnswer(_whole(chunks, served), source=stream, beside=served.beside)


async def _lines(stream: Stream, lines: Lines) -> AsyncGenerator[Line, None]:
    async for item in stream:
        for line in lines.take(item):
            yield line


async def _whole(lines: AsyncGenerator[Line, None], served: Backend) -> Line:
    return await served.beside(whole, [line async for line in lines])


def _text(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


@router.get("/api/tags")
async def tags(request: Request) -> api.Tags:
    """The served models: one."""
    info = service(request).info
    return api.Tags(models=[api.ListedModel(**_listed(info), modified_at=_modified(info))])


@router.get("/api/ps")
async def running(request: Request) -> api.Running:
    """The loaded models: the same one, without expiry and without GPU memory."""
    info = service(request).info
    loaded = api.RunningModel(
        **_listed(info), expires_at="9999-12-31T23:59:59Z", size_vram=0, context_length=info.context
    )
    return api.Running(models=[loaded])


@router.post("/api/show")
async def show(body: api.ShowBody, request: Request) -> api.Shown:
    """The model's facts, template and capabilities."""
    name = body.model or body.name
    if not name:
        raise bad_request("model is missing", param="model")
    info = service(request, name).info
    facts: dict[str, Any] = {
        "general.architecture": info.family,
        "general.basename": info.id,
        f"{info.family}.context_length": info.context,
    }
    if info.parameters is not None:
        facts["general.parameter_count"] = info.parameters
    if info.changed_experts is not None:
        facts["shoestring.changed_experts"] = info.changed_experts
    facts["shoestring.kv_type"] = info.kv_type
    return api.Shown(
        modelfile=f"# shoestring {shoestring.__version__}\nFROM {info.id}\n",
        parameters="\n".join(f"{name:<24}{value}" for name, value in info.sampling.items()),
        template=info.template or "",
        details=_details(info),
        model_info=facts,
        capabilities=["completion", "tools", *["thinking"] * info.thinking, *["vision"] * info.sees],
        modified_at=_modified(info),
    )


@router.get("/api/version")
async def version() -> api.Version:
    """The version of the API and of Shoestring."""
    return api.Version(version=API_VERSION, shoestring=shoestring.__version__)


def _details(info: ServedModel) -> api.Details:
    count = info.parameters
    size = "" if count is None else f"{count / 1e9:.1f}B" if count >= 10**9 else f"{count / 1e6:.1f}M"
    return api.Details(
        format=info.format,
        family=info.family,
        families=[info.family],
        parameter_size=size,
        quantization_level=info.quantization or "",
    )


def _listed(info: ServedModel) -> dict[str, Any]:
    name = info.id if ":" in info.id else f"{info.id}:latest"
    identity = f"{info.id} {info.file_bytes}{''.join(info.fingerprint.values())}"
    return {
        "name": name,
        "model": name,
        "size": info.file_bytes or 0,
        "digest": hashlib.sha256(identity.encode()).hexdigest(),
        "details": _details(info),
    }


def _modified(info: ServedModel) -> str:
    return timestamp(datetime.fromtimestamp(info.created, timezone.utc))
