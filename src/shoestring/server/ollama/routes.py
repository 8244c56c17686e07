"""Ollama's API: chat, generate, tags, show, version. Many programs speak only this API; we only translate it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, Request

import shoestring
from shoestring.server.errors import bad_request
from shoestring.server.facts import ServedModel
from shoestring.server.http.dependencies import client, service
from shoestring.server.http.streaming import EventStream, unless_gone
from shoestring.server.ollama import types as api
from shoestring.server.ollama.requests import chat_request, generate_request
from shoestring.server.ollama.wire import Line, Lines, timestamp, whole
from shoestring.server.request import ChatRequest, CompletionRequest
from shoestring.server.service import Stream

router = APIRouter(tags=["ollama"])

#: The Ollama release whose API this is; clients refuse versions that are too old for them.
API_VERSION = "0.12.11"
_NDJSON = "application/x-ndjson"


@router.post("/api/chat", response_model=api.ChatLine, response_model_exclude_none=True)
async def chat(body: api.ChatBody, request: Request) -> Any:
    """Answer a conversation, as a stream of JSON lines unless `stream` is false."""
    lines = _lines(body, request, "chat")
    if not body.messages:
        return lines.done(_load_reason(body))
    return await _answer(body, request, lines, chat_request(body, client(request)))


@router.post("/api/generate", response_model=api.GenerateLine, response_model_exclude_none=True)
async def generate(body: api.GenerateBody, request: Request) -> Any:
    """Answer one prompt, or continue it with `raw`; as a stream of JSON lines unless `stream` is false."""
    lines = _lines(body, request, "generate")
    if not body.prompt:
        return lines.done(_load_reason(body))
    return await _answer(body, request, lines, generate_request(body, client(request)))


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
    served = service(request)
    served.check_model(name)
    info = served.info
    facts: dict[str, Any] = {
        "general.architecture": info.family,
        "general.basename": info.id,
        f"{info.family}.context_length": info.context,
    }
    if info.parameters is not None:
        facts["general.parameter_count"] = info.parameters
    return api.Shown(
        modelfile=f"# shoestring {shoestring.__version__}\nFROM {info.path or info.id}\n",
        parameters="\n".join(f"{name:<24}{value}" for name, value in info.sampling.items()),
        template=info.template or "",
        details=_details(info),
        model_info=facts,
        capabilities=["completion", "tools", *(["thinking"] if info.thinking else [])],
        modified_at=_modified(info),
    )


@router.get("/api/version")
async def version() -> api.Version:
    """The version of the API and of Shoestring."""
    return api.Version(version=API_VERSION, shoestring=shoestring.__version__)


def _lines(body: api.Question, request: Request, kind: Any) -> Lines:
    served = service(request)
    served.check_model(body.model)
    return Lines(body.model, kind, served.model.tokenizer if body.logprobs or body.top_logprobs else None)


def _load_reason(body: api.Question) -> str:
    """The reason to report for an empty request, with which clients load and unload models. Ours stays loaded."""
    return "unload" if body.keep_alive in (0, "0", "0s") else "load"


async def _answer(
    body: api.Question, request: Request, lines: Lines, chat_or_completion: ChatRequest | CompletionRequest
) -> Any:
    served = service(request)
    stream = await (
        served.chat(chat_or_completion)
        if isinstance(chat_or_completion, ChatRequest)
        else served.complete(chat_or_completion)
    )
    if body.stream is False:
        return await unless_gone(request, _whole(stream, lines), source=stream)
    texts = _texts(stream, lines)
    return EventStream(texts, source=stream, keep_alive=None, media_type=_NDJSON, limits=served.limits)


async def _texts(stream: Stream, lines: Lines) -> AsyncIterator[str]:
    async for item in stream:
        for line in lines.take(item):
            yield json.dumps(line, ensure_ascii=False) + "\n"


async def _whole(stream: Stream, lines: Lines) -> Line:
    return whole([line async for item in stream for line in lines.take(item)])


def _details(info: ServedModel) -> api.Details:
    count = info.parameters
    size = "" if count is None else f"{count / 1e9:.1f}B" if count >= 10**9 else f"{count / 1e6:.1f}M"
    return api.Details(
        format="gguf" if (info.path or "").endswith(".gguf") else "safetensors",
        family=info.family,
        families=[info.family],
        parameter_size=size,
        quantization_level=info.quantization or "",
    )


def _listed(info: ServedModel) -> dict[str, Any]:
    name = info.id if ":" in info.id else f"{info.id}:latest"
    return {
        "name": name,
        "model": name,
        "size": info.file_bytes or 0,
        "digest": hashlib.sha256(f"{info.id} {info.file_bytes}".encode()).hexdigest(),
        "details": _details(info),
    }


def _modified(info: ServedModel) -> str:
    return timestamp(datetime.fromtimestamp(info.created, timezone.utc))
