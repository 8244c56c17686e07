"""Build the ASGI application: routers, middleware and error handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import shoestring
from shoestring.errors import ShoestringError
from shoestring.server import tokenize
from shoestring.server.anthropic import messages
from shoestring.server.backends.backend import Backend
from shoestring.server.errors import ApiError, from_exception
from shoestring.server.http import health, metrics
from shoestring.server.http.auth import AccessControl
from shoestring.server.http.bodies.arrival import Arrival
from shoestring.server.http.bodies.in_flight import InFlight
from shoestring.server.http.bodies.linger import Linger
from shoestring.server.http.bodies.route import Bodies
from shoestring.server.http.error_responses import error_response
from shoestring.server.http.keys import Key, read_keys
from shoestring.server.http.logs.log import Observe, Observer
from shoestring.server.http.logs.request_ids import ANTHROPIC_HEADER, HEADER
from shoestring.server.http.metrics import Metrics
from shoestring.server.http.settings import Settings
from shoestring.server.http.streaming import ClientGoneError
from shoestring.server.media import routes as media
from shoestring.server.ollama import routes as ollama
from shoestring.server.openai import chat, completions, models
from shoestring.server.page import routes as page

#: The modules of the endpoints; each has a `router`.
ROUTES = (chat, models, health, metrics, completions, messages, ollama, tokenize, media, page)


def create_app(
    service: Backend,
    settings: Settings | None = None,
    log: Observer | None = None,
    keys: Sequence[Key] | None = None,
) -> FastAPI:
    """The server as an ASGI application. Its lifespan starts and closes the service.

    log: called for every request. keys: where `read_keys` was called before, because their file may be a pipe.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()
        await service.ended()
        app.state.bodies.close()

    settings = settings or Settings()
    # FastAPI's documentation pages load scripts from other sites, so only openapi.json is served.
    app = FastAPI(title="Shoestring", version=shoestring.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    in_flight = InFlight(settings.limits)
    app.state.service, app.state.metrics = service, Metrics()
    app.state.bodies = Bodies(in_flight, lenient=settings.lenient)
    for routes in ROUTES:
        app.include_router(routes.router)
    _handle_errors(app)
    # The middleware added last runs first.
    app.add_middleware(Arrival, limits=settings.limits, in_flight=in_flight)
    app.add_middleware(AccessControl, settings=settings, keys=read_keys(settings) if keys is None else keys)
    if settings.allow_origins:
        # Before access control: browsers send no key with a preflight.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=["GET", "POST", "HEAD"],
            allow_headers=["*"],
            expose_headers=["Retry-After", HEADER, ANTHROPIC_HEADER],
            allow_private_network=True,
        )
    observers: list[Observer] = [app.state.metrics, *([] if log is None else [log])]
    app.add_middleware(Observe, observers=observers)
    app.add_middleware(Linger)
    return app


def _handle_errors(app: FastAPI) -> None:
    async def failed(request: Request, error: Exception) -> Response:
        return error_response(request.url.path, from_exception(error))

    for kind in (ApiError, ShoestringError):  # other errors: see Observe
        app.add_exception_handler(kind, failed)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        message = str(error.detail)
        if error.status_code == 404:
            message = f"there is no endpoint {request.url.path}"
        elif error.status_code == 405:
            message = f"{request.url.path} does not support {request.method}"
        elif error.status_code == 400:  # what FastAPI says about a body that is not read by JsonRoute
            message = "the request is not valid"
        code = "not_found" if error.status_code == 404 else "invalid_request"
        return await failed(request, ApiError(error.status_code, message, code, headers=error.headers or {}))

    @app.exception_handler(ClientGoneError)
    async def gone(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=499)
