"""Anthropic's Messages API: /v1/messages and /v1/messages/count_tokens.

requests.py translates requests, wire.py answers.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request

from shoestring.server.anthropic import types as api
from shoestring.server.anthropic.requests import chat_request
from shoestring.server.anthropic.wire import MessageEvents, assembled, event_text
from shoestring.server.errors import ApiError, error_body
from shoestring.server.http.dependencies import client, service
from shoestring.server.http.streaming import EventStream, unless_gone
from shoestring.server.service import Stream

router = APIRouter(tags=["anthropic"])

_PATH = "/v1/messages"


@router.post(_PATH, response_model=api.AnswerMessage)
async def create_message(body: api.MessagesBody, request: Request) -> Any:
    """Answer a conversation; with `stream`, as server-sent events in Anthropic's order."""
    served = service(request)
    served.check_model(body.model)
    stream = await served.chat(chat_request(body, client(request)))
    display = getattr(body.thinking, "display", None)
    events = MessageEvents(f"msg_{secrets.token_hex(12)}", body.model, show_thinking=display != "omitted")
    if body.stream:
        return EventStream(
            _texts(stream, events),
            source=stream,
            keep_alive=event_text({"type": "ping"}),
            on_error=_error_text,
            limits=served.limits,
        )
    return await unless_gone(request, _message(stream, events), source=stream)


@router.post(f"{_PATH}/count_tokens")
async def count_tokens(body: api.CountTokensBody, request: Request) -> api.TokensCount:
    """Count the tokens of the prompt for these messages."""
    served = service(request)
    served.check_model(body.model)
    return api.TokensCount(input_tokens=await served.count_tokens(chat_request(body)))


async def _texts(stream: Stream, events: MessageEvents) -> AsyncIterator[str]:
    async for item in stream:
        for event in events.take(item):
            yield event_text(event)


async def _message(stream: Stream, events: MessageEvents) -> api.AnswerMessage:
    return assembled([event async for item in stream for event in events.take(item)])


def _error_text(error: ApiError) -> str:
    return event_text(error_body(_PATH, error))
