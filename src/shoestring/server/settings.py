"""Settings of the server."""

from __future__ import annotations

from dataclasses import dataclass, field

from shoestring.server.limits import Limits


@dataclass(frozen=True)
class Settings:
    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
