"""/health: whether the process is alive, and whether it accepts requests."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from shoestring.server.http import dependencies

router = APIRouter(tags=["server"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """200 while the event loop responds."""
    return {"status": "ok"}


@router.get("/health", response_model=None)
@router.get("/health/ready", response_model=None)
async def ready(request: Request) -> Response:
    """200 while the server accepts requests; 503 when it shuts down or its engine has stopped."""
    service = dependencies.service(request)
    trouble = await service.health()
    state, status = ("ok", 200) if trouble is None else (trouble, 503)
    body = {"status": state, "model": service.info.id, "running": service.running, "waiting": service.waiting}
    return JSONResponse(body, status)
