"""/v1/chat/completions."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from shoestring.server.backends.backend import Spellings
from shoestring.server.http import dependencies
from shoestring.server.http.bodies.route import JsonRoute
from shoestring.server.http.streaming import EventStream, WholeAnswer, unless_gone
from shoestring.server.openai.chat_requests import chat_request
from shoestring.server.openai.chat_types import ChatBody, ChatCompletion
from shoestring.server.openai.chat_wire import Chunks, Logprobs, completion, streamed

router = APIRouter(tags=["openai"], route_class=JsonRoute)


@router.post("/v1/chat/completions", response_model=None, responses={200: {"model": ChatCompletion}})
async def chat_completions(body: ChatBody, request: Request) -> Response:
    """Answer a conversation; with `stream`, as server-sent events."""
    service = dependencies.service(request, body.model)
    asked = await service.beside(chat_request, body, dependencies.client(request))
    stream = await unless_gone(request.receive, service.chat(asked))
    head: dict[str, Any] = {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion.chunk" if body.stream else "chat.completion",
        "created": int(time.time()),
        "model": service.info.id,
        **service.info.fingerprint,
    }
    options = body.stream_options
    chunks = Chunks(
        head,
        answers=1 if body.n is None else body.n,
        include_usage=not body.stream or bool(options and options.include_usage),
        include_progress=bool(body.stream and options and options.include_progress),
        logprobs=partial(logprobs_reader, service.spellings) if body.logprobs else None,
    )
    if body.stream:
        return EventStream(streamed(stream, chunks), source=stream, limits=service.limits)
    return WholeAnswer(completion(stream, chunks), source=stream, beside=service.beside)


def logprobs_reader(spellings: Spellings) -> Logprobs:
    hidden = spellings.eos_ids | frozenset(spellings.thinking or ())
    return Logprobs(spellings.token_bytes, hidden)
