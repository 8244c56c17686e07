"""Limits of what a request may be, each with a reason to exist; docs/server.md lists them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Beyond these a request is refused before any work."""

    body_bytes: int = 32 << 20
    messages: int = 4096
    tools: int = 512
    schema_bytes: int = 256 << 10
    schema_depth: int = 64
    #: answers to one prompt
    answers: int = 16
    stop_strings: int = 16
    stop_characters: int = 512
    #: a body that comes slower is given up
    body_seconds: float = 60.0
    #: a client that does not read for so long is cancelled
    write_seconds: float = 60.0
    #: between two keep-alive comments of a stream that has nothing to say
    keep_alive_seconds: float = 5.0
