"""JsonRoute: parses and validates a JSON body in a worker thread, before FastAPI sees it.

FastAPI would do both in the event loop. It gets the validated model, and checks only its type.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from shoestring import bounded_json
from shoestring.bounded_json import BoundError, Size
from shoestring.printable import shortened
from shoestring.server.errors import ApiError
from shoestring.server.http import record
from shoestring.server.http.bodies.arrival import Body
from shoestring.server.http.bodies.in_flight import Claim, InFlight
from shoestring.server.http.bodies.words import validation_error
from shoestring.server.http.fields import LENIENT
from shoestring.server.limits import SMALL
from shoestring.server.workers import Workers

#: Objects and arrays of a body: each may become a model.
_CONTAINERS = 1 << 16

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Bodies:
    """Reads the bodies of one application's requests."""

    def __init__(self, in_flight: InFlight, *, lenient: bool = False) -> None:
        """lenient: ignore fields that are not known."""
        self._in_flight = in_flight
        self._context = LENIENT if lenient else None
        self._small, self._large = Workers(2, "small body"), Workers(1, "large body")

    async def model(self, request: Request, kind: type[BaseModel]) -> BaseModel:
        """The body as a model. Raises ApiError."""
        _check_type(request)
        body: Body | None = getattr(request.state, "body", None)
        parts = [] if body is None else body.take()
        length = record.current().body_bytes = sum(map(len, parts))
        workers = self._small if length <= SMALL else self._large
        raw, size = await workers.run(_measured, parts)
        claim: Claim | None = getattr(request.state, "claim", None)
        if claim is not None:
            self._in_flight.grow(claim, size.text_bytes + size.object_bytes)
        return await workers.run(_validated, raw, size, kind, self._context)

    @property
    def busy(self) -> bool:
        """Whether a thread reads a body."""
        return self._small.busy or self._large.busy

    def release(self, request: Request) -> None:
        """The request no longer needs its body, except what `keep` has named."""
        claim: Claim | None = getattr(request.state, "claim", None)
        rest: int = getattr(request.state, "kept_bytes", 0)
        if claim is not None and rest:
            claim.bytes = min(claim.bytes, rest)  # Arrival releases it after the answer
        elif claim is not None:
            self._in_flight.release(claim)

    def close(self) -> None:
        self._small.close()
        self._large.close()


def keep(request: Request, nbytes: int) -> None:
    """The answer needs so many bytes of the body's values to its end: they stay counted."""
    request.state.kept_bytes = nbytes


class JsonRoute(APIRoute):
    """A route whose parameter `body`, a model, comes from `Bodies`."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        kind = get_type_hints(self.endpoint).get("body")
        if kind is None:
            return handler

        async def handle(request: Request) -> Response:
            bodies: Bodies = request.app.state.bodies
            try:
                return await handler(_Validated(request, await bodies.model(request, kind)))
            finally:
                bodies.release(request)

        return handle


class _Validated(Request):
    """A request whose body is a model already."""

    def __init__(self, request: Request, model: BaseModel) -> None:
        super().__init__(request.scope, request.receive)
        self._model: BaseModel | None = model

    async def body(self) -> bytes:
        return b"{}"  # not empty, so that FastAPI asks for the JSON

    async def json(self) -> Any:
        model, self._model = self._model, None
        return model


def _check_type(request: Request) -> None:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    kind = message.get_content_type()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ApiError(400, "the body's content type must be application/json", "invalid_request")


def _measured(parts: list[bytes]) -> tuple[bytes, Size]:
    """The whole body and its size. Raises ApiError for a body beyond the limits."""
    raw = b"".join(parts)
    parts.clear()
    if not raw:
        raise ApiError(400, "the body is empty: send JSON", "invalid_json")
    try:
        return raw, bounded_json.check(raw, containers=_CONTAINERS)
    except BoundError as error:
        raise ApiError(400, f"the body is too complex: {error}", "invalid_json") from None


def _validated(raw: bytes, size: Size, kind: type[BaseModel], context: Any) -> BaseModel:
    """Raises ApiError for JSON or fields that are not valid."""
    try:
        value = bounded_json.parse(raw, size)
    except ValueError as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else shortened(str(error), 100)
        raise ApiError(400, f"the body is not valid JSON: {reason}", "invalid_json") from None
    del raw
    try:
        return kind.model_validate(value, context=context)
    except ValidationError as error:
        raise validation_error(error, value) from None
