"""Anthropic's Messages API: /v1/messages and /v1/messages/count_tokens.

requests.py translates requests, wire.py answers.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from shoestring.server.anthropic import types as api
from shoestring.server.anthropic.requests import chat_request
from shoestring.server.anthropic.wire import MessageEvents, assembled, event_text
from shoestring.server.backends.backend import Backend, Stream
from shoestring.server.http.bodies.route import JsonRoute
from shoestring.server.http.dependencies import client, service
from shoestring.server.http.streaming import EventStream, WholeAnswer, unless_gone

router = APIRouter(tags=["anthropic"], route_class=JsonRoute)


@router.post("/v1/messages", response_model=None, responses={200: {"model": api.AnswerMessage}})
async def create_message(body: api.MessagesBody, request: Request) -> Response:
    """Answer a conversation; with `stream`, as server-sent events in Anthropic's order."""
    served = service(request, body.model)
    asked = await served.beside(chat_request, body, client(request))
    stream = await unless_gone(request.receive, served.chat(asked))
    display = getattr(body.thinking, "display", None)
    events = MessageEvents(f"msg_{secrets.token_hex(12)}", body.model, show_thinking=display != "omitted")
    chunks = _events(stream, events)
    if body.stream:
        ping = event_text({"type": "ping"})
        return EventStream(chunks, source=stream, write=event_text, keep_alive=ping, limits=served.limits)
    return WholeAnswer(_message(chunks, served), source=stream, beside=served.beside)


@router.post("/v1/messages/count_tokens")
async def count_tokens(body: api.CountTokensBody, request: Request) -> api.TokensCount:
    """Count the tokens of the prompt for these messages."""
    served = service(request, body.model)
    counting = served.count_tokens(await served.beside(chat_request, body))
    return api.TokensCount(input_tokens=await unless_gone(request.receive, counting))


async def _events(stream: Stream, events: MessageEvents) -> AsyncGenerator[dict[str, Any], None]:
    async for item in stream:
        for event in events.take(item):
            yield event


async def _message(events: AsyncGenerator[dict[str, Any], None], served: Backend) -> dict[str, Any]:
    message = await served.beside(assembled, [event async for event in events])
    return message.model_dump()
