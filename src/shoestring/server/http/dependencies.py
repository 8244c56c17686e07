"""Access to the application's service, for endpoints."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from shoestring.server.service import KEY, Service


def service(request: Request, model: str | None = None) -> Service:
    """The service. Raises ApiError (404) if it does not serve `model`."""
    served = cast(Service, request.app.state.service)
    served.check_model(model)
    return served


def client(request: Request) -> str:
    """The client's name in the engine: the digest of its API key, else its address."""
    key = getattr(request.state, "api_key", "")
    return f"{KEY}{key}" if key else f"address:{request.client.host if request.client else ''}"
