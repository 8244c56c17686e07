"""Build the ASGI application: routers, middleware and error handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

import shoestring
from shoestring.errors import ShoestringError
from shoestring.server import tokenize
from shoestring.server.anthropic import messages
from shoestring.server.errors import ApiError, from_exception
from shoestring.server.http import health, metrics
from shoestring.server.http.auth import AccessControl
from shoestring.server.http.body_limits import BodyLimits
from shoestring.server.http.error_responses import error_response
from shoestring.server.http.exposure import all_keys
from shoestring.server.http.log import Observe, Observer
from shoestring.server.http.metrics import Metrics
from shoestring.server.http.settings import Settings
from shoestring.server.http.streaming import ClientGoneError
from shoestring.server.ollama import routes as ollama
from shoestring.server.openai import chat, completions, models
from shoestring.server.page import routes as page
from shoestring.server.service import Service

#: The modules of the endpoints; each has a `router`.
ROUTES = (chat, models, health, metrics, completions, messages, ollama, tokenize, page)


def create_app(service: Service, settings: Settings | None = None, log: Observer | None = None) -> FastAPI:
    """The server as an ASGI application. Its lifespan starts and closes the service. log: called for every request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    settings = settings or Settings()
    # FastAPI's documentation pages load scripts from other sites, so only openapi.json is served.
    app = FastAPI(title="Shoestring", version=shoestring.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service, app.state.metrics = service, Metrics()
    for routes in ROUTES:
        app.include_router(routes.router)
    _handle_errors(app)
    # The middleware added last runs first.
    app.add_middleware(BodyLimits, limits=settings.limits)
    app.add_middleware(AccessControl, settings=settings, keys=all_keys(settings))
    observers: list[Observer] = [app.state.metrics, *([] if log is None else [log])]
    app.add_middleware(Observe, observers=observers)
    return app


def _handle_errors(app: FastAPI) -> None:
    async def failed(request: Request, error: Exception) -> Response:
        return error_response(request.url.path, from_exception(error))

    for kind in (ApiError, ShoestringError, Exception):
        app.add_exception_handler(kind, failed)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return await failed(request, validation_error(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        message = str(error.detail)
        if error.status_code == 404:
            message = f"there is no endpoint {request.url.path}"
        elif error.status_code == 405:
            message = f"{request.url.path} does not support {request.method}"
        code = "not_found" if error.status_code == 404 else "invalid_request"
        return await failed(request, ApiError(error.status_code, message, code, headers=error.headers or {}))

    @app.exception_handler(ClientGoneError)
    async def gone(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=499)


def validation_error(errors: Any) -> ApiError:
    """The first error that pydantic reports: where and what."""
    first = errors[0]
    place = [str(part) for part in first["loc"] if part != "body"]
    where = ".".join(part for part in place if not part.startswith(("function-", "tagged-")))
    if first["type"] == "extra_forbidden":
        message = f"{where} is not supported"
    elif first["type"] == "json_invalid":
        return ApiError(400, "the body is not valid JSON", "invalid_json")
    else:
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
    code = "unsupported_field" if first["type"] in ("extra_forbidden", "refused") else "invalid_request"
    return ApiError(400, message, code, where or None)
