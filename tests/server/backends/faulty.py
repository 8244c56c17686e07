"""A server with OpenAI's API that does what the last message says: it fails in every way that servers do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
STATUSES = {"400": 400, "401": 401, "429": 429, "500": 500, "503": 503, "418": 418}
SAYS = {
    "400": "This model's maximum context length is 10 tokens",
    "401": "Incorrect API key provided: sk-upstream",
}


class Faulty:
    """The application, and what it has seen. owner: the program that it claims to be."""

    def __init__(self, owner: str = "vllm") -> None:
        self.owner = owner
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        #: the ports of the clients of these requests: as many as there were connections
        self.ports: set[int] = set()
        #: streams that their reader has left
        self.left = 0
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._chat, methods=["POST"]),
                Route("/tokenize", self._tokenize, methods=["POST"]),
            ]
        )

    async def _models(self, request: Request) -> Response:
        ray = {"id": "on ray", "owned_by": "organization-owner", "metadata": {"max_request_context_length": 20}}
        return JSONResponse({"data": [{"id": "m", "owned_by": self.owner, "max_model_len": 10}, {"id": "other"}, ray]})

    async def _tokenize(self, request: Request) -> Response:
        self.bodies.append(await request.json())
        return JSONResponse({"count": 42})

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.ports.add(request.client.port if request.client else 0)
        what = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        if what in STATUSES:
            error = {"message": SAYS.get(what, "no reason"), "code": STATUSES[what]}
            return JSONResponse({"error": error}, STATUSES[what], {"Retry-After": "7"})
        if what == "hang":
            await asyncio.sleep(1.5)
        return StreamingResponse(self._stream(what, body), media_type="text/event-stream")

    async def _stream(self, what: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks(what):
                yield chunk if isinstance(chunk, bytes) else f"data: {json.dumps(chunk)}\n\n".encode()
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason, **more}]}


def call(index: int, name: str | None, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({} if name is None else {"name": name})}
    return {"index": index, "function": function, **more}


async def chunks(what: str) -> AsyncIterator[dict[str, Any] | bytes]:
    yield chunk({"role": "assistant", "content": ""})
    match what:
        case "dies":
            yield chunk({"content": "so far"})
            raise RuntimeError("the process dies")
        case "ends early":
            yield chunk({"content": "so far"})
            return
        case "goes silent":
            yield chunk({"content": "so far"})
            await asyncio.sleep(60)
        case "error event":
            yield chunk({"content": "so far"})
            yield {"error": {"message": "the engine is dead", "type": "InternalServerError", "code": 500}}
            return
        case "no json":
            yield b"data: {nonsense\n\n"
        case "slow":
            for _ in range(600):
                yield chunk({"content": "x"})
                await asyncio.sleep(0.02)
        case "thinks in vain":
            yield chunk({"reasoning": "hm"})
            yield chunk({}, "length")
        case "calls":
            yield chunk({"tool_calls": [call(0, "f", "", id="a", type="function")]})
            yield chunk({"tool_calls": [call(0, None, '{"a":')]})
            yield chunk({"tool_calls": [call(0, None, " 1}")]})
            # two in one chunk, without ids, and one without arguments
            yield chunk({"tool_calls": [call(1, "g", ""), call(2, "f", "{}")]})
            yield chunk({}, "stop")
        case "stops":
            yield chunk({"content": "He"})
            yield chunk({}, "stop", stop_reason="llo")
        case "lingers":
            yield chunk({"content": "hi"})
            yield chunk({}, "stop")
            yield b"data: [DONE]\n\n"
            await asyncio.sleep(2.5)
            return
        case "no usage":
            yield chunk({"content": "hi"})
            yield chunk({}, "stop")
            yield b": a comment\n\ndata: [DONE]\n\n"
            return
        case "full":
            yield chunk({"content": "hi"})
            yield chunk({}, "length")
            # the prompt and the answer fill the context of 10
    yield {"choices": [], "usage": USAGE}
    yield b"data: [DONE]\n\n"
