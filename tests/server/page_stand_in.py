"""A stand-in server for the page and its protocol, with answers from the test."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from shoestring.server.page import routes

MODEL = {
    "id": "demo-llama4",
    "object": "model",
    "description": "SmolLM2-135M-Instruct as a small mixture of experts: quick, friendly, not clever.",
    "context_length": 8192,
    "sampling": {"temperature": 0.7, "top_p": 0.9},
}

#: The same with eyes.
SEES = {**MODEL, "input_modalities": ["text", "image", "video"]}
COST = {"kind": "image", "tokens": 1026, "width": 1024, "height": 1024, "seconds": 0.0}

#: An answer: what the server sends, in order. A dict is a chunk, a text is content, WAIT holds until `go()`.
Piece = dict[str, Any] | str
WAIT = ": wait"


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def thought(text: str) -> dict[str, Any]:
    return delta(reasoning_content=text)


def end(reason: str = "stop", prompt: int = 40, cached: int = 30, tokens: int = 12) -> list[Piece]:
    usage = {
        "prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens,
        "prompt_tokens_details": {"cached_tokens": cached},
    }  # fmt: skip
    return [{"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}, {"choices": [], "usage": usage}]


@dataclass
class StandIn:
    """Answers requests with `answers` in turn, then repeats the last; records requests and disconnects."""

    answers: list[list[Piece] | Callable[[], Response]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL])
    key: str = ""
    #: seconds between the pieces of an answer
    pause: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    #: what a picture or video costs, or the error of one
    cost: dict[str, Any] | str = field(default_factory=lambda: dict(COST))
    left: int = 0
    _gate: threading.Event = field(default_factory=threading.Event)

    def go(self) -> None:
        self._gate.set()

    def reset(self) -> None:
        self._gate.set()
        self._gate = threading.Event()
        self.answers, self.asked, self.left, self.models, self.key = [], [], 0, [MODEL], ""
        self.cost = dict(COST)

    async def stream(self, pieces: list[Piece]) -> AsyncIterator[str]:
        gate = self._gate
        try:
            for piece in pieces:
                if piece == WAIT:
                    while not gate.is_set():
                        await asyncio.sleep(0.01)
                    continue
                if isinstance(piece, str) and piece.startswith(":"):
                    yield f"{piece}\n\n"
                    continue
                chunk = delta(content=piece) if isinstance(piece, str) else piece
                yield f"data: {json.dumps(chunk)}\n\n"
                await asyncio.sleep(self.pause)
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left += 1
            raise

    def app(self) -> FastAPI:
        app = FastAPI()
        app.include_router(routes.router)

        def wrong_key(request: Request) -> Response | None:
            if not self.key or request.headers.get("authorization") == f"Bearer {self.key}":
                return None
            return JSONResponse({"error": {"message": "wrong key", "code": "invalid_api_key"}}, 401)

        @app.get("/health")
        def health() -> dict[str, str]:
            return {"status": "ok"}

        @app.get("/v1/models")
        def models(request: Request) -> Response:
            return wrong_key(request) or JSONResponse({"object": "list", "data": self.models})

        @app.post("/media/tokens")
        async def media_tokens(request: Request) -> Response:
            await request.json()
            if isinstance(self.cost, str):
                return JSONResponse({"error": {"message": self.cost, "code": "unsupported_content"}}, 400)
            return JSONResponse(self.cost)

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            if (refused := wrong_key(request)) is not None:
                return refused
            self.asked.append(await request.json())
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if callable(answer):
                return answer()
            return StreamingResponse(self.stream(answer), media_type="text/event-stream")

        return app
