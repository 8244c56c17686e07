"""Which replica answers: the one that holds the prefix, as long as it lives and has room."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TypeVar

from shoestring.server.backends.backend import KEY
from shoestring.server.request import ChatRequest, CompletionRequest

R = TypeVar("R")

#: Of a raw prompt, what counts as its beginning: characters, or tokens.
_BEGINNING = 1024


def stable_prefix(request: ChatRequest | CompletionRequest) -> str:
    """A digest of the part of a prompt that later turns keep, and of the API key, whose cache is its own.

    A conversation: its tools, and its messages up to the first of the user. A raw prompt: its beginning.
    """
    client = request.options.client
    parts: list[object] = [client if client.startswith(KEY) else ""]
    if isinstance(request, ChatRequest):
        first = next((i for i, m in enumerate(request.messages) if m.get("role") == "user"), len(request.messages))
        parts += [request.tools, request.messages[: first + 1]]
    else:
        parts.append(request.prompt[:_BEGINNING])
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def ranked(prefix: str, replicas: Iterable[tuple[str, R]]) -> list[R]:
    """The replicas, given with their names, in the order in which a prefix prefers them.

    Each pair of prefix and replica has a number of its own (rendezvous hashing). So a replica that goes or comes moves
    only the prefixes that it has or gets.
    """

    def weight(entry: tuple[str, R]) -> bytes:
        return hashlib.sha256(f"{prefix} {entry[0]}".encode()).digest()

    return [replica for _, replica in sorted(replicas, key=weight)]
