"""The front door before other backends: a service of ours on a real socket, or a replica on Ray.

The tests of the APIs run on every backend. The default run has the ones that stand for the others; `make deep` has all
on a server at a URL, and `make cluster` all on Ray. SHOESTRING_TEST_BACKENDS names other backends: then all run there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from running import running
from starlette.testclient import TestClient

from shoestring.runtime.model import Model
from shoestring.server.backends.remote.remote import Remote
from shoestring.server.backends.remote.upstream import Kind, find_upstream
from shoestring.server.facts import ServedModel
from shoestring.server.http.app import create_app
from shoestring.server.service import Service

_ASKED = os.environ.get("SHOESTRING_TEST_BACKENDS", "")
BACKENDS = (_ASKED or "local url").split()
#: Parameters of the fixture `client`.
BY_BACKEND = [name if name == "local" or _ASKED else pytest.param(name, marks=pytest.mark.deep) for name in BACKENDS]
#: Marks the tests that run on every backend each time.
on_every_backend = pytest.mark.parametrize("client", BACKENDS, indirect=True, scope="module")


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
def on(backend: str, model: Callable[[], Model], **service: Any) -> Iterator[TestClient]:
    """A client of a model's service, at once ("local"), or of the front door before it ("url") or a replica ("ray")."""
    if backend == "ray":
        with replica(model) as before, client_of(create_app(before)) as client:
            yield client
    elif backend == "url":
        app = create_app(Service(model(), **service))
        with running(app) as url, client_of(create_app(remote(url))) as client:
            yield client
    else:
        with client_of(create_app(Service(model(), **service))) as client:
            yield client


@contextmanager
def replica(model: Callable[[], Model]) -> Iterator[Any]:
    """The backend before one replica of a model, on a cluster of this machine alone."""
    import ray

    from shoestring.server.backends.replicas import deployment
    from shoestring.server.backends.replicas.options import Count
    from shoestring.server.backends.replicas.replica import Source
    from shoestring.server.backends.replicas.replicas import Replicas
    from shoestring.server.limits import Limits

    if not ray.is_initialized():
        deployment.connect(None)
    source = Source("", "scripted")
    handle = deployment.Deployment(source, Count(1, 1), Limits(), lambda cores: model()).start()
    info, spellings = deployment.describe(handle)
    yield Replicas(handle, info, spellings)
