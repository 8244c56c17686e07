"""/health: whether the process lives, and whether it takes requests."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from shoestring.server.http import dependencies

router = APIRouter(tags=["server"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """200 as long as the event loop answers."""
    return {"status": "ok"}


@router.get("/health", response_model=None)
@router.get("/health/ready", response_model=None)
async def ready(request: Request) -> Response:
    """200 when requests are taken, 503 when the server shuts down or its engine has ended."""
    service = dependencies.service(request)
    if service.ready:
        state, status = "ok", 200
    else:
        state, status = ("shutting down" if service.closing else "the engine has stopped"), 503
    told = {"status": state, "model": service.info.id, "running": service.running, "waiting": service.waiting}
    return JSONResponse(told, status)
