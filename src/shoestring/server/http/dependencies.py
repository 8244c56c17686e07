"""What endpoints need of the application that they run in."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from shoestring.server.http.settings import Settings
from shoestring.server.service import Service


def service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


def settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


def client(request: Request) -> str:
    """Between whom the engine is fair: the key that was shown, else the address."""
    key = getattr(request.state, "api_key", "")
    return f"key:{key}" if key else f"address:{request.client.host if request.client else ''}"
