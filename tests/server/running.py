"""Runs an application with a real uvicorn on a free loopback port, for tests of HTTP clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from shoestring.runtime.model import Model


def slowed(model: Model, seconds: float) -> Model:
    """The model with slow steps, so that tests can act during answers."""
    runner: Any = model.engine.runner
    forward = runner.forward

    def slowly(*arguments: Any) -> Any:
        time.sleep(seconds)
        return forward(*arguments)

    runner.forward = slowly
    return model


@contextmanager
def running(app: Any) -> Iterator[str]:
    """Yield the address of the running application; shut it down after the block."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server ended while it started"
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
