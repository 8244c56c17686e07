"""The name of a served model for clients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.files import named_path

if TYPE_CHECKING:
    from shoestring.server.http.settings import Settings


def model_id(settings: Settings, path: Path) -> str:
    """The model's name for clients: its given name, or a file's name without folder and ending."""
    if settings.model_name is not None:
        return settings.model_name
    name = settings.model
    if name is None or named_path(name).exists():
        return path.resolve().name.removesuffix(".gguf") if name is not None else "demo-llama4"
    return name
