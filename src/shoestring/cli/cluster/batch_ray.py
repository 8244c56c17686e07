"""`batch --on ray`: clients of an application whose backend is the replicas of a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from shoestring.cli.cluster.on_ray import source_of
from shoestring.errors import RequestError

if TYPE_CHECKING:
    import httpx2

    from shoestring.cli import options


@contextmanager
def ray_clients(
    model: str | None, loading: options.Loading, parallel: int, replicas: str | None, address: str | None
) -> Iterator[Callable[[], Any]]:
    """Start the replicas once; what it yields makes a client for each file. Raises ShoestringError."""
    from shoestring.server.backends.replicas import deployment as ray_serve
    from shoestring.server.backends.replicas.options import Count, read_count
    from shoestring.server.http.settings import Settings
    from shoestring.server.limits import Limits

    if model is None:
        raise RequestError("--on ray needs a --model that every node has: a file, a folder, or a pulled name")
    wanted = None if replicas is None else read_count(replicas)
    ray_serve.need_ray()
    settings = Settings(
        model=model,
        aliases=("*",),
        threads=loading.threads,
        kv_type=loading.kv,
        context=loading.context,
        memory=loading.memory,
        experts_per_token=loading.experts_per_token,
    )
    ray_serve.connect(address)
    try:
        nodes = max(1, ray_serve.node_count())
        count = wanted or Count(nodes, nodes)
        ray_serve.check_size(count)
        limits = Limits(waiting_bytes=1 << 50)
        handle = ray_serve.Deployment(source_of(settings), count, limits).start()
        info, spellings = ray_serve.describe(handle)

        def client() -> Any:
            return _client(handle, info, spellings, parallel)

        yield client
    finally:
        ray_serve.stop()


@asynccontextmanager
async def _client(handle: Any, info: Any, spellings: Any, parallel: int) -> AsyncIterator[httpx2.AsyncClient]:
    import httpx2

    from shoestring.server.backends.replicas.replicas import Replicas
    from shoestring.server.http.app import create_app

    backend = Replicas(handle, info, spellings, queue=max(64, 2 * parallel))
    try:
        transport = httpx2.ASGITransport(create_app(backend), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as http:
            yield http
    finally:
        backend.close()
