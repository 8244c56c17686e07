"""The front door before another server: an application whose backend is a service of ours on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from running import running
from starlette.testclient import TestClient

from shoestring.server.backends.remote.remote import Remote
from shoestring.server.backends.remote.upstream import Kind, find_upstream
from shoestring.server.facts import ServedModel
from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service


def remote(url: str, model: str | None = None, kind: Kind | None = None, **options: Any) -> Remote:
    """The backend for a server. kind: treat it as another program."""
    upstream = find_upstream(url, model, options.get("key"))
    upstream = upstream if kind is None else replace(upstream, kind=kind)
    info = ServedModel(upstream.model, context=upstream.context, family=upstream.family, thinking=upstream.thinking)
    return Remote(upstream, info, **options)


@contextmanager
def client_of(app: Any) -> Iterator[TestClient]:
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@contextmanager
def before(service: Service, settings: Settings | None = None, **options: Any) -> Iterator[TestClient]:
    """A client of the front door before a service."""
    with running(create_app(service)) as url, client_of(create_app(remote(url, **options), settings)) as client:
        yield client


@contextmanager
def on(backend: str, service: Service) -> Iterator[TestClient]:
    """A client of a service, at once ("local") or through the front door before it ("url")."""
    with client_of(create_app(service)) if backend == "local" else before(service) as client:
        yield client
