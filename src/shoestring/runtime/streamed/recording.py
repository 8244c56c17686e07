"""Record the routes of a model that is loaded, and end what works beside its engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from shoestring.errors import RequestError, ShoestringError
from shoestring.runtime.opening import Opened
from shoestring.spelling import option
from shoestring.streaming.routes import RouteRecorder
from shoestring.streaming.store import Store


def recorder_of(opened: Opened, path: Path) -> RouteRecorder:
    """Writes the routes of a model. Raises RequestError for a dense model, or a path that cannot become such a file."""
    if not opened.expert_layers:
        raise RequestError(f"{option('record_routes')}: {opened.checkpoint.path} is dense, without experts")
    layers = [layer.nbytes for layer in opened.expert_sources]
    name = opened.checkpoint.path.name
    return RouteRecorder(path, name, layers, opened.config.num_experts_per_tok, warnings.warn)


def closing(store: Store | None, recorder: RouteRecorder | None) -> Callable[[], None]:
    """What ends with the engine."""

    def close() -> None:
        if recorder is not None:
            try:
                recorder.save()
            except ShoestringError as error:  # perhaps at the program's end, where nobody catches it
                warnings.warn(str(error), stacklevel=1)
        if store is not None:
            store.close()

    return close
