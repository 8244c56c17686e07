"""Access to the application's backend, for endpoints."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from shoestring.server.backends.backend import KEY, Backend


def service(request: Request, model: str | None = None) -> Backend:
    """The backend. Raises ApiError (404) if it does not serve `model`."""
    served = cast(Backend, request.app.state.service)
    served.check_model(model)
    return served


def client(request: Request) -> str:
    """The client's name in the engine: the digest of its API key, else its address."""
    key = getattr(request.state, "api_key", "")
    return f"{KEY}{key}" if key else f"address:{request.client.host if request.client else ''}"
