"""Access to the application's service and settings for endpoints."""

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
    """The client for the engine's fair scheduling: its API key, else its address."""
    key = getattr(request.state, "api_key", "")
    return f"key:{key}" if key else f"address:{request.client.host if request.client else ''}"
