"""POST /media/tokens: what a picture or a video costs in tokens, before it is sent. An endpoint of ours, for pages."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from shoestring.server.errors import bad_request
from shoestring.server.http.bodies.route import JsonRoute
from shoestring.server.http.dependencies import service
from shoestring.server.http.fields import Body
from shoestring.server.http.streaming import unless_gone
from shoestring.server.media.unread import of_openai

router = APIRouter(tags=["media"], route_class=JsonRoute)


class MediaBody(Body):
    """Exactly one of image_url and video_url, each as in a part of OpenAI's messages."""

    model: str | None = None
    image_url: Any = None
    video_url: Any = None


class MediaTokens(BaseModel):
    """tokens: with markers and timestamps. width, height: as shown, after rotation. seconds: 0 for a picture."""

    kind: Literal["image", "video"]
    tokens: int
    width: int
    height: int
    seconds: float


@router.post("/media/tokens")
async def media_tokens(body: MediaBody, request: Request) -> MediaTokens:
    """Count the tokens of one picture or video, from its header. Nothing is decoded."""
    served = service(request, body.model)
    if (body.image_url is None) == (body.video_url is None):
        raise bad_request("give exactly one of image_url and video_url")
    kind: Literal["image", "video"] = "image" if body.video_url is None else "video"
    media = of_openai(kind, body.image_url if kind == "image" else body.video_url, f"{kind}_url")
    cost = await unless_gone(request.receive, served.media_cost(media))
    return MediaTokens(kind=kind, **vars(cost))
